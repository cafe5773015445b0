"""Bytes are forwarded in the kernel, in order, and as fast as the receiver reads."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ibcm_bridge.addons.server import splice as module
from ibcm_bridge.addons.server.splice import ReceiverFailed, splice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has splice(2)")

DATA = random.Random(17).randbytes(5_000_000)


class Ends(NamedTuple):
    """A sender, the two sockets to splice, and the reader at the other end."""

    sender: socket.socket
    source: socket.socket
    receiver: socket.socket
    reader: socket.socket


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    for each in (first, second):
        each.setblocking(False)
    return first, second


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends(*connected(), *connected())
    yield made
    for each in made:
        each.close()


class Counted:
    """The sizes that were reported."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, count: int) -> None:
        self.sizes.append(count)


async def send_all(ends: Ends, data: bytes = DATA) -> None:
    await asyncio.get_running_loop().sock_sendall(ends.sender, data)
    ends.sender.shutdown(socket.SHUT_WR)


async def read(ends: Ends) -> bytes:
    received = bytearray()
    while chunk := await asyncio.get_running_loop().sock_recv(ends.reader, 65_536):
        received += chunk
    return bytes(received)


def transferred(ends: Ends) -> list[int]:
    """Send all data; the reported sizes."""
    counted = Counted()

    async def transfer() -> None:
        sending = asyncio.create_task(send_all(ends))
        reading = asyncio.create_task(read(ends))
        await splice(ends.source, ends.receiver, counted)
        ends.receiver.shutdown(socket.SHUT_WR)
        await sending
        assert await reading == DATA

    asyncio.run(transfer())
    return counted.sizes


def test_all_bytes_are_forwarded_in_order_and_counted(ends: Ends) -> None:
    assert sum(transferred(ends)) == len(DATA)


def test_a_pipe_may_keep_its_size(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("the pipes of this user are too large together")

    monkeypatch.setattr(module.fcntl, "fcntl", refused)
    sizes = transferred(ends)
    assert sum(sizes) == len(DATA)
    assert max(sizes) <= module.PIPE_BYTES


async def until_still(counted: Counted) -> None:
    """Wait until nothing more is forwarded, because nobody reads."""
    before = 0
    while before != sum(counted.sizes) or not before:
        before = sum(counted.sizes)
        assert before < 9 * len(DATA), "the sockets do not have so much room"
        await asyncio.sleep(0.2)


def test_a_slow_receiver_stops_the_sender(ends: Ends) -> None:
    counted = Counted()
    data = DATA * 10

    async def transfer() -> None:
        splicing = asyncio.create_task(splice(ends.source, ends.receiver, counted))
        sending = asyncio.create_task(send_all(ends, data))
        await until_still(counted)
        reading = asyncio.create_task(read(ends))
        await asyncio.gather(splicing, sending)
        ends.receiver.shutdown(socket.SHUT_WR)
        assert await reading == data

    asyncio.run(transfer())
    assert sum(counted.sizes) == len(data)


def test_a_reset_of_the_source_is_its_error(ends: Ends) -> None:
    ends.sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends.sender.close()
    with pytest.raises(ConnectionResetError):
        asyncio.run(splice(ends.source, ends.receiver, Counted()))


def test_a_reset_of_the_receiver_is_not_an_error_of_the_source(ends: Ends) -> None:
    ends.reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    ends.reader.close()
    ends.sender.send(DATA[:100])
    counted = Counted()
    with pytest.raises(ReceiverFailed):
        asyncio.run(splice(ends.source, ends.receiver, counted))
    assert not counted.sizes


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("waits_for", ["the source", "the receiver"])
def test_a_cancellation_closes_the_files(ends: Ends, waits_for: str) -> None:
    async def transfer() -> None:
        before = open_files()
        counted = Counted()
        splicing = asyncio.create_task(splice(ends.source, ends.receiver, counted))
        if waits_for == "the receiver":
            sending = asyncio.create_task(send_all(ends, DATA * 10))
            await until_still(counted)
            assert open_files() == before + 4
            sending.cancel()
        else:
            await asyncio.sleep(0)
            assert open_files() == before + 1, "a tunnel that waits needs no pipe"
        splicing.cancel()
        await asyncio.wait([splicing])
        assert open_files() == before

    asyncio.run(transfer())


def test_nothing_is_forwarded_after_a_report_that_ends_it(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that raises ends the connection, while bytes are in the pipe."""
    real = module._send
    monkeypatch.setattr(module, "_send", lambda pipe, to, most: real(pipe, to, min(most, 1000)))

    async def transfer() -> None:
        task = asyncio.current_task()

        async def end(_: int) -> None:
            assert task is not None
            task.cancel()

        ends.sender.send(DATA[:5000])
        await splice(ends.source, ends.receiver, end)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(transfer())
    assert len(ends.reader.recv(65_536)) == 1000
