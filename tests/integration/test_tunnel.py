"""Tunnels: TLS passed without termination, and without a look inside (TUNNEL-PASS, -BLIND)."""

from __future__ import annotations

import random
import socket
import threading
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.site_systems.records import Handshake
from tests.integration.lab import Lab
from tests.integration.memory import peak_memory, reset_peak
from tests.integration.raw_site_system import Peer, RawSiteSystem

MP_TUNNEL, DP_TUNNEL = "mp-tunnel.internet.example", "dp-tunnel.internet.example"
RAW_TUNNEL, DOWN_TUNNEL = "raw-tunnel.internet.example", "down-tunnel.internet.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
NOTE = "TUNNEL-BLIND: tunneled without inspection"
DOWN = ("127.0.0.1", free_port())


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], raw_site_system: RawSiteSystem) -> None:
    for name, (host, port) in ((RAW_TUNNEL, raw_site_system.address), (DOWN_TUNNEL, DOWN)):
        row = {"name": name, "mode": "tunnel", "listen": "127.0.0.1:8443"}
        policy["publications"].append({**row, "site_system": f"{host}:{port}"})


def check_blind(lab: Lab, record: dict[str, Any], name: str, **known: str) -> None:
    """A tunnel's record: how much passed, and nothing of what."""
    assert (record["event"], record["verdict"]) == ("tunnel", "allow")
    assert record["server_name"] == name
    assert record["note"] == NOTE
    blind = {"client", "certificate", "method", "target", "status", "tls_version", "inspected"}
    assert not blind & record.keys()
    assert {key: record.get(key) for key in known} == known


def test_the_site_system_gets_the_certificate_of_the_client(lab: Lab) -> None:
    with lab.client(name=MP_TUNNEL) as client:
        assert client.request("GET", MP_LIST, lab.identification).status == 200
        assert lab.ccm_post(client).body == ccm.NO_REPLY
    own = lab.credentials.computer.certificate.fingerprint(SHA256()).hex()
    assert [received.certificate_sha256 for received in lab.site.received()] == [own, own]
    assert lab.site.handshakes() == (Handshake("management-point", MP_TUNNEL),)
    record = lab.record()
    host, port = lab.site.management_point
    check_blind(lab, record, MP_TUNNEL, site_system=f"{host}:{port}")
    assert record["bytes_from_client"] > 3000
    assert record["bytes_to_client"] > 1000


def test_curl_connects_through_a_tunnel(lab: Lab) -> None:
    run = lab.curl(credential=lab.credentials.computer, name=MP_TUNNEL)
    assert run.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    check_blind(lab, lab.record(), MP_TUNNEL)


def test_openssl_gets_the_certificate_of_the_site_system(lab: Lab) -> None:
    request = lab.request(fields={"Connection": "close"}, host=MP_TUNNEL)
    credential = lab.credentials.computer
    run = lab.s_client(credential=credential, name=MP_TUNNEL, request=request)
    # OpenSSL 3.2 and later write names without blanks.
    assert "CN=mp01.corp.example" in run.stdout.replace("CN = ", "CN=")
    assert "HTTP/1.1 200 OK" in run.stdout
    check_blind(lab, lab.record(), MP_TUNNEL)


def test_a_revoked_client_reaches_the_site_system_and_is_refused_there(lab: Lab) -> None:
    with lab.client(lab.credentials.revoked, name=MP_TUNNEL) as client:
        assert client.request("GET", MP_LIST).status == 403
    assert lab.site.handshakes() == (Handshake("management-point", MP_TUNNEL),)
    subject = lab.credentials.revoked.certificate.subject.rfc4514_string()
    assert lab.received().certificate_subject == subject
    # The bridge cannot tell: for it, this was a tunnel like any other.
    check_blind(lab, lab.record(), MP_TUNNEL)


def test_requests_that_the_bridge_refuses_pass_a_tunnel(lab: Lab) -> None:
    """Why tunneling is the less secure option: the twin of much that other tests see refused."""
    with lab.client(name=MP_TUNNEL) as client:
        for method, target in (
            ("GET", "/SMS_MP_AltAuth/.sms_aut?MPLIST"),
            ("DELETE", "/ccm_system/../ccm_system_altauth/request"),
            ("ccm_post", "/ccm_system/request"),
        ):
            assert client.request(method, target, {"X-Original-URL": "/x"}).status == 200
    assert len(lab.site.received()) == 3
    assert ("X-Original-URL", "/x") in lab.site.received()[0].headers
    check_blind(lab, lab.record(), MP_TUNNEL)


def test_tunnels_connect_to_the_site_system_of_their_name(lab: Lab) -> None:
    with lab.client(name=DP_TUNNEL) as client:
        assert client.request("GET", "/SMS_DP_SMSSIG$/LAB00001.1.tar").status == 200
    assert lab.received().site_system == "distribution-point"
    check_blind(lab, lab.record(), DP_TUNNEL)


def test_a_connection_cannot_change_its_publication(lab: Lab) -> None:
    # A tunnel's name in a bridged connection is refused; see also test_plaintext_and_names.
    reply = lab.send_one(lab.request(host=MP_TUNNEL))
    assert reply.status == 421
    assert lab.record()["verdict"] == "deny"
    lab.check_nothing_arrived()


# The bytes themselves


def test_each_byte_is_forwarded_and_counted(lab: Lab, raw_site_system: RawSiteSystem) -> None:
    hello = lab.client_hello(RAW_TUNNEL)
    more, answer = bytes(range(256)) * 1000, bytes(reversed(range(256))) * 500

    def script(peer: Peer) -> None:
        peer.read_exactly(len(hello))
        peer.send(answer[:100])
        peer.read_exactly(len(more))
        peer.send(answer[100:])
        peer.wait_for_end()

    raw_site_system.behave(script)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(hello)
        assert lab.read_exactly(connection, 100) == answer[:100]
        connection.sendall(more)
        assert lab.read_exactly(connection, len(answer) - 100) == answer[100:]
    record = lab.record()
    assert bytes(raw_site_system.peers[0].received) == hello + more
    check_blind(lab, record, RAW_TUNNEL)
    counts = (record["bytes_from_client"], record["bytes_to_client"])
    assert counts == (len(hello + more), len(answer))


LARGE = random.Random(17).randbytes(8_000_000)
"""More than the sockets and a pipe hold."""


def test_large_transfers_in_both_directions_at_once(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    hello = lab.client_hello(RAW_TUNNEL)

    def script(peer: Peer) -> None:
        peer.read_exactly(len(hello))
        sending = threading.Thread(target=peer.send, args=[LARGE[::-1]])
        sending.start()
        peer.read_exactly(len(LARGE))
        sending.join()
        peer.close_and_wait()

    raw_site_system.behave(script)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(hello)
        assert lab.read_exactly(connection, 1) == LARGE[-1:]
        sending = threading.Thread(target=connection.sendall, args=[LARGE])
        sending.start()
        assert lab.read_to_end(connection) == LARGE[-2::-1]
        sending.join()
    record = lab.record()
    assert bytes(raw_site_system.peers[0].received) == hello + LARGE
    counts = (record["bytes_from_client"], record["bytes_to_client"])
    assert counts == (len(hello + LARGE), len(LARGE))


def test_bytes_sent_before_a_close_arrive(lab: Lab, raw_site_system: RawSiteSystem) -> None:
    """Each side closes its direction after its last byte, which may still be on its way."""
    raw_site_system.behave(lambda peer: (peer.send(LARGE), peer.close_and_wait()))
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(RAW_TUNNEL))
        assert lab.read_exactly(connection, 1) == LARGE[:1]
        connection.shutdown(socket.SHUT_WR)
        assert lab.read_to_end(connection) == LARGE[1:]
    assert lab.record()["bytes_to_client"] == len(LARGE)


def test_a_client_that_stops_reading_stops_the_site_system(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    sent = [0]

    def script(peer: Peer) -> None:
        while True:
            peer.send(LARGE[:65_536])
            sent[0] += 65_536

    raw_site_system.behave(script)
    before = reset_peak(lab.bridge.pid)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(RAW_TUNNEL))
        lab.until(lambda: sent[0])
        seen = 0
        while seen != sent[0]:
            seen = sent[0]
            assert seen < 100_000_000, "the site system is not stopped"
            time.sleep(0.3)
        lab.read_exactly(connection, seen)
        lab.until(lambda: sent[0] > seen)
    after = peak_memory(lab.bridge.pid)
    if before is not None and after is not None:
        assert after - before < 5_000_000


def test_a_client_may_close_its_direction_first(lab: Lab, raw_site_system: RawSiteSystem) -> None:
    def script(peer: Peer) -> None:
        peer.connection.recv(1)
        peer.send(b"go on")
        peer.wait_for_end()
        peer.send(b"after the end of what you said")

    raw_site_system.behave(script)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(RAW_TUNNEL))
        assert lab.read_exactly(connection, 5) == b"go on"
        connection.shutdown(socket.SHUT_WR)
        assert lab.read_to_end(connection) == b"after the end of what you said"
    check_blind(lab, lab.record(), RAW_TUNNEL)


def test_a_site_system_may_close_its_direction_first(
    lab: Lab, raw_site_system: RawSiteSystem
) -> None:
    def script(peer: Peer) -> None:
        peer.connection.recv(1)
        peer.send(b"that is all")
        peer.close_and_wait()

    raw_site_system.behave(script)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(RAW_TUNNEL))
        assert lab.read_to_end(connection) == b"that is all"
        connection.sendall(b"and what I still have to say")
    record = lab.record()
    check_blind(lab, record, RAW_TUNNEL)
    # It reads on until the bridge closes, which is when the record is written.
    (peer,) = raw_site_system.peers
    assert peer.ended.wait(10)
    assert peer.received.endswith(b"and what I still have to say")


def test_the_leg_of_a_lost_client_is_closed(lab: Lab, raw_site_system: RawSiteSystem) -> None:
    raw_site_system.behave(lambda peer: peer.wait_for_end())
    connection = socket.create_connection(lab.bridge.address, 10)
    connection.sendall(lab.client_hello(RAW_TUNNEL))
    lab.until(lambda: raw_site_system.peers and raw_site_system.peers[0].received)
    # A reset, not a close.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
    lab.until(raw_site_system.peers[0].ended.is_set)
    check_blind(lab, lab.record(), RAW_TUNNEL)


def test_a_tunnel_to_an_unreachable_site_system_is_closed_and_recorded(lab: Lab) -> None:
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(DOWN_TUNNEL))
        assert lab.read_to_end(connection) == b""
    record = lab.record()
    assert (record["verdict"], record["reason"]) == ("deny", "site-system-unreachable")
    assert record["server_name"] == DOWN_TUNNEL
    assert (record["bytes_from_client"], record["bytes_to_client"]) == (0, 0)
    assert "note" not in record


def test_the_log_warns_that_a_tunnel_is_not_inspected(lab: Lab) -> None:
    said = "".join(lab.bridge.lines)
    for name in (MP_TUNNEL, DP_TUNNEL, RAW_TUNNEL):
        (line,) = (line for line in said.splitlines() if f" {name} is tunneled" in line)
        assert line.endswith("the content cannot be inspected")
