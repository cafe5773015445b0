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

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import load_credential, request_bytes
from tests.addons.stand_ins.lab import BRIDGED, GUID, Lab, message
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
    assert running.wait_for_reason("too-many-connections")["client_address"].startswith(FLOOD)


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
