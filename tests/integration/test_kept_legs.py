"""Kept connections that a site system closes by its timer, as IIS does, when a request is coming.

The stand-in waits until the first byte of a request is there, and closes without having read it: a
site system that closed a moment earlier looks the same to the bridge.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.protocol.client import ConnectionEnded, LabClient, Request, Response
from ibcm_bridge.lab.protocol.uploads import SESSION, Upload
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_NAME = "mp01.corp.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
USER_POLICY = "/SMS_MP_WindowsAuth/.sms_pol?{00000000-0000-0000-0000-000000000001}.1_00"
SIGN_IN = {"Authorization": "NTLM a-ticket"}
PROPFIND = b"<propfind xmlns='DAV:'><allprop/></propfind>"
SAFE: dict[str, tuple[str, str, dict[str, str], bytes | None]] = {
    "GET": ("GET", MP_LIST, {}, None),
    "HEAD": ("HEAD", MP_LIST, {}, None),
    "PROPFIND": ("PROPFIND", "/SMS_MP/", {"Content-Type": "text/xml", "Depth": "1"}, PROPFIND),
}
RULE = "site_system.kept_connection"


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    (bridge, *_) = policy["publications"]
    host, port = raw_site_system.address
    bridge["roles"]["management-point"] |= {
        "connect": f"{host}:{port}",
        "windows_authentication": {"because": "users get their own policy"},
    }


def fin(peer: Peer) -> None:
    peer.close_and_wait()


def reset(peer: Peer) -> None:
    peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_notify(peer: Peer) -> None:
    assert isinstance(peer.connection, ssl.SSLSocket)
    with contextlib.suppress(OSError):  # it does not wait for what is still coming
        peer.connection.unwrap()


ENDS: list[Callable[[Peer], None]] = [fin, reset, close_notify]


class Iis:
    """Answers so many requests on each of its first connections, and closes as the next comes."""

    def __init__(self, end: Callable[[Peer], None], *answers: int) -> None:
        self.requests: list[list[bytes]] = []
        """Of each connection, what it has read."""
        self._end, self._answers = end, answers

    def __call__(self, peer: Peer) -> None:
        here: list[bytes] = []
        self.requests.append(here)
        number = len(self.requests) - 1
        while number >= len(self._answers) or len(here) < self._answers[number]:
            request = _read_request(peer)
            if not request:
                return
            here.append(request)
            peer.send(self.answer(request))
        # Of the bytes that TCP has, below TLS.
        if socket.socket.recv(peer.connection, 1, socket.MSG_PEEK):
            self._end(peer)

    def answer(self, request: bytes) -> bytes:
        """An acknowledgement with all fields that BITS can need."""
        place = re.search(rb"(?im)^content-range: bytes \d+-(\d+)/", request)
        end = int(place[1]) + 1 if place else 0
        fields = b"BITS-Packet-Type: Ack\r\nBITS-Session-Id: {1}\r\n"
        fields += b"BITS-Received-Content-Range: %d\r\n" % end
        return b"HTTP/1.1 200 OK\r\n%bContent-Length: 0\r\n\r\n" % fields


def _read_request(peer: Peer) -> bytes:
    start = len(peer.received)
    head, _, body = peer.read_head().partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: (\d+)", head)
    peer.read_exactly((int(length[1]) if length else 0) - len(body))
    return bytes(peer.received[start:])


Site = Callable[..., Iis]


@pytest.fixture
def site(lab: Lab, raw_site_system: RawSiteSystem) -> Iterator[Site]:
    def make(end: Callable[[Peer], None], *answers: int) -> Iis:
        iis = Iis(end, *answers)
        raw_site_system.behave(iis, lab.pki.server(MP_NAME))
        return iis

    yield make
    raw_site_system.check_scripts()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("case", SAFE)
def test_a_safe_request_is_sent_a_second_time(
    lab: Lab, site: Site, case: str, end: Callable[[Peer], None]
) -> None:
    iis = site(end, 1)
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
        assert client.request(*SAFE[case]).status == 200
        assert client.request("GET", MP_LIST).status == 200
    first, second = iis.requests
    assert len(first) == 1
    assert [request.split(b" ")[0] for request in second] == [case.encode(), b"GET"]
    records = lab.records(3)
    assert [record["verdict"] for record in records] == ["allow"] * 3
    assert [record.get("resent") for record in records] == [None, True, None]


@pytest.mark.parametrize("end", ENDS)
def test_a_safe_request_is_not_sent_a_third_time(
    lab: Lab, site: Site, end: Callable[[Peer], None]
) -> None:
    iis = site(end, 1, 0)
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
        assert client.request("GET", MP_LIST).status == 502
    assert iis.requests[1:] == [[]]
    record = lab.records(2)[1]
    lab.check_denied(record, Reason.SITE_SYSTEM_RESPONSE, "site_system")
    assert record["resent"] is True


@pytest.mark.parametrize("end", ENDS)
def test_the_bridge_does_not_repeat_a_message(
    lab: Lab, site: Site, end: Callable[[Peer], None]
) -> None:
    iis = site(end, 1)
    body = lab.message()
    with lab.client() as client:
        assert client.request("GET", MP_LIST).status == 200
        with pytest.raises(ConnectionEnded):
            lab.ccm_post(client, body)
    assert len(iis.requests) == 1
    with lab.client() as client:
        assert lab.ccm_post(client, body).status == 200
    assert [request.count(body) for request in iis.requests[1]] == [1]
    _, lost, sent = lab.records(3)
    lab.check_denied(lost, Reason.SITE_SYSTEM_RESPONSE, RULE)
    assert lost["forwarded"] is True
    assert not {"status", "resent"} & lost.keys()
    assert (sent["verdict"], sent["status"]) == ("allow", 200)


# Uploads


def send(client: LabClient, packet: Request) -> Response:
    fields = [(name, "{1}" if value == SESSION else value) for name, value in packet.headers]
    return client.send(replace(packet, headers=tuple(fields)))


def lose_the_last_fragment(lab: Lab, upload: Upload) -> None:
    with lab.client() as client:
        for packet in (upload.create(), upload.fragments(2)[0]):
            assert send(client, packet).status == 200
        with pytest.raises(ConnectionEnded):
            send(client, upload.fragments(2)[1])
    lost = lab.records(3)[-1]
    lab.check_denied(lost, Reason.SITE_SYSTEM_RESPONSE, RULE)
    assert "status" not in lost


@pytest.mark.parametrize("end", ENDS)
def test_the_bridge_does_not_repeat_a_fragment(
    lab: Lab, site: Site, end: Callable[[Peer], None]
) -> None:
    iis = site(end, 2)
    upload = Upload(f"/CCM_Incoming/again-{end.__name__}.msg", b"nothing in particular " * 9)
    lose_the_last_fragment(lab, upload)
    assert len(iis.requests) == 1
    with lab.client() as client:
        for packet in (upload.fragments(2)[1], upload.close()):
            assert send(client, packet).status == 200
    lab.records(5)


def test_a_lost_fragment_is_not_acknowledged(lab: Lab, site: Site) -> None:
    iis = site(fin, 2)
    upload = Upload("/CCM_Incoming/lost.msg", b"nothing in particular " * 9)
    lose_the_last_fragment(lab, upload)
    with lab.client() as client:
        assert send(client, upload.close()).status == 400
    refused = next(
        record for record in lab.records(5) if record.get("reason") == "upload-incomplete"
    )
    half = len(upload.data) // 2
    assert refused["detail"] == f"{half} of {len(upload.data)} bytes are acknowledged"
    arrived = [request for requests in iis.requests for request in requests]
    assert b"Close-Session" not in b"".join(arrived)


def test_the_bridge_does_not_repeat_its_own_packet(lab: Lab, site: Site) -> None:
    iis = site(fin, 2)
    bad = Upload("/CCM_Incoming/bad.msg", bytes(200) + eicar().encode() + bytes(200))
    with lab.client() as client:
        for packet in (bad.create(), bad.fragments(2)[0]):
            assert send(client, packet).status == 200
        assert send(client, bad.fragments(2)[1]).status == 403
    assert len(iis.requests) == 1
    *_, withdrawn, refused = lab.records(4)
    lab.check_denied(withdrawn, Reason.SITE_SYSTEM_RESPONSE, RULE)
    assert refused["reason"] == "malicious-content"


# Legs on which the client has authenticated itself


@pytest.mark.parametrize("end", ENDS)
def test_a_leg_authenticated_as_a_user_is_not_replaced(
    lab: Lab, site: Site, end: Callable[[Peer], None]
) -> None:
    iis = site(end, 1)
    with lab.client() as client:
        assert client.request("GET", USER_POLICY, SIGN_IN).status == 200
        assert client.request("GET", MP_LIST).status == 502
    assert len(iis.requests) == 1
    record = lab.records(2)[1]
    rule = "site_system.windows_authentication"
    lab.check_denied(record, Reason.SITE_SYSTEM_RESPONSE, rule)
    assert "resent" not in record
