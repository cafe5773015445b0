"""What a site system answers: passed on whole, without what is nobody's business, or refused."""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol.client import ConnectionEnded
from ibcm_bridge.site_system_leg.response_reader import MAX_INFORMATIONAL
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_NAME = "mp01.corp.example"
VERIFIED_NAME = "cluster.corp.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PORTS = {name: free_port() for name in ("raw", "tls-1.2", "other-name")}


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    (bridge, *_) = policy["publications"]
    host, port = raw_site_system.address
    policy["publications"] = []
    for name, role in {
        "raw": {},
        "tls-1.2": {"highest_tls": "1.2"},
        "other-name": {"verify_name": VERIFIED_NAME},
    }.items():
        roles = bridge["roles"]
        point = {**roles["management-point"], "connect": f"{host}:{port}", **role}
        policy["publications"].append(
            {
                **bridge,
                "listen": f"127.0.0.1:{PORTS[name]}",
                "roles": {**roles, "management-point": point},
            }
        )


def address(name: str) -> tuple[str, int]:
    return ("127.0.0.1", PORTS[name])


# Answers that are passed on


def test_the_fields_of_a_response_are_forwarded_unchanged(lab: Lab, raw: RawSiteSystem) -> None:
    fields = [
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("eTAG", '"x"'),
        ("Content-Length", "2"),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    head += "server: Microsoft-IIS/10.0\r\nX-Powered-By: ASP.NET\r\n"
    leg = "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nConnection: keep-alive\r\n"
    answer = f"HTTP/1.1 299 As you like\r\n{head}{leg}\r\nok".encode()
    raw.respond_with(answer, 1)
    reply = lab.send_one(lab.request(fields={"Connection": "close"}), address=address("raw"))
    assert (reply.status, reply.reason, reply.body) == (299, "", b"ok"), "with our own phrase"
    assert reply.headers == (*fields, ("Connection", "close"))
    assert lab.record()["status"] == 299


@pytest.mark.parametrize("pieces", [1, 7, 1000])
def test_a_chunked_response_arrives_complete(lab: Lab, raw: RawSiteSystem, pieces: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw.respond_with(head + b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Trailer: x\r\n\r\n", pieces)
    with lab.client(address=address("raw")) as client:
        reply = client.request("GET", MP_LIST)
    assert (reply.status, reply.body) == (200, b"abcdefg")
    assert reply.header("Transfer-Encoding") == "chunked"
    assert lab.record()["bytes_to_client"] == 7


def test_a_response_until_the_end_of_the_connection_arrives_complete(
    lab: Lab, raw: RawSiteSystem
) -> None:
    raw.respond_with(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close_notify=True)
    reply = lab.send_one(lab.request(), address=address("raw"))
    assert (reply.status, reply.body) == (200, b"until the end")
    assert reply.header("Connection") == "close"
    assert lab.record()["bytes_to_client"] == 13


# Parts of a file

POLICY = "/SMS_MP/.sms_pol?{LAB00001}.1_00"
SEVERAL = b"Content-Type: multipart/byteranges; boundary=x\r\n"
PART = b"--x\r\nContent-Type: a/b\r\nContent-Range: bytes %d-%d/1000\r\n\r\n%b\r\n"
TWO = PART % (0, 9, bytes(10)) + PART % (900, 999, bytes(100)) + b"--x--\r\n"


def partial(body: bytes, *fields: bytes, chunked: bool = False) -> bytes:
    """A 206 with this body."""
    length = b"Content-Length: %d\r\n" % len(body)
    if chunked:
        length = b"Transfer-Encoding: chunked\r\n"
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return b"HTTP/1.1 206 Partial Content\r\n" + length + b"".join(fields) + b"\r\n" + body


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("asked", "body", "field"),
    [
        ("bytes=0-99", bytes(100), b"Content-Range: bytes 0-99/1000\r\n"),
        ("bytes=0-99", bytes(280), b""),
        ("bytes=900-", bytes(100), b"Content-Range: bytes 900-999/1000\r\n"),
        ("bytes=-7", bytes(7), b"Content-Range: bytes 993-999/1000\r\n"),
        ("bytes=0-9,900-999", TWO, SEVERAL),
        ("bytes=0-9,900-", TWO, SEVERAL),
    ],
)
def test_the_requested_parts_are_forwarded(
    lab: Lab, raw: RawSiteSystem, asked: str, body: bytes, field: bytes, chunked: bool
) -> None:
    raw.respond_with(partial(body, field, chunked=chunked), 60)
    with lab.client(address=address("raw")) as client:
        reply = client.request("GET", POLICY, {"Range": asked})
    assert (reply.status, reply.body) == (206, body)
    assert "note" not in lab.record()


def read_into(came: bytearray, connection: ssl.SSLSocket) -> None:
    """Keep all that comes, also where the connection ends in an error."""
    while piece := connection.recv(65_536):
        came += piece


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("asked", "field", "most"),
    [
        ("bytes=0-99", b"Content-Range: bytes 0-99999/100000\r\n", 280),
        ("bytes=99990-", b"Content-Range: bytes 99990-99999/100000\r\n", 190),
        ("bytes=-7", b"", 187),
        ("bytes=0-9,900-999", SEVERAL, 470),
        ("bytes=0-9,900-", SEVERAL, 370),
    ],
)
def test_a_206_is_cut_off_after_the_requested_range(
    lab: Lab, raw: RawSiteSystem, asked: str, field: bytes, most: int, chunked: bool
) -> None:
    raw.respond_with(partial(bytes(100_000), field, chunked=chunked))
    with lab.connect(address=address("raw")) as connection:
        connection.sendall(lab.request(target=POLICY, fields={"Range": asked}))
        came = bytearray()
        with pytest.raises(ssl.SSLEOFError):
            read_into(came, connection)
    assert came.startswith(b"HTTP/1.1 206 ")
    assert came.count(b"\0") == most
    record = lab.record()
    assert (record["verdict"], record["bytes_to_client"]) == ("allow", most)
    assert record["note"].startswith(f"the site system sent more than {most} bytes")


def test_a_200_with_the_whole_file_is_allowed(lab: Lab, raw: RawSiteSystem) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)
    raw.respond_with(whole)
    with lab.client(address=address("raw")) as client:
        reply = client.request("GET", POLICY, {"Range": "bytes=0-9"})
    assert (reply.status, len(reply.body)) == (200, 100_000)
    lab.record()


@pytest.mark.parametrize(("method", "status"), [("GET", 502), ("HEAD", 206)])
def test_a_206_with_a_body_and_without_content_range_is_refused_for_an_open_range(
    lab: Lab, raw: RawSiteSystem, method: str, status: int
) -> None:
    raw.respond_with(partial(bytes(100) if method == "GET" else b""))
    fields = {"Range": "bytes=900-", "Connection": "close"}
    reply = lab.send_one(lab.request(method, POLICY, fields), address=address("raw"))
    assert reply.status == status
    record = lab.record()
    if method == "GET":
        lab.check_denied(record, Reason.SITE_SYSTEM_RESPONSE, "site_system.content-range")
    else:
        assert record["verdict"] == "allow"


def test_a_response_without_an_authenticated_end_is_cut_off(lab: Lab, raw: RawSiteSystem) -> None:
    # A bare FIN, which needs no key (RFC 9112 §9.8).
    raw.respond_with(b"HTTP/1.1 200 OK\r\n\r\nuntil the e")
    with pytest.raises(ssl.SSLEOFError):
        lab.send_one(lab.request(), address=address("raw"))
    assert lab.record()["note"] == "the site system's response is incomplete"


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_body_needs_no_length(lab: Lab, raw: RawSiteSystem, status: int) -> None:
    raw.respond_with(f"HTTP/1.1 {status} Nothing\r\nETag: x\r\n\r\n".encode())
    with lab.client(address=address("raw")) as client:
        assert client.request("GET", MP_LIST).status == status
    assert lab.record()["status"] == status


def test_informational_responses_stay_on_their_leg(lab: Lab, raw: RawSiteSystem) -> None:
    raw.respond_with(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n" + OK)
    reply = lab.send_one(lab.request(fields={"Connection": "close"}), address=address("raw"))
    assert (reply.status, reply.body) == (200, b"ok")
    assert lab.record()["status"] == 200


TRUNCATED = {
    "counted": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    "broken-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\nxyz\r\n",
}


@pytest.mark.parametrize("case", TRUNCATED)
def test_an_incomplete_response_is_not_forwarded_as_complete(
    lab: Lab, raw: RawSiteSystem, case: str
) -> None:
    raw.respond_with(TRUNCATED[case])
    with (
        lab.client(address=address("raw")) as client,
        pytest.raises(ConnectionEnded, match="IncompleteRead"),
    ):
        client.request("GET", MP_LIST)
    record = lab.record()
    # It was allowed; what it came to is in the note.
    assert (record["verdict"], record["status"], record["bytes_to_client"]) == ("allow", 200, 5)
    assert record["note"] == "the site system's response is incomplete"


# Answers that nobody asked for


@pytest.mark.parametrize("when", ["with", "after"])
def test_a_second_response_is_not_that_of_the_next_request(
    lab: Lab, raw: RawSiteSystem, when: str
) -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    answered = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK + evil if when == "with" else OK)
        if when == "after":
            answered.wait(10)
            peer.send(evil)
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(MP_NAME))
    with lab.client(address=address("raw")) as client:
        assert client.request("GET", MP_LIST).body == b"ok"
        answered.set()
        # The bridge closes a leg on which it was told what it did not ask for.
        lab.until(raw.peers[0].ended.is_set)
        assert client.request("GET", MP_LIST).body == b"ok"
    assert len(raw.peers) == 2
    lab.records(2)


def test_a_body_for_head_is_not_the_response_to_the_next_request(
    lab: Lab, raw: RawSiteSystem
) -> None:
    raw.respond_with(OK)
    with lab.client(address=address("raw")) as client:
        head = client.request("HEAD", MP_LIST)
        assert (head.status, head.header("Content-Length"), head.body) == (200, "2", b"")
        assert client.request("GET", MP_LIST).body == b"ok"
    assert len(raw.peers) == 2
    lab.records(2)


# Where an answer leads


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    "value", ["/SMS_MP/", "x?y", "https://bridge.internet.example/SMS_MP/.sms_aut?MPLIST"]
)
def test_a_location_that_a_client_can_use_is_forwarded(
    lab: Lab, raw: RawSiteSystem, name: str, value: str
) -> None:
    head = f"HTTP/1.1 302 Found\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n"
    raw.respond_with(head.encode())
    with lab.client(address=address("raw")) as client:
        reply = client.request("GET", MP_LIST)
    assert (reply.status, reply.header(name)) == (302, value)
    assert "note" not in lab.record()


def test_the_internal_name_in_a_location_is_replaced_and_recorded(
    lab: Lab, raw: RawSiteSystem
) -> None:
    where = f"https://{MP_NAME}/SMS_MP/x"
    head = f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
    raw.respond_with(head.encode())
    with lab.client(address=address("raw")) as client:
        reply = client.request("GET", MP_LIST)
    assert reply.header("Location") == "https://bridge.internet.example/SMS_MP/x"
    assert lab.record()["note"] == "Location: the site system's name was replaced"


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("value", "requirement"),
    [
        ("http://bridge.internet.example/SMS_MP/", "BRIDGE-HTTPS-ONLY"),
        (f"http://{MP_NAME}/SMS_MP/", "BRIDGE-HTTPS-ONLY"),
        ("https://other.corp.example/SMS_MP/", "BRIDGE-TERMINATE"),
        ("//other.corp.example/SMS_MP/", "BRIDGE-TERMINATE"),
    ],
)
def test_a_location_at_another_host_is_refused(
    lab: Lab, raw: RawSiteSystem, name: str, value: str, requirement: str
) -> None:
    head = f"HTTP/1.1 302 Found\r\n{name}: {value}\r\nContent-Length: 4\r\n\r\nbody"
    raw.respond_with(head.encode())
    reply = lab.send_one(lab.request(), address=address("raw"))
    rule = "site_system.location"
    lab.check_refused(reply, Reason.SITE_SYSTEM_RESPONSE, rule, requirement)
    assert "corp.example" not in f"{reply.headers} {reply.body!r}"
    assert reply.status == 502


# Answers without end


def test_endless_informational_responses_are_refused(lab: Lab, raw: RawSiteSystem) -> None:
    hint = b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
    raw.respond_with(hint * (MAX_INFORMATIONAL + 1) + OK)
    reply = lab.send_one(lab.request(), address=address("raw"))
    lab.check_refused(reply, Reason.SITE_SYSTEM_RESPONSE, "site_system", "BRIDGE-TERMINATE")


AMBIGUOUS = {
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "a control": OK.replace(b"\r\n\r\n", b"\r\nX: a\x00b\r\n\r\n"),
    "a folded field": OK.replace(b"\r\n\r\n", b"\r\nX: a\r\n b\r\n\r\n"),
    "a status": OK.replace(b"200", b"600"),
    "a large head": OK.replace(b"\r\n\r\n", b"\r\nX: %b\r\n\r\n" % (b"x" * 65_536)),
}


@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS)
@pytest.mark.parametrize("pieces", [(), (1,)])
def test_an_ambiguous_response_is_refused(
    lab: Lab, raw: RawSiteSystem, answer: bytes, pieces: tuple[int, ...]
) -> None:
    if pieces and len(answer) > 1_000:
        pieces = (1_000,)
    raw.respond_with(answer, *pieces)
    reply = lab.send_one(lab.request(), address=address("raw"))
    lab.check_refused(reply, Reason.SITE_SYSTEM_RESPONSE, "site_system", "BRIDGE-TERMINATE")


def test_an_upgrade_field_of_a_response_is_not_forwarded(lab: Lab, raw: RawSiteSystem) -> None:
    fields = b"Upgrade: h2c\r\nConnection: Upgrade\r\nAlt-Svc: h3=x\r\nContent-Length: 0\r\n"
    raw.respond_with(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    with lab.client(address=address("raw")) as client:
        assert client.request("GET", MP_LIST).headers == (("Content-Length", "0"),)
    lab.records(1)


# What a policy may demand of a site system


@pytest.mark.parametrize(("name", "version"), [("raw", "TLSv1.3"), ("tls-1.2", "TLSv1.2")])
def test_no_later_tls_version_than_that_of_the_policy_is_used(
    lab: Lab, raw: RawSiteSystem, name: str, version: str
) -> None:
    spoken: list[str | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.connection, ssl.SSLSocket)
        spoken.append(peer.connection.version())
        peer.read_head()
        peer.send(OK)

    raw.behave(script, lab.pki.server(MP_NAME))
    request = lab.request(fields={"Connection": "close"})
    assert lab.send_one(request, address=address(name)).status == 200
    assert spoken == [version]
    lab.records(1)


def test_the_verified_name_may_differ_from_the_server_name(lab: Lab, raw: RawSiteSystem) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)

    raw.behave(script, lab.pki.server(VERIFIED_NAME))
    request = lab.request(fields={"Connection": "close"})
    assert lab.send_one(request, address=address("other-name")).status == 200
    lab.records(1)


@pytest.mark.parametrize(("name", "presented"), [("other-name", MP_NAME), ("raw", VERIFIED_NAME)])
def test_with_verify_name_no_other_name_is_accepted(
    lab: Lab, raw: RawSiteSystem, name: str, presented: str
) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(presented))
    reply = lab.send_one(lab.request(), address=address(name))
    lab.check_refused(reply, Reason.SITE_SYSTEM_UNVERIFIED, "site_system", "BRIDGE-TERMINATE")
    assert b"".join(bytes(peer.received) for peer in raw.peers) == b""
