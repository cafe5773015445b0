"""A reader that forwards: no byte is lost, repeated or reordered at the change to the kernel."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mitmproxy.proxy.server import ConnectionIO

from ibcm_bridge.addons.server import forwarding
from ibcm_bridge.addons.server.forwarding import ForwardingReader
from ibcm_bridge.addons.server.splice import ReceiverFailed
from tests.addons.stand_ins.lab import GOOD, TUNNELED
from tests.addons.stand_ins.running import Running, wait_for

DATA = random.Random(17).randbytes(3_000_000)
SIZE = 65_535
"""As mitmproxy reads."""


class Tunnel:
    """One direction: a peer sends to `source`; what is sent to `receiver` reaches another peer."""

    def __init__(self, *streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        (_, self.sender), source, receiver, (self.reader, self.peer) = streams
        self.source = ConnectionIO(None, *source)
        self.receiver = ConnectionIO(None, *receiver)
        self.forwards = True
        self.spliced = 0
        self.copied = bytearray()
        self.forwarding = ForwardingReader(
            self.source, lambda: self.receiver if self.forwards else None, self._count
        )

    async def _count(self, count: int) -> None:
        self.spliced += count

    async def copy(self) -> None:
        """Do as mitmproxy's `handle_connection` and the layer do."""
        assert isinstance(self.receiver.writer, asyncio.StreamWriter)
        while data := await self.forwarding.read(SIZE):
            self.copied += data
            self.receiver.writer.write(data)
            await self.receiver.writer.drain()
        self.receiver.writer.write_eof()


@asynccontextmanager
async def tunnel() -> AsyncIterator[Tunnel]:
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1")
    address = server.sockets[0].getsockname()
    outer = await asyncio.open_connection(*address), await accepted.get()
    inner = await asyncio.open_connection(*address), await accepted.get()
    try:
        yield Tunnel(*outer, *inner)
    finally:
        for _, writer in (*outer, *inner):
            writer.transport.abort()
        server.close()


WAYS = ["in the kernel", "copied"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    async def refuse(*_: object) -> None:
        raise OSError("not here")

    if request.param == "copied":
        monkeypatch.setattr(forwarding, "splice", refuse)
    elif sys.platform != "linux":
        pytest.skip("only Linux has splice(2)")
    return str(request.param)


@pytest.mark.parametrize("before", [0, 10, 65_534, 65_535, 65_536, 131_070, 500_000])
def test_bytes_that_asyncio_has_received_come_first(way: str, before: int) -> None:
    async def transfer() -> None:
        async with tunnel() as made:
            made.sender.write(DATA[:before])
            await asyncio.sleep(0.05)  # so that asyncio receives much of it
            copying = asyncio.create_task(made.copy())
            made.sender.write(DATA[before:])
            made.sender.write_eof()
            assert await made.reader.read(-1) == DATA
            await copying
            assert made.spliced + len(made.copied) == len(DATA)
            assert (made.spliced > 0) is (way == "in the kernel")

    asyncio.run(transfer())


def test_bytes_that_were_written_before_are_sent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unsent = []

    async def transfer() -> None:
        async with tunnel() as made:
            assert isinstance(made.receiver.writer, asyncio.StreamWriter)
            transport = made.receiver.writer.transport

            async def look(*_: object) -> None:
                unsent.append(transport.get_write_buffer_size())

            monkeypatch.setattr(forwarding, "splice", look)
            written = 0
            while not transport.get_write_buffer_size():  # the sockets are not full
                transport.write(DATA[:10_000])
                written += 10_000
            made.sender.write(b"first")
            copying = asyncio.create_task(made.copy())
            received = await made.reader.read(-1)
            await copying
            assert len(received) == written + 5
            assert received.endswith(b"first")

    asyncio.run(transfer())
    assert unsent == [0]


def test_a_connection_that_is_not_forwarded_is_read(way: str) -> None:
    async def transfer() -> None:
        async with tunnel() as made:
            made.forwards = False
            made.sender.write(DATA)
            made.sender.write_eof()
            await asyncio.gather(made.copy(), made.reader.read(-1))
            assert bytes(made.copied) == DATA
            assert not made.spliced

    del way
    asyncio.run(transfer())


def test_a_receiver_that_fails_ends_as_in_mitmproxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ReceiverFailed("reset by peer")

    async def transfer() -> None:
        async with tunnel() as made:
            made.receiver.handler = asyncio.create_task(asyncio.Event().wait())
            made.sender.write(b"first")
            await made.copy()
            with pytest.raises(asyncio.CancelledError, match="reset by peer"):
                await made.receiver.handler

    monkeypatch.setattr(forwarding, "splice", fail)
    asyncio.run(transfer())


def test_a_tunnel_of_a_bridge_is_forwarded_in_the_kernel_or_copied(
    way: str, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    del way
    splices = []
    real = forwarding.splice

    async def watched(*arguments: Any) -> None:
        splices.append(arguments)
        await real(*arguments)

    monkeypatch.setattr(forwarding, "splice", watched)
    with running.client(TUNNELED) as client:
        replies = [client.request(*GOOD) for _ in range(3)]
    assert {reply.status for reply in replies} == {200}
    assert wait_for(running.audit)
    assert len(splices) == 2
    assert not running.unhandled
