"""A listener counts its connections, and closes each after its data is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ibcm_bridge.addons.connections import Capacity, Connections
from ibcm_bridge.addons.server import listener
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.lab.protocol.client import request_bytes
from tests.addons.stand_ins.lab import BRIDGED, FROM_DP, GOOD
from tests.addons.stand_ins.running import SOON, Running, wait_for

BODY = 300_000


def test_a_connection_that_cannot_be_recorded_is_not_counted(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("made to fail")

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "open", fail)
        with socket.create_connection(running.address, SOON) as connection:
            assert not connection.recv(1)
    assert running.bridge.generation.connections == 0, "the generation can retire"
    running.assert_serves()


# The end of a response that the client does not take at once


@pytest.fixture
def unsent(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLSocket]:
    """A closed connection whose response waits in the bridge until the client reads it."""
    real = LegSocket.connection_made

    def connected(under_test: LegSocket, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        transport.set_write_buffer_limits(10 * BODY)
        real(under_test, transport)

    monkeypatch.setattr(LegSocket, "connection_made", connected)
    with running.client() as client:
        connection = client.connect()
        # Otherwise the system may grow its buffer, and take the whole response.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.sendall(request_bytes(*FROM_DP, {"Connection": "close"}, b"", BRIDGED))
        assert wait_for(running.audit)
        assert wait_for(lambda: not running.bridge.connections._records)
        yield connection


def read_to_end(connection: ssl.SSLSocket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_stopping_bridge_sends_the_ends_of_responses(
    running: Running, unsent: ssl.SSLSocket
) -> None:
    assert running.bridge.connections.capacity.slots.held == 1, "the socket still counts"
    running.stop()
    assert not running.stops(0.5), "the client has not read the response"
    assert len(read_to_end(unsent).partition(b"\r\n\r\n")[2]) == BODY
    assert running.stops()


def test_a_client_that_takes_nothing_is_cut_off(
    running: Running, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(listener, "FLUSH_SECONDS", 0.05)
    unsent: ssl.SSLSocket = request.getfixturevalue("unsent")
    assert wait_for(lambda: not running.bridge.connections.flushing)
    assert wait_for(lambda: not running.bridge.connections.capacity.slots.held)
    assert len(read_to_end(unsent)) < BODY
    assert not running.unhandled


@pytest.mark.parametrize("sizes", [[0], [9, 0], [9, 5, 2, 0], [9, 9], [9, 5, 5]])
def test_a_closed_connection_is_kept_while_its_client_takes_data(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "FLUSH_SECONDS", 0.001)
    connections = Connections(Capacity(1, 1))
    left, closed = list(sizes), []

    def unsent() -> int:
        assert connections.flushing == 1
        return left.pop(0)

    async def flush() -> None:
        lost = asyncio.get_running_loop().create_future()
        transport = SimpleNamespace(close=lambda: closed.append(True), get_write_buffer_size=unsent)
        await listener._flush(SimpleNamespace(transport=transport, lost=lost), connections)  # type: ignore[arg-type]

    asyncio.run(flush())
    assert (left, closed, connections.flushing) == ([], [True], 0)


def test_a_socket_with_data_to_send_gives_way_to_another_client(
    running: Running, unsent: ssl.SSLSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = running.bridge.connections
    with running.client() as other, running.client() as another:
        for client in (other, another):
            assert client.request(*GOOD).status == 200
        # All three count for one client, which has more than another source.
        monkeypatch.setattr(connections.capacity.slots, "limit", 3)
        with socket.create_connection(running.address, SOON, ("127.0.0.2", 0)):
            assert wait_for(lambda: not connections.flushing)
            assert len(connections._records) == 3
    assert len(read_to_end(unsent)) < BODY
