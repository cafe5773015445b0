"""The picture of a case: its texts, where it stops, and that its markup is safe."""

from __future__ import annotations

import datetime
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import (
    CaseResult,
    ClientRefused,
    ClientResult,
    Observation,
    outcome,
)
from ibcm_bridge.lab.picture.drawing import css, picture
from ibcm_bridge.lab.picture.lanes import Lane, Place, lanes
from ibcm_bridge.lab.protocol.client import Handshake, HandshakeRefused, Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

CASE = {case.id: case for case in CASES}
REQUEST = Request("CCM_POST", "/ccm_system/request", (), b"body")
HANDSHAKE = Handshake("TLS 1.3", False, 0.012)
OK = Response(200, "OK", (), b"x")
CERTIFICATE = {"subject": "CN=pc1.corp.example,O=lab"}
RECORD = {
    "event": "request",
    "verdict": "allow",
    "client_certificate": CERTIFICATE,
    "role": "management-point",
    "site_system": "mp01.corp.example",
    "method": "CCM_POST",
    "target": "/ccm_system/request",
    "inspected": ["sent:8455", "inflated:28366"],
    "duration_seconds": 0.0312,
}
DENIED = RECORD | {
    "verdict": "deny",
    "reason": "malicious-content",
    "rule": "engines.yara-x",
    "detail": "eicar_test_file in text",
}
TUNNEL = {
    "event": "tunnel",
    "verdict": "allow",
    "server_name": "mp-tunnel.internet.example",
    "bytes_from_client": 10_000,
    "bytes_to_client": 500,
    "duration_seconds": 0.02,
}


def result(
    case: str,
    bridge: ClientResult = OK,
    record: dict[str, Any] = RECORD,
    tunnel: ClientResult = OK,
    tunnel_record: dict[str, Any] = TUNNEL,
    problems: tuple[str, ...] = (),
) -> CaseResult:
    """Return a result whose requests reached no site system, except for a handshake."""
    known = CASE[case]
    seen = Observation(bridge, None, (), 0, record, True, HANDSHAKE, 0.1)
    through = Observation(tunnel, None, (), 1, tunnel_record, False, HANDSHAKE, 0.1)
    return CaseResult(known, REQUEST, outcome(known, seen), outcome(known, through), problems)


def drawn(given: CaseResult) -> tuple[Lane, Lane]:
    bridge, tunnel = lanes(given)
    assert tunnel is not None
    return bridge, tunnel


MALWARE = result("malware-in-zlib", Response(403, "Forbidden", (), b""), DENIED)


def test_a_refusal_stops_at_the_bridge_and_shows_what_it_found() -> None:
    bridge, tunnel = drawn(MALWARE)
    assert bridge.stopped is Place.PROXY
    assert [line.text for line in bridge.proxy] == [
        "CCM_POST /ccm_system/request",
        "sent 8,455 > inflated 28,366 bytes",
        "eicar_test_file in text",
        "malicious-content, 31 ms",
        "rule engines.yara-x",
    ]
    assert bridge.second is not None
    assert (bridge.second.opened, bridge.second.lines) == (False, ("nothing sent",))
    assert bridge.response == "403 Forbidden"
    assert bridge.first.lines[0] == "TLS 1.3, new session, 12 ms"
    assert bridge.first.lines[2] == "client: pc1.corp.example ✓"
    assert tunnel.stopped is None


def test_the_tunnel_shows_a_name_and_a_number_of_bytes_only() -> None:
    _, tunnel = drawn(MALWARE)
    assert [line.text for line in tunnel.proxy] == [
        "mp-tunnel.internet.example",
        "10,500 encrypted bytes, 20 ms",
    ]
    assert tunnel.second is None


def test_a_refused_certificate_is_not_marked_as_verified() -> None:
    record = DENIED | {"event": "connection-refused", "reason": "certificate-revoked"}
    ended = HandshakeRefused("certificate revoked")
    bridge, tunnel = drawn(result("revoked-certificate", ended, record, Response(403, "", (), b"")))
    assert bridge.first.lines[2] == "client: pc1.corp.example ✗"
    assert bridge.response == "alert: certificate revoked"
    assert tunnel.stopped is Place.SITE_SYSTEM


def test_a_client_that_refuses_the_site_system_is_where_it_stopped() -> None:
    given = result("wrong-site-system", tunnel=ClientRefused("Hostname mismatch"))
    _, tunnel = drawn(given)
    assert tunnel.stopped is Place.CLIENT
    assert tunnel.first.lines[1] == "server: ✗ refused by the client"


def test_a_site_system_that_is_down_was_not_reached() -> None:
    down = DENIED | {"reason": "site-system-unreachable", "detail": "connection refused"}
    given = result("inventory-report", Response(502, "Bad Gateway", (), b""), down)
    bridge, _ = drawn(given)
    assert bridge.second is not None
    assert bridge.second.lines == ("connection refused",)
    assert 'class="lane bridge outage"' in picture(given)


def test_a_case_that_cannot_be_tunneled_has_one_lane() -> None:
    known = CASE["state-message"]
    seen = Observation(OK, None, (), 0, RECORD, True)
    only = CaseResult(known, Request("POST", "/", plaintext=True), outcome(known, seen), None, ())
    bridge, tunnel = lanes(only)
    assert tunnel is None
    assert bridge.first.lines == ("HTTP without TLS",)
    assert "cannot be tunneled" in picture(only)


@pytest.mark.parametrize("field", ["detail", "target", "rule", "method"])
def test_texts_of_a_request_are_escaped(field: str) -> None:
    attack = "<script>alert(1)</script>\"'&"
    markup = picture(result("malware-in-zlib", OK, DENIED | {field: attack}))
    assert "<script" not in markup
    for drawing in re.findall(r"<svg.*?</svg>", markup, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_the_markup_has_no_inline_style_and_loads_nothing() -> None:
    markup = picture(MALWARE)
    assert not re.search(r"\s(style|href|src|on\w+)=|<(style|script|image|use)", markup)
    assert "url(" not in css()
    assert "@import" not in css()


def test_the_picture_has_a_description() -> None:
    (first, second) = re.findall(r'aria-label="([^"]*)"', picture(MALWARE))
    assert first == second
    for text in ("REFUSED", "eicar_test_file", "NOT STOPPED", "403 Forbidden"):
        assert text in first


def test_all_texts_are_inside_the_drawing() -> None:
    long = DENIED | {"detail": "word " * 100, "rule": "r" * 300, "target": "/" + "t" * 900}
    markup = picture(result("malware-in-zlib", OK, long))
    wide, narrow = re.findall(r"<svg.*?</svg>", markup, re.DOTALL)
    for drawing, width, height in ((wide, 1000, 344), (narrow, 360, 962)):
        for x, y, text in re.findall(r'<text class="\w+" x="(\d+)" y="(\d+)">([^<]*)', drawing):
            assert int(y) <= height
            assert int(x) + len(text) * 5 <= width + 10, text


def test_motion_is_only_where_the_system_allows_it() -> None:
    style = css()
    still, _, moving = style.partition("@media (prefers-reduced-motion: no-preference)")
    assert "animation" not in still
    assert "infinite" not in moving


def test_the_last_line_of_the_bridge_is_drawn() -> None:
    """An endpoint, a chain of two lines and a client GUID leave room for the time."""
    record = RECORD | {
        "message_endpoint": "MP_HinvEndpoint",
        "message_types": ["Report"],
        "inspected": ["sent:8455", "header:2721", "inflated:28366", "text:14181"],
        "client_guid": "GUID:1",
        "client_guid_binding": "bound",
        "signed_with": "registered-key",
    }
    wide = picture(result("inventory-report", OK, record)).partition("</svg>")[0]
    assert ">31 ms</text>" in wide


def test_both_drawings_name_the_sender() -> None:
    received = ReceivedRequest(
        time=datetime.datetime.now(datetime.UTC),
        site_system="management-point",
        method="CCM_POST",
        target="/ccm_system/request",
        headers=(),
        body=b"body",
        size=4,
        sha256="",
        certificate_subject="CN=bridge.perimeter.example,O=lab",
        certificate_sha256="",
        user="",
        peer_port=1,
        status=200,
        tls_version="TLS 1.3",
        tls_resumed=True,
    )
    known = CASE["inventory-report"]
    seen = Observation(OK, None, (received,), 1, RECORD, True, HANDSHAKE, 0.1)
    markup = picture(CaseResult(known, REQUEST, outcome(known, seen), None, ()))
    for drawing in re.findall(r"<svg.*?</svg>", markup, re.DOTALL):
        assert ">bridge.perimeter.example</text>" in drawing
        assert ">TLS 1.3, resumed</text>" in drawing
