"""The views of uploaded objects."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.inspection.archives import is_zlib
from ibcm_bridge.inspection.uploaded_object import Uploaded, object_views

REPORT = "<?xml version='1.0' encoding='utf-16'?><Report><x a='&#69;VIL'>EV<b/>IL</x></Report>"
LIMIT = 1_000_000


def views(whole: bytes, limit: int = LIMIT) -> dict[str, bytes]:
    found = object_views(whole, limit, Rule("bodies.bits-upload"))
    assert isinstance(found, Uploaded), found
    return found.views


def refused(whole: bytes, limit: int = LIMIT) -> Deny:
    found = object_views(whole, limit, Rule("bodies.bits-upload"))
    assert isinstance(found, Deny), found
    return found


@pytest.mark.parametrize(
    "text",
    [REPORT, f"\ufeff{REPORT}", f"{REPORT}\0", f"{REPORT}\r\n\0\r\n{REPORT}\0\0", f"\r\n{REPORT}"],
)
@pytest.mark.parametrize("level", [None, 0, 6, 9])
def test_a_payload_is_decoded(text: str, level: int | None) -> None:
    plain = text.encode("utf-16-le")
    whole = plain if level is None else zlib.compress(plain, level)
    found = views(whole)
    assert found["sent"] == whole
    assert found.get("inflated", plain) == plain
    assert b"<Report>" in found["text"]
    assert found["parsed-text"].count(b"EVIL") == 2 * text.count("<Report>")


def test_utf_8_text_is_decoded_too() -> None:
    found = views(b"\xef\xbb\xbf<Report>EV<b/>IL</Report>")
    assert found["parsed-text"] == b"EVIL"


@pytest.mark.parametrize("whole", [b"MZ\x90\x00\xff", b"\x00", bytes(range(256)), b"\xff\xff\xff"])
def test_other_bytes_are_scanned_as_sent(whole: bytes) -> None:
    found = views(whole)
    # And without NULs, whatever the width of characters in the parser.
    narrow = whole.replace(b"\0", b"")
    assert found == {"sent": whole} | ({"narrow": narrow} if narrow not in (b"", whole) else {})


def test_text_that_is_not_xml_is_accepted() -> None:
    assert views(b"x = <1>") == {"sent": b"x = <1>", "text": b"x = <1>"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<Report>", Reason.XML),
        ("<Report/>x", Reason.XML),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", Reason.XML_DTD),
        (" \t\n<!DOCTYPE a><a/>", Reason.XML_DTD),
        ("<Report/>\0<!DOCTYPE a><a/>", Reason.XML_DTD),
        ("<a>" * 20_001 + "</a>" * 20_001, Reason.XML),
        ("<?xml version='1.0' encoding='utf-7'?><a/>", Reason.ENCODING),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_xml_that_is_refused_in_a_message_is_refused_in_an_upload(
    text: str, reason: Reason, packed: bool
) -> None:
    plain = text.encode("utf-16-le")
    assert refused(zlib.compress(plain) if packed else plain).reason is reason


@pytest.mark.parametrize("limit", [100, 101])
def test_a_stream_is_inflated_only_to_the_limit(limit: int) -> None:
    whole = zlib.compress(bytes(101))
    if limit == 100:
        assert refused(whole, limit).reason is Reason.INFLATED_TOO_LARGE
    else:
        assert len(views(whole, limit)["inflated"]) == 101


@pytest.mark.parametrize(
    "spoil", [lambda z: z[:-1], lambda z: z + b"x", lambda z: z[:-4] + b"\0\0\0\0"]
)
def test_an_incomplete_stream_is_refused(spoil: object) -> None:
    assert callable(spoil)
    assert refused(spoil(zlib.compress(REPORT.encode() * 50))).reason is Reason.COMPRESSION


def test_text_that_only_begins_like_a_stream_is_text() -> None:
    # 0x78 is "x", and text in Latin-1 may begin with "x\x9c".
    assert not is_zlib(b"x\x9cother words")
    assert not is_zlib(b"x")
    assert is_zlib(zlib.compress(b"x"))


@given(st.binary(max_size=200), st.booleans())
def test_any_object_is_scanned_or_refused(data: bytes, packed: bool) -> None:
    whole = zlib.compress(data) if packed else data
    found = object_views(whole, LIMIT, Rule("x"))
    if not isinstance(found, Deny):
        assert found.views["sent"] == whole
        assert not packed or found.views["inflated"] == data
