"""Site systems can also record bytes that are not a complete request."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.records import ReceivedRequest
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.lab.site_systems.unfinished import MAX_KEPT
from tests.lab.site_systems.running import Lab

VALID = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\nHost: mp01.corp.example\r\n\r\n"
HALF = b"POST /SMS_MP/x HTTP/1.1\r\nHost: mp01.corp.example\r\nContent-Length: 10\r\n\r\nhalf"
SECONDS = 5.0


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    # Records of their own: a connection of an earlier test may end late.
    with SiteSystems(running_lab.pki, unfinished=True) as site:
        yield running_lab._replace(site=site)


def client(lab: Lab) -> LabClient:
    address = lab.site.management_point
    return LabClient(address, "mp01.corp.example", trust=lab.pki.root, credential=lab.computer)


def new(lab: Lab, position: int, number: int = 1) -> tuple[ReceivedRequest, ...]:
    """Return what has arrived since a position, as soon as there is so much."""
    until = time.monotonic() + SECONDS
    while len(found := lab.site.since(position)[0]) < number and time.monotonic() < until:
        time.sleep(0.01)
    return found


def position(lab: Lab) -> int:
    return lab.site.since(2**40)[1]


def test_a_malformed_request_is_recorded_before_its_response(lab: Lab) -> None:
    sent, before = b"GET /SMS_MP/x HTTP/1.1\r\nHost : x\r\n\r\n", position(lab)
    with client(lab) as opened:
        connection = opened.connect()
        connection.sendall(sent)
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        (record,) = lab.site.since(before)[0]
    assert (record.complete, record.ended, record.status) == (False, True, 400)
    assert (record.method, record.target, record.headers) == ("GET", "/SMS_MP/x", ())
    assert (record.body, record.size) == (sent, len(sent))
    assert record.certificate_subject == lab.computer.certificate.subject.rfc4514_string()
    assert record.tls_version == "TLS 1.3"
    # The end of the connection is not a second record.
    assert lab.site.since(before)[0] == (record,)


@pytest.mark.parametrize("sent", [HALF, HALF[:-4], HALF[:30], HALF[:2], b"\0\xff\x1b"])
def test_half_a_request_is_unfinished_until_its_connection_ends(lab: Lab, sent: bytes) -> None:
    before = position(lab)
    with client(lab) as opened:
        opened.connect().sendall(sent)
        (unfinished,) = new(lab, before)
        assert (unfinished.complete, unfinished.ended, unfinished.body) == (False, False, sent)
        assert position(lab) == before
    until = time.monotonic() + SECONDS
    while position(lab) == before and time.monotonic() < until:
        time.sleep(0.01)
    (record,) = lab.site.since(before)[0]
    assert (record.complete, record.ended, record.status, record.body) == (False, True, 0, sent)
    assert (record.time, record.peer_port) == (unfinished.time, unfinished.peer_port)
    assert (record.method + record.target).isprintable()


def test_the_rest_makes_it_a_request(lab: Lab) -> None:
    before = position(lab)
    with client(lab) as opened:
        connection = opened.connect()
        connection.sendall(HALF)
        assert [record.complete for record in new(lab, before)] == [False]
        connection.sendall(b"of it.")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert [record.body for record in lab.site.since(before)[0]] == [b"halfof it."]


def test_the_next_request_is_not_a_part_of_the_first(lab: Lab) -> None:
    before = position(lab)
    with client(lab) as opened:
        opened.connect().sendall(VALID + HALF)
        valid, half = new(lab, before, 2)
    assert (valid.complete, valid.target) == (True, "/SMS_MP/.sms_aut?MPLIST")
    assert (half.complete, half.body) == (False, HALF)


def test_a_chunked_request_is_complete(lab: Lab) -> None:
    before = position(lab)
    head = HALF.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked")[:-4]
    with client(lab) as opened:
        connection = opened.connect()
        connection.sendall(head + b"4\r\nhalf\r\n6\r\nof it.\r\n0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert [record.body for record in lab.site.since(before)[0]] == [b"halfof it."]


def test_a_connection_without_a_request_leaves_no_record(lab: Lab) -> None:
    before = position(lab)
    with client(lab) as opened:
        opened.connect()
    with client(lab) as opened:
        opened.connect().sendall(b"\r\n")
    with client(lab) as opened:
        opened.request("GET", "/SMS_MP/.sms_aut?MPLIST")
    assert [record.complete for record in lab.site.since(before)[0]] == [True]


def test_only_the_beginning_of_a_large_one_is_kept(lab: Lab) -> None:
    before = position(lab)
    head = HALF.replace(b"Content-Length: 10", b"Content-Length: 9999999")
    sent = head + bytes(5 * MAX_KEPT)
    with client(lab) as opened:
        opened.connect().sendall(sent)
        until = time.monotonic() + SECONDS
        while new(lab, before)[0].size < len(sent) and time.monotonic() < until:
            time.sleep(0.01)
        (unfinished,) = new(lab, before)
    assert (unfinished.size, unfinished.body) == (len(sent), sent[:MAX_KEPT])


def test_other_labs_record_only_requests(lab: Lab) -> None:
    with SiteSystems(lab.pki) as site:
        address = site.management_point
        with LabClient(
            address, "mp01.corp.example", trust=lab.pki.root, credential=lab.computer
        ) as opened:
            connection = opened.connect()
            connection.sendall(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        assert site.since(0) == ((), 0)
