"""A load balancer names the client in a PROXY header, and no other address may."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.server import proxy_protocol, stopping
from ibcm_bridge.lab.protocol.client import load_credential, request_bytes
from ibcm_bridge.policy.policy import Policy
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for

BALANCER, OTHER = "127.0.0.9", "127.0.0.1"
CLIENT = "203.0.113.7"
HEADER = f"PROXY TCP4 {CLIENT} 192.0.2.1 51000 443\r\n".encode()
UNRECOGNIZED_NAME = b"\x15\x03\x03\0\x02\x02\x70"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


def behind_a_balancer(lab: Lab, audit: Path) -> Policy:
    listener = lab.policy.listeners[0]
    listener = dataclasses.replace(listener, balancers=(ipaddress.ip_network(BALANCER),))
    return dataclasses.replace(lab.policy, listeners=(listener,), audit_file=audit)


@pytest.fixture(scope="module")
def behind(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A bridge behind a load balancer at one address."""
    audit = tmp_path_factory.mktemp("balancer") / "audit.jsonl"
    policy = behind_a_balancer(running_lab, audit)
    with pytest.MonkeyPatch.context() as patch, Running(running_lab, policy) as running:
        # A busy machine may send a header late.
        patch.setattr(proxy_protocol, "HEADER_SECONDS", 3 * SOON)
        yield running


@pytest.fixture(autouse=True)
def empty_audit(behind: Running) -> None:
    """Remove the records of the test before, after its connections have ended."""
    assert wait_for(lambda: not behind.bridge.connections._records)
    assert behind.policy.audit_file is not None
    behind.policy.audit_file.write_bytes(b"")


@pytest.fixture
def connected(behind: Running) -> Iterator[socket.socket]:
    """A connection of the load balancer."""
    with socket.create_connection(behind.address, SOON, (BALANCER, 0)) as connection:
        yield connection


def request_through(running: Running, connection: socket.socket) -> bytes:
    """Make a handshake on a connection, send a request, and return the status line."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    load_credential(context, running.lab.computer)
    with context.wrap_socket(connection, server_hostname=BRIDGED) as secure:
        secure.sendall(request_bytes(*GOOD, {}, b"", BRIDGED))
        return secure.recv(12)


def record(running: Running) -> dict[str, object]:
    records = wait_for(running.audit)
    assert len(records) == 1
    return records[0]


def test_the_header_names_the_client(behind: Running, connected: socket.socket) -> None:
    connected.sendall(HEADER)
    assert request_through(behind, connected) == b"HTTP/1.1 200"
    found = record(behind)
    assert found["client_address"] == f"{CLIENT}:51000"
    assert str(found["via"]).startswith(f"{BALANCER}:")


def test_the_header_may_come_with_the_data_or_in_parts(
    behind: Running, connected: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    for part in (HEADER[:3], HEADER[3:40]):
        connected.sendall(part)
    connected.sendall(HEADER[40:] + b"GET / HTTP/1.1\r\n\r\n")
    assert b"403 Forbidden" in connected.recv(4_096)
    found = record(behind)
    assert (found["reason"], found["client_address"]) == ("plaintext", f"{CLIENT}:51000")
    assert wait_for(lambda: not behind.bridge.connections._records)
    assert "defect" not in caplog.text


def test_a_handshake_that_comes_with_the_header_is_refused_without_a_defect(
    behind: Running, connected: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    received, hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    handshake = context.wrap_bio(received, hello, server_hostname="unpublished.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        handshake.do_handshake()
    connected.sendall(HEADER + hello.read())
    assert connected.recv(7) == UNRECOGNIZED_NAME
    assert not connected.recv(1), "closed and not reset"
    assert record(behind)["reason"] == "unknown-name"
    assert wait_for(lambda: not behind.bridge.connections._records)
    assert "defect" not in caplog.text


def test_a_connection_of_the_balancer_itself_keeps_its_address(
    behind: Running, connected: socket.socket
) -> None:
    connected.sendall(LOCAL)
    assert request_through(behind, connected) == b"HTTP/1.1 200"
    found = record(behind)
    assert str(found["client_address"]).startswith(f"{BALANCER}:")
    assert "via" not in found


@pytest.mark.parametrize("sent", [b"", HEADER, LOCAL], ids=["nothing", "header", "local"])
def test_a_health_check_is_not_recorded(
    behind: Running, connected: socket.socket, sent: bytes
) -> None:
    connected.sendall(sent)
    connected.shutdown(socket.SHUT_WR)
    assert not connected.recv(1)
    assert wait_for(lambda: not behind.bridge.connections._records)
    assert not behind.audit()


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\0", b"PROXY TCP4 x\r\n", HEADER[:-1]], ids=["none", "bad", "cut"]
)
def test_the_balancer_must_send_a_whole_header(
    behind: Running, connected: socket.socket, sent: bytes
) -> None:
    connected.sendall(sent)
    connected.shutdown(socket.SHUT_WR)
    with contextlib.suppress(ConnectionResetError):
        assert not connected.recv(1)
    found = record(behind)
    assert (found["reason"], found["rule"]) == ("proxy-header", "listener.proxy_protocol")
    assert str(found["client_address"]).startswith(f"{BALANCER}:")


def test_the_header_must_come_at_once(behind: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", 0.05)
    with socket.create_connection(behind.address, SOON, (BALANCER, 0)) as late:
        assert not late.recv(1)
    found = record(behind)
    assert (found["reason"], found["rule"]) == ("too-slow", "listener.proxy_protocol")


@pytest.mark.parametrize("header", [HEADER, LOCAL], ids=["text", "binary"])
def test_no_other_address_may_name_a_client(behind: Running, header: bytes) -> None:
    with socket.create_connection(behind.address, SOON, (OTHER, 0)) as connection:
        connection.sendall(header)
        assert connection.recv(1) == b"\x15", "a TLS alert"
    found = record(behind)
    assert (found["reason"], found["rule"]) == ("proxy-header", "listener.proxy_protocol")
    assert str(found["client_address"]).startswith(f"{OTHER}:")


def test_other_addresses_are_served_without_a_header(behind: Running) -> None:
    behind.assert_serves()


def test_the_client_counts_and_not_the_balancer(behind: Running, connected: socket.socket) -> None:
    connected.sendall(HEADER + b"\x16")
    records = behind.bridge.connections._records
    assert wait_for(lambda: [each.holder for each in records.values()] == [CLIENT])
    shares = behind.bridge.connections.capacity
    assert [*shares.slots._amounts] == [*shares.handshakes._amounts] == [CLIENT]


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed")
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxy_names_the_client(behind: Running, tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    host, target = behind.address
    (tmp_path / "haproxy.cfg").write_text(
        f"""
defaults
    mode tcp
    timeout connect 30s
    timeout client 30s
    timeout server 30s
listen balancer
    bind 127.0.0.1:{port}
    server bridge {host}:{target} source {BALANCER} {option}
"""
    )
    command = ["haproxy", "-db", "-f", str(tmp_path / "haproxy.cfg")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as balancer:
        try:
            assert wait_for(lambda: _connects(port)), "HAProxy listens"
            with socket.create_connection(("127.0.0.1", port), SOON, ("127.0.0.5", 0)) as client:
                assert request_through(behind, client) == b"HTTP/1.1 200"
        finally:
            balancer.terminate()
    found = record(behind)
    assert str(found["client_address"]).startswith("127.0.0.5:")
    assert str(found["via"]).startswith(f"{BALANCER}:")


def _connects(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), SOON):
        return True
    return False


def test_a_connection_that_waits_for_its_header_is_served_while_the_bridge_drains(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "IDLE_SECONDS", SOON)
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", SOON)
    policy = behind_a_balancer(lab, tmp_path / "audit.jsonl")
    with (
        Running(lab, policy) as running,
        socket.create_connection(running.address, SOON, (BALANCER, 0)) as connection,
    ):
        assert wait_for(lambda: len(running.bridge.connections._records) == 1)
        running.stop()
        assert not running.stops(0.5)
        connection.sendall(HEADER)
        assert request_through(running, connection) == b"HTTP/1.1 200"
        assert running.stops()
        assert record(running)["client_address"] == f"{CLIENT}:51000"


@pytest.mark.parametrize("signals", [1, 2], ids=["as an idle one", "at the second signal"])
def test_a_connection_that_gets_no_header_ends_when_the_bridge_stops(
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    signals: int,
) -> None:
    monkeypatch.setattr(proxy_protocol, "HEADER_SECONDS", 3 * SOON)
    policy = behind_a_balancer(lab, tmp_path / "audit.jsonl")
    with (
        Running(lab, policy) as running,
        socket.create_connection(running.address, SOON, (BALANCER, 0)) as silent,
    ):
        assert wait_for(lambda: len(running.bridge.connections._records) == 1)
        for _ in range(signals):
            running.stop()
        with contextlib.suppress(ConnectionResetError):
            assert not silent.recv(1)
        assert running.stops()
        assert not running.audit()
    assert "defect" not in caplog.text
