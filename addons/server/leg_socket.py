"""A socket of a connection: the client's, or that of a site-system leg.

asyncio's streams copy what they read twice, and wake a task for each read. This protocol receives
into one buffer for all sockets, and calls a function at once. The function must copy what it keeps.

It only reports. The connection handler decides when a socket is read, and when it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable

BUFFER_BYTES = 262_144
"""The largest read from a site system. Downloads are sent by it."""

CLIENT_BYTES = 65_536
"""The largest read from a client, which a request may be stored by before it is counted."""


class _Memory(threading.local):
    """A buffer for each thread: only the thread of an event loop uses its sockets."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(BUFFER_BYTES))


_MEMORY = _Memory()


def _nothing() -> None:
    pass


class LegSocket(asyncio.BufferedProtocol):
    """Reads a socket for a connection handler."""

    def __init__(
        self, most: int = BUFFER_BYTES, opened: Callable[[LegSocket], None] = lambda _: None
    ) -> None:
        """Read at most `most` bytes at once. `opened` is called when the socket is connected."""
        self.transport: asyncio.Transport
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Done after the last data; the result is whether the socket can still be written to."""
        self.lost: asyncio.Future[None] = self.ended.get_loop().create_future()
        """Done after the socket is closed."""
        self.defect: Exception | None = None
        """Why asyncio closed the socket, if that was not an error of the network."""
        self.full = False
        """True while so much waits to be sent that no more should be written."""
        self.emptied: Callable[[], None] = _nothing
        """Called when the socket is no longer full."""
        self.held = False
        """True while something else reads the socket."""
        self._drained: asyncio.Future[None] | None = None
        self._received: Callable[[memoryview], None] | None = None
        self._unread = b""
        self._buffer = _MEMORY.buffer[:most]
        self._opened = opened

    def read(self, received: Callable[[memoryview], None]) -> None:
        """Begin to read. `received` gets data that is valid only during the call."""
        self._received = received
        self.resume()
        if self._unread:
            unread, self._unread = self._unread, b""
            received(memoryview(unread))

    def stop_reading(self, unread: bytes) -> None:
        """Stop until the next `read`, which gets `unread` first."""
        self._received, self._unread = None, unread
        self.pause()

    def pause(self) -> None:
        """Stop reading."""
        if not self.ended.done():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._received is not None and not self.held and not self.ended.done():
            self.transport.resume_reading()

    def release(self) -> None:
        """Call nothing from now on. Otherwise the socket and its reader would keep each other."""
        self._received, self.emptied = None, _nothing

    def end(self) -> None:
        """Report the end, which was found by something else that reads the socket."""
        self._end(writable=True)

    def write_lent(self, data: memoryview) -> None:
        """Write data that is valid only during the call. Only what cannot be sent now is copied."""
        sent = 0
        if os.name == "posix" and not self.transport.get_write_buffer_size():
            # An error shows again in the transport, which closes the connection for it.
            with contextlib.suppress(OSError):
                sent = os.write(self.transport.get_extra_info("socket").fileno(), data)
        if sent < len(data):
            self.transport.write(bytes(data[sent:]))

    async def drained(self) -> None:
        """Wait until it is not full. Raises OSError if it is closed before."""
        if self.full:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self.lost.done():
            raise ConnectionResetError("the socket is closed")

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for `read`: nobody could take the data before."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
        self._opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next data goes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Forward what was received."""
        assert self._received is not None
        # Who keeps it gets a ValueError, not the data of another connection.
        with self._buffer[:nbytes] as data:
            self._received(data)

    def eof_received(self) -> bool:
        """Report the end of the data. The transport stays open for writing."""
        self._end(writable=True)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Report that the socket can no longer be read or written."""
        self.defect = None if isinstance(exc, OSError) else exc
        self._end(writable=False)
        if not self.lost.done():
            self.lost.set_result(None)
        self.resume_writing()

    def pause_writing(self) -> None:
        """Note that the peer takes less than is written."""
        self.full = True

    def resume_writing(self) -> None:
        """Report that the peer has taken most of what was written."""
        self.full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self.emptied()

    def _end(self, *, writable: bool) -> None:
        if not self.ended.done():
            self.ended.set_result(writable)
