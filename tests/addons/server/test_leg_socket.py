"""A socket forwards what it receives, in order, and reports its end once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ibcm_bridge.addons.server.leg_socket import BUFFER_BYTES, LegSocket

Case = Callable[[LegSocket, socket.socket], Awaitable[None]]


@asynccontextmanager
async def connected(most: int = BUFFER_BYTES) -> AsyncIterator[tuple[LegSocket, socket.socket]]:
    """A socket under test, and its peer."""
    ours, peer = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, under_test = await loop.create_connection(lambda: LegSocket(most), sock=ours)
    try:
        with peer:
            peer.settimeout(10)
            yield under_test, peer
    finally:
        transport.abort()


def run(case: Case, most: int = BUFFER_BYTES) -> None:
    async def within() -> None:
        async with connected(most) as (under_test, peer):
            await asyncio.wait_for(case(under_test, peer), 10)

    asyncio.run(within())


def test_data_is_forwarded_in_order_before_the_end() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        pieces: list[bytes] = []
        peer.sendall(b"before anybody reads")
        under_test.read(lambda data: pieces.append(bytes(data)))
        peer.sendall(b", and after")
        peer.shutdown(socket.SHUT_WR)
        assert await under_test.ended, "it can still be written to"
        assert b"".join(pieces) == b"before anybody reads, and after"
        under_test.transport.write(b"x")
        assert peer.recv(1) == b"x"

    run(case)


@pytest.mark.parametrize("most", [1, 5_000])
def test_a_read_has_at_most_the_limit(most: int) -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        sizes: list[int] = []
        under_test.read(lambda data: sizes.append(len(data)))
        peer.sendall(b"x" * 12_345)
        peer.close()
        await under_test.ended
        assert sum(sizes) == 12_345
        assert max(sizes) == most

    run(case, most)


def test_nothing_is_read_while_it_is_paused() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        pieces: list[bytes] = []
        peer.sendall(b"first")

        def take(data: memoryview) -> None:
            pieces.append(bytes(data))
            under_test.pause()

        under_test.read(take)
        while not pieces:
            await asyncio.sleep(0)
        peer.sendall(b"second")
        peer.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert pieces == [b"first"]
        assert not under_test.ended.done()
        under_test.resume()
        while len(pieces) < 2:
            await asyncio.sleep(0)
        under_test.resume()
        await under_test.ended
        assert pieces == [b"first", b"second"]

    run(case)


def test_it_is_full_while_the_peer_does_not_read() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        emptied = asyncio.Event()
        under_test.emptied = emptied.set
        written = 0
        while not under_test.full:
            under_test.transport.write(b"x" * 65_536)
            written += 65_536
        assert not emptied.is_set()
        peer.setblocking(False)
        received = 0
        while received < written:
            try:
                received += len(peer.recv(written))
            except BlockingIOError:
                await asyncio.sleep(0)
        await emptied.wait()
        assert not under_test.full

    run(case)


def test_a_broken_socket_can_be_neither_read_nor_written_without_a_defect() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        under_test.transport._fatal_error(ConnectionResetError("reset"))  # type: ignore[attr-defined]
        assert not await under_test.ended
        await under_test.lost
        assert under_test.defect is None

    run(case)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
def test_an_exception_while_data_is_forwarded_is_a_defect(error: type[BaseException]) -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)

        def fail(_: memoryview) -> None:
            raise error("made to fail")

        under_test.read(fail)
        peer.sendall(b"x")
        assert not await under_test.ended
        assert isinstance(under_test.defect, error)
        assert peer.recv(1) == b""

    run(case)


def test_an_end_is_reported_while_it_is_full() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        emptied = asyncio.Event()
        under_test.emptied = emptied.set
        while not under_test.full:
            under_test.transport.write(b"x" * 65_536)
        peer.close()
        await under_test.lost
        await emptied.wait()
        assert not await under_test.ended

    run(case)


def test_received_data_cannot_be_kept_without_a_copy() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        kept: list[memoryview] = []
        peer.sendall(b"x")
        under_test.read(kept.append)
        while not kept:
            await asyncio.sleep(0)
        with pytest.raises(ValueError, match="released"):
            bytes(kept[0])

    run(case)


@pytest.mark.parametrize("waiting", [b"", b"first"], ids=["at once", "after waiting data"])
def test_lent_data_is_sent_in_order_and_its_rest_is_copied(waiting: bytes) -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        under_test.read(lambda _: None)
        expected = waiting
        if waiting:
            while not under_test.transport.get_write_buffer_size():
                under_test.transport.write(b"x" * 65_536)
                expected = b"x" * 65_536 + expected
            under_test.transport.write(waiting)
        memory = bytearray(index % 251 for index in range(4_000_000))
        expected += memory
        with memoryview(memory) as lent:
            under_test.write_lent(lent)
        memory[:] = bytes(len(memory))
        received = bytearray()
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        while len(received) < len(expected):
            received += await loop.sock_recv(peer, 1_000_000)
        assert received == expected

    run(case)


def test_lent_data_for_a_peer_that_is_gone_closes_the_socket() -> None:
    async def case(under_test: LegSocket, peer: socket.socket) -> None:
        under_test.read(lambda _: None)
        peer.close()
        for _ in range(10):
            if not under_test.transport.is_closing():
                under_test.write_lent(memoryview(b"x" * 65_536))
        assert not await under_test.ended
        assert under_test.defect is None

    run(case)
