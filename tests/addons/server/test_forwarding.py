"""A reader that forwards: no byte is lost, repeated or reordered at the change to the kernel."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ibcm_bridge.addons.server import forwarding
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.server.splice import ReceiverFailed
from ibcm_bridge.lab.protocol.client import Response
from tests.addons.stand_ins.lab import GOOD, TUNNELED
from tests.addons.stand_ins.running import Running, wait_for

DATA = random.Random(17).randbytes(3_000_000)


class Tunnel:
    """One direction: a peer sends to `source`; what is sent to `receiver` reaches another peer."""

    def __init__(
        self,
        source: LegSocket,
        sender: asyncio.StreamWriter,
        receiver: LegSocket,
        reader: asyncio.StreamReader,
    ) -> None:
        self.source, self.sender = source, sender
        self.receiver, self.reader = receiver, reader
        self.spliced = 0
        self.copied = bytearray()
        self.source.read(self._copy)

    async def _count(self, count: int) -> None:
        self.spliced += count

    def _copy(self, data: memoryview) -> None:
        self.copied += data
        self.receiver.transport.write(bytes(data))

    async def forward(self) -> None:
        """Do as the connection handler does."""
        self.source.held = True
        self.source.pause()
        whole = await forwarding.forward(self.source, self.receiver, self._count)
        self.source.held = False
        if not whole:
            self.source.resume()
            await self.source.ended
        self.receiver.transport.write_eof()


@asynccontextmanager
async def tunnel() -> AsyncIterator[Tunnel]:
    accepted: asyncio.Queue[Any] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1")
    address = server.sockets[0].getsockname()
    loop = asyncio.get_running_loop()
    _, source = await loop.create_connection(LegSocket, *address)
    _, sender = await accepted.get()
    _, receiver = await loop.create_connection(LegSocket, *address)
    reader, peer = await accepted.get()
    try:
        yield Tunnel(source, sender, receiver, reader)
    finally:
        for transport in (
            source.transport,
            receiver.transport,
            sender.transport,
            peer.transport,
        ):
            transport.abort()
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


@pytest.mark.parametrize("before", [0, 10, 65_535, 65_536, 262_144, 500_000])
def test_bytes_that_were_read_come_first(way: str, before: int) -> None:
    async def transfer() -> None:
        async with tunnel() as made:
            reading = asyncio.create_task(made.reader.read(-1))
            made.sender.write(DATA[:before])
            while len(made.copied) < before:
                await asyncio.sleep(0.001)
            forwarding_all = asyncio.create_task(made.forward())
            made.sender.write(DATA[before:])
            made.sender.write_eof()
            assert await reading == DATA
            await forwarding_all
            assert made.spliced + len(made.copied) == len(DATA)
            assert (made.spliced > 0) is (way == "in the kernel")

    asyncio.run(transfer())


def test_bytes_that_were_written_before_are_sent_first(monkeypatch: pytest.MonkeyPatch) -> None:
    unsent = []

    async def transfer() -> None:
        async with tunnel() as made:
            transport = made.receiver.transport

            async def look(*_: object) -> None:
                unsent.append(transport.get_write_buffer_size())

            monkeypatch.setattr(forwarding, "splice", look)
            written = 0
            while not transport.get_write_buffer_size():  # the sockets are not full
                transport.write(DATA[:10_000])
                written += 10_000
            forwarding_all = asyncio.create_task(made.forward())
            await asyncio.sleep(0.01)
            assert not unsent, "the peer has read nothing"
            received = await made.reader.read(-1)
            await forwarding_all
            assert len(received) == written

    asyncio.run(transfer())
    assert unsent == [0]


def test_a_receiver_that_is_closed_while_it_is_full_has_failed() -> None:
    async def transfer() -> None:
        async with tunnel() as made:
            while not made.receiver.transport.get_write_buffer_size():
                made.receiver.transport.write(DATA[:10_000])
            forwarding_all = asyncio.create_task(made.forward())
            await asyncio.sleep(0)
            made.receiver.transport.abort()
            with pytest.raises(ReceiverFailed):
                await forwarding_all

    asyncio.run(transfer())


def test_a_receiver_that_fails_ends_the_tunnel(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        await asyncio.sleep(0.01)
        raise ReceiverFailed("reset by peer")

    monkeypatch.setattr(forwarding, "splice", fail)
    assert not isinstance(running.ask(*GOOD, name=TUNNELED), Response)
    assert wait_for(running.audit)
    assert wait_for(lambda: not running.bridge.connections._records)


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
