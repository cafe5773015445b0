"""One source or one certificate that floods the bridge does not lock out another client.

The limits are the defaults, unless a test names one. Floods come from 127.0.0.1, the other client
from 127.0.0.2.
"""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import load_credential, request_bytes
from ibcm_bridge.policy.roles import CertificatePolicy
from tests.addons.stand_ins.lab import BRIDGED, GOOD, GUID, TUNNELED, Lab, changed, message
from tests.addons.stand_ins.running import SOON, Running, wait_for

IDLE = 10_000
FLOOD, OTHER = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def sockets() -> Iterator[contextlib.ExitStack]:
    """Closes the sockets of a flood, which needs more descriptors than the usual soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as opened:
        yield opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def other(lab: Lab) -> LabCredential:
    return lab.pki.computer("other.corp.example")


def tcp(running: Running, source: str = FLOOD) -> socket.socket:
    return socket.create_connection(running.address, SOON, (source, 0))


def tls(running: Running, credential: LabCredential | None, source: str = FLOOD) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if credential is not None:
        load_credential(context, credential)
    return context.wrap_socket(tcp(running, source), server_hostname=BRIDGED)


def report(size: int | None = None) -> bytes:
    """Return a message; with `size`, its head and so many bytes of a larger body."""
    sent = message()
    body: bytes = sent["body"]
    whole = request_bytes("CCM_POST", "/ccm_system/request", sent["headers"], body, BRIDGED)
    if size is None:
        return whole
    head = whole[: -len(body)].replace(b"Length: %d" % len(body), b"Length: %d" % (size + 1))
    return head + b"x" * size


def assert_served(running: Running, credential: LabCredential) -> None:
    """Assert that the other client gets the response to a message."""
    with tls(running, credential, OTHER) as connection:
        connection.sendall(report())
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")


def test_idle_connections(
    running: Running, sockets: contextlib.ExitStack, other: LabCredential
) -> None:
    for _ in range(IDLE):
        sockets.enter_context(tcp(running))
    assert_served(running, other)
    # The speed of the flood decides which limit it reaches first.
    reasons = {"too-many-connections", "too-many-handshakes"}
    assert wait_for(lambda: reasons & set(running.reasons()))
    refused = [record for record in running.audit() if record.get("reason") in reasons]
    assert all(record["client_address"].startswith(FLOOD) for record in refused)


def test_half_open_handshakes(
    running: Running, sockets: contextlib.ExitStack, other: LabCredential
) -> None:
    handshakes = running.bridge.connections.capacity.handshakes
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=BRIDGED)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    for _ in range(running.bridge.connections.capacity.slots.limit + 50):
        sockets.enter_context(tcp(running)).sendall(hello)
    assert wait_for(lambda: handshakes.held == handshakes.limit)
    assert_served(running, other)


def test_announced_bodies(
    running: Running, lab: Lab, sockets: contextlib.ExitStack, other: LabCredential
) -> None:
    announced = report(4_000_000)[:-4_000_000]
    for _ in range(82):
        sockets.enter_context(tls(running, lab.computer)).sendall(announced)
    assert wait_for(lambda: running.bridge.connections.capacity.memory.held > 82 * 4_096)
    assert_served(running, other)
    assert "overloaded" not in running.reasons(), "there is room, so no request is refused"


def large(piece: str, size: int) -> bytes:
    """Return a request with a message of this size that repeats a piece of text."""
    text = (piece * (size // len(piece) + 1))[:size]
    body = ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml=f"<Report>{text}</Report>", client_guid=GUID
    )
    fields = {"Content-Type": ccm.CONTENT_TYPE}
    return request_bytes("CCM_POST", "/ccm_system/request", fields, body, BRIDGED)


def test_texts_that_are_slow_to_inspect(
    running: Running, lab: Lab, sockets: contextlib.ExitStack, other: LabCredential
) -> None:
    slow = large("pwsh -e ", 7_000_000)
    workers = running.bridge.generation.workers
    flood = [sockets.enter_context(tls(running, lab.computer)) for _ in range(20)]
    for connection in flood:
        connection.sendall(slow)
    assert wait_for(lambda: workers.under_way > 10)
    assert_served(running, other)
    with tls(running, other, OTHER) as connection:
        connection.sendall(large("plain text ", 200_000))
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")
    assert workers.under_way > 5, "the flood is still being inspected"


def test_bodies_that_fill_the_memory(
    lab: Lab, tmp_path: Path, sockets: contextlib.ExitStack, other: LabCredential
) -> None:
    size = 2_000_000
    limits = dataclasses.replace(lab.policy.limits, buffered_bytes=4 * size + 1_000)
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl", limits=limits)
    with Running(lab, policy) as running:
        memory = running.bridge.connections.capacity.memory
        for _ in range(4):
            sockets.enter_context(tls(running, lab.computer)).sendall(report(size - 3_000))
        assert wait_for(lambda: memory.held > 4 * size - 12_000)
        memory.limit = memory.held
        assert_served(running, other)
        overloaded = running.wait_for_reason("overloaded")
        assert overloaded["rule"] == "limits.buffered_bytes"
        assert overloaded["client_name"] == "pc1.corp.example"
        sockets.close()


def test_tunnels(
    running: Running, sockets: contextlib.ExitStack, other: LabCredential, lab: Lab
) -> None:
    """Many sources use up the share of tunnels. Authenticated clients have the rest."""
    capacity = running.bridge.connections.capacity
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=lab.pki.root.public_bytes(Encoding.DER))
    running._loop.call_soon_threadsafe(setattr, capacity.slots, "limit", 8)
    running._loop.call_soon_threadsafe(lambda: capacity.keep_for_authenticated(keep=True))
    for number in range(4):
        opened = tcp(running, f"127.0.1.{number + 1}")
        sockets.enter_context(context.wrap_socket(opened, server_hostname=TUNNELED))
    assert wait_for(lambda: capacity.tunnels) == 4
    with (
        pytest.raises(ssl.SSLError, match="internal error"),
        tcp(running, "127.0.1.9") as fifth,
    ):
        context.wrap_socket(fifth, server_hostname=TUNNELED)
    record = running.wait_for_reason("connections-reserved")
    assert (record["event"], record["rule"]) == ("connection-refused", "limits.connections")
    assert record["tls_alert"] == "internal_error"
    assert_served(running, other)


def test_clients_without_a_certificate(lab: Lab, tmp_path: Path, other: LabCredential) -> None:
    policy = changed(
        lab.policy, tmp_path / "audit.jsonl", certificate_policy=CertificatePolicy.OPTIONAL
    )
    policy = dataclasses.replace(policy, limits=dataclasses.replace(policy.limits, connections=4))
    with Running(lab, policy) as running, contextlib.ExitStack() as opened:
        for number in range(2):
            client = opened.enter_context(tls(running, None, f"127.0.1.{number + 1}"))
            client.sendall(request_bytes(*GOOD, {}, None, BRIDGED))
            assert client.recv(20).startswith(b"HTTP/1.1 200 ")
        with contextlib.suppress(OSError), tls(running, None, "127.0.1.9") as third:
            assert not third.recv(1)
        record = running.wait_for_reason("connections-reserved")
        assert record["rule"] == "limits.connections"
        assert_served(running, other)


def test_a_bridge_without_authenticated_clients_keeps_nothing_for_them(
    running_lab: Lab, tmp_path: Path
) -> None:
    policy = changed(
        running_lab.policy,
        tmp_path / "audit.jsonl",
        certificate_policy=CertificatePolicy.NONE,
        client_trust=None,
    )
    with Running(running_lab, policy) as running:
        capacity = running.bridge.connections.capacity
        assert capacity.anonymous.limit == capacity.slots.limit
        assert running.reload(lambda: changed(running_lab.policy, tmp_path / "audit.jsonl")) == ()
        assert capacity.anonymous.limit == capacity.slots.limit // 2
