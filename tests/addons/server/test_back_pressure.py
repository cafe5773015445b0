"""While a connection waits for a hook or a slow peer, each of its sockets is read at most once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from mitmproxy.connection import Connection

from ibcm_bridge.addons.layers.site_system_leg import LegServer
from ibcm_bridge.addons.server.leg_socket import CLIENT_BYTES, LegSocket
from ibcm_bridge.addons.server.socket_handler import SocketHandler
from tests.addons.stand_ins.lab import FROM_DP, GOOD
from tests.addons.stand_ins.running import Running, wait_for

type Reads = list[tuple[type[Connection], int]]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Every read: whose socket, and how many bytes."""
    found: Reads = []
    real = SocketHandler._received

    def note(
        handler: SocketHandler, connection: Connection, under_test: LegSocket, data: memoryview
    ) -> None:
        found.append((type(connection), len(data)))
        real(handler, connection, under_test, data)

    monkeypatch.setattr(SocketHandler, "_received", note)
    return found


def quiet(reads: Reads) -> bool:
    """Return whether nothing is read for a while."""
    before = len(reads)
    threading.Event().wait(0.2)
    return len(reads) == before


def test_a_client_is_read_at_most_once_while_a_hook_runs(running: Running, reads: Reads) -> None:
    go_on = threading.Event()
    began = threading.Event()

    async def wait(stage: Any) -> Any:
        began.set()
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        return stage

    with running.client() as client:
        connection = client.connect()
        running.add_hook("head_read", wait, first=True)
        connection.sendall(b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\nHost: x\r\n\r\n")
        assert began.wait(10)
        reads.clear()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.sendall(b"x" * 100_000_000)
        assert wait_for(lambda: quiet(reads))
        assert sum(size for _, size in reads) <= CLIENT_BYTES
        go_on.set()


def test_a_site_system_is_not_read_while_the_client_does_not_read(
    running: Running, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[LegSocket] = []
    noted = SocketHandler._received

    def stop(
        handler: SocketHandler, connection: Connection, under_test: LegSocket, data: memoryview
    ) -> None:
        if isinstance(connection, LegServer) and connection.tls_established and not stopped:
            stopped.append(handler._sockets[handler.client])
            stopped[0].pause_writing()
            reads.clear()
        noted(handler, connection, under_test, data)

    monkeypatch.setattr(SocketHandler, "_received", stop)
    with running.client() as client:
        response = []
        asking = threading.Thread(target=lambda: response.append(client.request(*FROM_DP)))
        asking.start()
        assert wait_for(lambda: stopped and quiet(reads))
        assert [kind for kind, _ in reads] == [LegServer], "the read that was under way"
        running._loop.call_soon_threadsafe(stopped[0].resume_writing)
        asking.join()
    assert len(response[0].body) == 300_000


def test_reading_goes_on_afterwards(running: Running) -> None:
    async def wait(stage: Any) -> Any:
        await asyncio.sleep(0.01)
        return stage

    running.add_hook("head_read", wait, first=True)
    with running.client() as client:
        for _ in range(3):
            assert client.request(*GOOD).status == 200
