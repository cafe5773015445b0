"""The site-system leg against site systems that are not what they should be (BRIDGE-TERMINATE)."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import Response
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem

NAME = "bridge.internet.example"
MP_NAME = "mp01.corp.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/setup.exe"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SLOW_SECONDS = 1.0

# Publications are told apart by their port: `raw` has a raw management point and the stand-in as
# distribution point; `down` has site systems that nobody listens for; `good` has both stand-ins.
PORTS = {name: free_port() for name in ("raw", "down", "good")}
DOWN = ("127.0.0.1", free_port())


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    (bridge, *_) = policy["publications"]
    management_points = {
        "raw": raw_site_system.address,
        "down": DOWN,
        "good": ("127.0.0.1", 9443),
    }
    policy["publications"] = []
    for name, (host, port) in management_points.items():
        roles = bridge["roles"]
        point = {**roles["management-point"], "connect": f"{host}:{port}"}
        policy["publications"].append(
            {
                **bridge,
                "listen": f"127.0.0.1:{PORTS[name]}",
                "roles": {**roles, "management-point": point},
            }
        )
    policy["limits"] = {"response_seconds": SLOW_SECONDS, "handshake_seconds": SLOW_SECONDS}


@pytest.fixture
def raw(raw_site_system: RawSiteSystem) -> Iterator[RawSiteSystem]:
    yield raw_site_system
    raw_site_system.check_scripts()


def address(name: str) -> tuple[str, int]:
    return ("127.0.0.1", PORTS[name])


def check_refused(
    lab: Lab,
    reply: Response,
    reason: Reason,
    rule: str = "site_system",
    requirement: str = "BRIDGE-TERMINATE",
) -> dict[str, Any]:
    """A refusal that says nothing of what is inside."""
    record = lab.check_refused(reply, reason, rule, requirement)
    assert reply.status == (504 if reason is Reason.SITE_SYSTEM_SLOW else 502)
    said = f"{reply.headers} {reply.body!r}".lower()
    for inside in ("corp.example", "127.0.0.1", "mitmproxy", str(DOWN[1]), "openssl", "errno"):
        assert inside not in said
    assert reply.header("Server") is None
    # What the client is not told, the operator is.
    assert "mitmproxy" not in record["detail"]
    assert (record["role"], record["site_system"]) == ("management-point", "mp01.corp.example")
    return record


# Who the site system is


def other_pki(lab: Lab) -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def impostors(lab: Lab) -> dict[str, LabCredential]:
    return {
        "wrong-name": lab.pki.server("other.corp.example"),
        "internet-name": lab.pki.server(NAME),
        "wildcard-above": lab.pki.server("*.example"),
        "partial-wildcard": lab.pki.server("mp*.corp.example"),
        "foreign": other_pki(lab).server(MP_NAME),
        "self-signed": lab.pki.self_signed(MP_NAME),
        "expired": lab.credentials.mp_expired,
        "revoked": lab.credentials.mp_revoked,
        "a-computer-of-that-name": lab.pki.computer(MP_NAME),
    }


IMPOSTORS = (
    "wrong-name",
    "internet-name",
    "wildcard-above",
    "partial-wildcard",
    "foreign",
    "self-signed",
    "expired",
    "revoked",
    "a-computer-of-that-name",
)


@pytest.mark.parametrize("who", IMPOSTORS)
def test_an_impostor_gets_no_request(lab: Lab, raw: RawSiteSystem, who: str) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), impostors(lab)[who])
    data = lab.request("CCM_POST", "/ccm_system/request", lab.message_fields, lab.message())
    reply = lab.send_one(data, address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)
    assert MP_NAME in record["detail"]
    (peer,) = raw.peers
    lab.until(peer.ended.is_set)
    assert peer.received == b""


def test_one_that_is_named_in_its_subject_only_is_told_so(lab: Lab, raw: RawSiteSystem) -> None:
    authority, key = lab.pki._issuing, certificates.ec_key()
    purpose = (x509.ExtendedKeyUsage(certificates.SERVER), False)
    valid = certificates.current(datetime.now(UTC))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MP_NAME)])
    made = certificates.sign(key, subject, authority, valid, [purpose])
    credential = certificates.LabCredential(made, key, (authority.certificate,))
    raw.behave(lambda peer: peer.wait_for_end(), credential)
    record = check_refused(
        lab, lab.send_one(lab.request(), address=address("raw")), Reason.SITE_SYSTEM_UNVERIFIED
    )
    assert record["detail"] == (
        f"{MP_NAME}: cannot be verified as {MP_NAME}: the certificate has no DNS name in its "
        "subjectAltName; its common name is not used (RFC 9525 section 2)"
    )


@pytest.mark.parametrize("names", [(MP_NAME,), ("x.corp.example", MP_NAME), ("*.corp.example",)])
def test_the_site_system_itself_gets_it(
    lab: Lab, raw: RawSiteSystem, names: tuple[str, ...]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(*names))
    request = lab.request(fields={"Connection": "close"} | lab.identification)
    reply = lab.send_one(request, address=address("raw"))
    assert (reply.status, reply.body) == (200, b"ok")
    assert lab.record()["verdict"] == "allow"
    (peer,) = raw.peers
    # A new head: the fields of the client, without those of its own leg, and nothing added.
    expected = lab.request(fields=lab.identification)
    assert bytes(peer.received) == expected


def test_it_sees_the_certificate_of_the_bridge_and_not_the_clients(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        assert client.request("GET", MP_LIST).status == 200
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
    pem = (lab.bridge.directory / "pki" / "bridge-client.pem").read_bytes()
    presented = x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()
    for received in lab.site.received():
        assert received.certificate_sha256 == presented
    names = [(handshake.site_system, handshake.sni) for handshake in lab.site.handshakes()]
    assert names == [
        ("management-point", "mp01.corp.example"),
        ("distribution-point", "dp01.corp.example"),
    ]
    assert [record["client_name"] for record in lab.records(2)] == ["pc1.corp.example"] * 2


def test_a_site_system_that_wants_another_certificate_is_not_reached(
    lab: Lab, raw: RawSiteSystem
) -> None:
    # Its trust is another's: it refuses the bridge, which the bridge must not hide.
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    raw.trust = other_pki(lab).root
    try:
        reply = lab.send_one(lab.request(), address=address("raw"))
    finally:
        raw.trust = lab.pki.root
    # In TLS 1.3 it says so after the handshake: as its answer, and not after a long silence.
    rule = "site_system.certificate"
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_RESPONSE, rule)
    assert record["detail"] == f"{MP_NAME} rejected the bridge's client certificate: unknown_ca"
    assert record["duration_seconds"] < SLOW_SECONDS


# Site systems in trouble


def test_one_that_is_down(lab: Lab) -> None:
    reply = lab.send_one(lab.request(), address=address("down"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_UNREACHABLE)
    assert re.fullmatch(rf"{MP_NAME}: connection refused by 127\.0\.0\.1:\d+", record["detail"])


def test_one_that_is_down_does_not_take_the_other_with_it(lab: Lab) -> None:
    with lab.client(address=address("down")) as client:
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
        assert client.request("GET", MP_LIST).status == 502
    with lab.client(address=address("down")) as client:
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
    assert [record["verdict"] for record in lab.records(3)] == ["allow", "deny", "allow"]


def test_head_to_one_that_is_down_gets_no_body(lab: Lab) -> None:
    reply = lab.send_one(lab.request("HEAD"), address=address("down"))
    assert reply.body == b""
    lab.check_refused(reply, Reason.SITE_SYSTEM_UNREACHABLE, "site_system")


def test_one_that_speaks_no_tls(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.send(OK))
    reply = lab.send_one(lab.request(fields=lab.identification), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)
    (peer,) = raw.peers
    assert b"GET" not in peer.received


def test_one_that_closes_in_the_handshake(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: None)
    reply = lab.send_one(lab.request(), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)


def test_one_that_accepts_and_says_nothing(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end())
    reply = lab.send_one(lab.request(), address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_SLOW, "limits.handshake_seconds")
    assert SLOW_SECONDS <= record["duration_seconds"] < SLOW_SECONDS + 1


def test_one_that_never_answers(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    reply = lab.send_one(lab.request(), address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_SLOW, "limits.response_seconds")
    assert SLOW_SECONDS <= record["duration_seconds"] < SLOW_SECONDS + 1
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
def test_one_with_no_proper_answer(lab: Lab, raw: RawSiteSystem, case: str) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        with contextlib.suppress(OSError):  # the bridge need not read all of it
            peer.send(BAD_ANSWERS[case])

    raw.behave(script, lab.pki.server(MP_NAME))
    reply = lab.send_one(lab.request(), address=address("raw"))
    check_refused(lab, reply, Reason.SITE_SYSTEM_RESPONSE)


# One leg for each client connection


def answer_with(
    lab: Lab, raw: RawSiteSystem, answer: bytes, *pieces: int, close_notify: bool = False
) -> None:
    """Let the site system answer every request with these bytes, then close."""

    def script(peer: Peer) -> None:
        peer.read_head()
        if pieces:
            for index in range(0, len(answer), pieces[0]):
                peer.send(answer[index : index + pieces[0]])
        else:
            peer.send(answer)
        if close_notify:
            assert isinstance(peer.connection, ssl.SSLSocket)
            with contextlib.suppress(OSError):
                peer.connection.unwrap()

    raw.behave(script, lab.pki.server(MP_NAME))


def test_each_client_connection_has_a_leg_of_its_own(lab: Lab) -> None:
    other = lab.credentials.other
    with (
        lab.client(address=address("good")) as first,
        lab.client(address=address("good")) as second,
        lab.client(other, address=address("good")) as third,
    ):
        for _ in range(3):
            for client in (first, second, third):
                assert client.request("GET", MP_LIST).status == 200
    ports = [received.peer_port for received in lab.site.received()]
    assert ports == ports[:3] * 3
    assert len(set(ports)) == len(lab.site.handshakes()) == 3
    clients = [record["client_name"] for record in lab.records(9)]
    assert clients == ["pc1.corp.example", "pc1.corp.example", "pc9.corp.example"] * 3


def test_a_leg_is_not_passed_on_to_the_next_client(lab: Lab) -> None:
    for _ in range(3):
        with lab.client(address=address("good")) as client:
            assert client.request("GET", MP_LIST).status == 200
    assert len({received.peer_port for received in lab.site.received()}) == 3
    lab.records(3)


def test_requests_to_both_roles_keep_both_legs(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        for _ in range(3):
            assert client.request("GET", MP_LIST).status == 200
            assert client.request("HEAD", FILE).status == 200
    ports = [received.peer_port for received in lab.site.received()]
    assert ports == ports[:2] * 3
    assert len(lab.site.handshakes()) == 2
    lab.records(6)


def test_nothing_is_dialled_before_there_is_a_request(lab: Lab, raw: RawSiteSystem) -> None:
    answer_with(lab, raw, OK)
    with lab.connect(address=address("raw")) as connection:
        connection.sendall(lab.request(fields={"Connection": "close"})[:-2])
        assert raw.peers == []
        connection.sendall(b"\r\n")
        assert lab.read_to_end(connection).endswith(b"ok")
    assert len(raw.peers) == 1
    lab.records(1)


def test_a_leg_that_the_site_system_closed_while_idle_is_opened_again(
    lab: Lab, raw: RawSiteSystem
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.close_and_wait()  # without having said so

    raw.behave(script, lab.pki.server(MP_NAME))
    with lab.client(address=address("raw")) as client:
        for _ in range(3):
            assert client.request("GET", MP_LIST).body == b"ok"
            lab.until(raw.peers[-1].ended.is_set)
    assert len(raw.peers) == 3
    assert [record["verdict"] for record in lab.records(3)] == ["allow"] * 3


def test_a_leg_that_says_close_is_closed(lab: Lab, raw: RawSiteSystem) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(MP_NAME))
    with lab.client(address=address("raw")) as client:
        first = client.request("GET", MP_LIST)
        assert (first.body, first.header("Connection")) == (b"ok", None)
        assert client.request("GET", MP_LIST).body == b"ok"
    assert len(raw.peers) == 2
    lab.records(2)


# Clients that go on talking, or go away


def test_what_is_sent_far_ahead_of_an_answer_is_not_kept(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: (peer.read_head(), peer.wait_for_end()), lab.pki.server(MP_NAME))
    with lab.connect(address=address("raw")) as connection:
        connection.sendall(lab.request())
        lab.until(lambda: raw.peers and b"\r\n\r\n" in raw.peers[0].received)
        connection.sendall(lab.request(fields={"Accept": "x" * 80_000}))
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["GET"])
    lab.check_refused(reply, Reason.PIPELINED, "exchange.ahead", "HTTP-1.1")
    assert raw.peers[0].received.count(b"GET ") == 1


def test_a_client_that_goes_away_takes_its_leg_with_it(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: (peer.read_head(), peer.wait_for_end()), lab.pki.server(MP_NAME))
    connection = lab.connect(address=address("raw"))
    connection.sendall(lab.request())
    lab.until(lambda: raw.peers and b"\r\n\r\n" in raw.peers[0].received)
    connection.close()
    lab.until(raw.peers[0].ended.is_set, seconds=SLOW_SECONDS)
    record = lab.record()
    assert (record["verdict"], record.get("status")) == ("allow", None)
    assert record["note"] == "the client closed the connection"


# Certificates asked for late, as IIS does (protocol.md §0, 9)


def test_a_certificate_asked_for_after_the_handshake_is_shown(lab: Lab, raw: RawSiteSystem) -> None:
    shown: list[bytes | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.connection, ssl.SSLSocket)
        peer.read_head()
        shown.append(peer.connection.getpeercert(binary_form=True))
        peer.connection.verify_client_post_handshake()
        peer.send(OK[:10])  # asks for it, and begins to answer
        with contextlib.suppress(ssl.SSLWantReadError, TimeoutError):
            peer.connection.settimeout(0.2)
            peer.connection.recv(1)
        peer.connection.settimeout(10)
        shown.append(peer.connection.getpeercert(binary_form=True))
        peer.send(OK[10:])
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(MP_NAME))
    raw.asks_late = True
    try:
        request = lab.request(fields={"Connection": "close"})
        reply = lab.send_one(request, address=address("raw"))
    finally:
        raw.asks_late = False
    assert reply.body == b"ok"
    pem = (lab.bridge.directory / "pki" / "bridge-client.pem").read_bytes()
    presented = x509.load_pem_x509_certificate(pem).fingerprint(SHA256())
    assert shown[0] is None
    assert shown[1] is not None
    assert x509.load_der_x509_certificate(shown[1]).fingerprint(SHA256()) == presented
    lab.records(1)


def test_messages_are_answered_by_the_stand_in_all_the_while(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        assert lab.ccm_post(client).body == ccm.NO_REPLY
    lab.records(1)
