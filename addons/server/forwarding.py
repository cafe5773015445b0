"""Reads a connection, or forwards all of it to another connection: a tunnel.

A reader that forwards first returns the bytes that asyncio has received. The kernel forwards all
later bytes, and the next `read` returns at their end. If the kernel cannot forward, the reader
returns all bytes, and its caller copies them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ibcm_bridge.addons.server.splice import ReceiverFailed, splice

if TYPE_CHECKING:
    from mitmproxy.proxy.server import ConnectionIO


class ForwardingReader:
    """Reads for mitmproxy's `handle_connection`, which calls only `read`."""

    def __init__(
        self,
        io: ConnectionIO,
        receiver: Callable[[], ConnectionIO | None],
        forwarded: Callable[[int], Awaitable[None]],
    ) -> None:
        """`receiver` returns the connection to forward to, if any. Sizes are `forwarded`."""
        assert isinstance(io.reader, asyncio.StreamReader)
        self._reader = io.reader
        self._transport = _transport(io)
        self._receiver = receiver
        self._forwarded = forwarded
        self._emptied = False
        """True if everything that asyncio has received was returned, and it receives no more."""
        self._copies = False
        """True if the kernel cannot forward."""

    def read(self, size: int) -> Awaitable[bytes]:
        """Return up to `size` bytes, or none at the end. Raises OSError."""
        receiver = self._receiver()
        if receiver is None or self._copies:
            return self._reader.read(size)
        return self._forward(size, receiver)

    async def _forward(self, size: int, receiver: ConnectionIO) -> bytes:
        if self._emptied and not self._copies:
            try:
                await self._splice(receiver)
            except ReceiverFailed as error:
                assert receiver.handler
                receiver.handler.cancel(f"Error sending data: {error}")  # as mitmproxy does
            except OSError:
                # If this connection has failed, reading it fails too.
                self._copies = True
                self._transport.resume_reading()
            if not self._copies:
                return b""
        data = await self._reader.read(size)
        # The reader returns what it has: fewer bytes mean that it is empty.
        if 0 < len(data) < size and not self._copies:
            self._transport.pause_reading()
            self._emptied = True
        return data

    async def _splice(self, receiver: ConnectionIO) -> None:
        assert isinstance(receiver.writer, asyncio.StreamWriter)
        transport = _transport(receiver)
        transport.set_write_buffer_limits(0)
        try:
            await receiver.writer.drain()
        except OSError as error:
            raise ReceiverFailed(str(error)) from error
        source, target = (each.get_extra_info("socket") for each in (self._transport, transport))
        await splice(source, target, self._forwarded)


def _transport(io: ConnectionIO) -> asyncio.Transport:
    assert isinstance(io.writer, asyncio.StreamWriter)
    assert isinstance(io.writer.transport, asyncio.Transport)
    return io.writer.transport
