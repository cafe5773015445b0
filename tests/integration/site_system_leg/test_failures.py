"""Site systems that are down, slow or send an invalid response (BRIDGE-TERMINATE)."""

from __future__ import annotations

import contextlib
import re

import pytest

from ibcm_bridge.decisions.denial import Reason
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem
from tests.integration.site_system_leg.publications import (
    FILE,
    MP_LIST,
    MP_NAME,
    OK,
    SLOW_SECONDS,
    address,
    check_refused,
)


def test_a_site_system_that_is_down_is_a_502(lab: Lab) -> None:
    reply = lab.send_one(lab.request(), address=address("down"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_UNREACHABLE)
    assert re.fullmatch(rf"{MP_NAME}: connection refused by 127\.0\.0\.1:\d+", record["detail"])


def test_a_site_system_that_is_down_does_not_affect_the_other(lab: Lab) -> None:
    with lab.client(address=address("down")) as client:
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
        assert client.request("GET", MP_LIST).status == 502
    with lab.client(address=address("down")) as client:
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
    assert [record["verdict"] for record in lab.records(3)] == ["allow", "deny", "allow"]


def test_head_to_a_site_system_that_is_down_gets_no_body(lab: Lab) -> None:
    reply = lab.send_one(lab.request("HEAD"), address=address("down"))
    assert reply.body == b""
    lab.check_refused(reply, Reason.SITE_SYSTEM_UNREACHABLE, "site_system")


def test_a_site_system_without_tls_is_refused(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.send(OK))
    reply = lab.send_one(lab.request(fields=lab.identification), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)
    (peer,) = raw.peers
    assert b"GET" not in peer.received


def test_a_site_system_that_closes_in_the_handshake_is_refused(
    lab: Lab, raw: RawSiteSystem
) -> None:
    raw.behave(lambda peer: None)
    reply = lab.send_one(lab.request(), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)


def test_a_site_system_silent_in_the_handshake_is_a_504(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end())
    reply = lab.send_one(lab.request(), address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_SLOW, "limits.connect_seconds")
    assert record["duration_seconds"] >= SLOW_SECONDS


def test_a_site_system_without_a_response_is_a_504(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    reply = lab.send_one(lab.request(), address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_SLOW, "limits.response_seconds")
    assert record["duration_seconds"] >= SLOW_SECONDS
    (peer,) = raw.peers
    lab.until(peer.ended.is_set)  # the leg was closed, too


BAD_ANSWERS = {
    "nothing": b"",
    "garbage": b"\x00\x01garbage\r\n\r\n",
    "smtp": b"220 mp01.corp.example ESMTP\r\n",
    "half-a-head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "http-2": b"HTTP/2.0 200 OK\r\n\r\n",
    "http-0.9": b"<html>mp01.corp.example</html>",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "negative-length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "folded": b"HTTP/1.1 200 OK\r\nX-A: b\r\n\x00c: d\r\n\r\n",
    "no-status": b"HTTP/1.1 OK\r\n\r\n",
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000,
    "endless-line": b"HTTP/1.1 200 " + b"x" * 100_000,
    "strange-coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_an_invalid_response_is_refused(lab: Lab, raw: RawSiteSystem, case: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        with contextlib.suppress(OSError):  # the bridge need not read all of it
            peer.send(BAD_ANSWERS[case])

    raw.behave(script, lab.pki.server(MP_NAME))
    reply = lab.send_one(lab.request(), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_RESPONSE)
