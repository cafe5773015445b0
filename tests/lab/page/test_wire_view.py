"""The captures that the lab keeps, and what the page shows of them."""

from __future__ import annotations

import json

import pytest

from ibcm_bridge.lab.capture.recording import Wire
from ibcm_bridge.lab.capture.relay import Leg, Piece, Recorded
from ibcm_bridge.lab.comparison.outcomes import NO_TUNNEL
from ibcm_bridge.lab.page import captures
from ibcm_bridge.lab.page.captures import Captures, Missing, Path
from ibcm_bridge.lab.page.wire_view import MAX_RECORDS, wire_view


def wire(*pieces: bytes, leg: Leg = Leg.CLIENT) -> Wire:
    sent = [Piece(1.0, True, data) for data in pieces]
    return Wire((Recorded(leg, True, 1.0, sent),))


def why_not(kept: Captures, case: str, path: Path = Path.BRIDGE) -> str:
    with pytest.raises(Missing) as missing:
        kept.wire(case, path)
    return str(missing.value)


def test_a_capture_that_is_missing_has_a_reason() -> None:
    kept = Captures()
    assert why_not(kept, "a") == captures.NOT_SENT
    kept.keep("a", Path.BRIDGE, None)
    assert why_not(kept, "a") == captures.NOT_RECORDED
    kept.keep("a", Path.TUNNEL, None, sent=False)
    assert why_not(kept, "a", Path.TUNNEL) == NO_TUNNEL


def test_the_last_capture_of_a_case_is_kept() -> None:
    kept = Captures()
    kept.keep("a", Path.BRIDGE, None)
    kept.keep("a", Path.BRIDGE, wire(b"first"))
    second = wire(b"second")
    kept.keep("a", Path.BRIDGE, second)
    assert kept.wire("a", Path.BRIDGE) == second


def test_the_oldest_captures_are_dropped_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captures, "MAX_ALL", 20)
    kept = Captures()
    for case in ("a", "b"):
        kept.keep(case, Path.BRIDGE, wire(b"123456789"))
    kept.keep("a", Path.BRIDGE, wire(b"a is newer now"))
    assert why_not(kept, "b") == captures.NOT_KEPT
    assert kept.wire("a", Path.BRIDGE).size == 14


def record(kind: int, content: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(content).to_bytes(2) + content


def test_a_record_is_shown_as_a_hexdump_with_words() -> None:
    shown = wire_view(wire(record(21, b"\x02\x74")))
    (alert,) = shown["records"]
    assert (alert["title"], alert["from"], alert["size"]) == (
        "Alert: certificate required",
        "client",
        "7 bytes",
    )
    header, content = alert["parts"]
    assert header["dump"] == "0000  15 03 03 00 02           ....."
    assert header["value"] == "Alert, TLS 1.2, 2 bytes"
    assert content["dump"] == "0005  02 74                    .t"
    assert {"name": "Alert", "value": "certificate required", "readable": True} in shown["facts"]
    json.dumps(shown)


def test_long_content_is_cut_off_and_more_records_are_counted() -> None:
    shown = wire_view(wire(*[record(23, bytes(1_000))] * (MAX_RECORDS + 2)))
    first, *_, last = shown["records"]
    assert first["encrypted"]
    assert first["parts"][1]["more"] == "968 bytes"
    assert last["title"] == "2 more encrypted records"
    assert last["size"] == "2,010 bytes"
    assert len(shown["records"]) == MAX_RECORDS + 1
    assert shown["facts"][-1] == {
        "name": "All else",
        "value": "26,130 bytes, encrypted",
        "readable": False,
    }


def test_the_leg_behind_the_perimeter_is_not_shown() -> None:
    assert wire_view(wire(record(23, b"x"), leg=Leg.SITE_SYSTEM))["records"] == []
