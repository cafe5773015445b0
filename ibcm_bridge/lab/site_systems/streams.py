"""The connections of the site systems: they keep what Tornado does not, and can send slowly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

from cryptography import x509
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, SSLIOStream

from ibcm_bridge.lab.protocol.client import tls_version
from ibcm_bridge.lab.protocol.content import PAUSE_SECONDS, PIECES, Pace
from ibcm_bridge.lab.site_systems.unfinished import Unfinished
from ibcm_bridge.lab.site_systems.user_authentication import UserAuthentication

MAX_SILENT_SECONDS = 330.0
"""The time after which a silent site system closes a connection."""


_REFUSAL = b"HTTP/1.1 400 "
"""The beginning of Tornado's response to a malformed request."""


class Stream(IOStream):
    """Stores the unparsed head, the certificate and the user, which Tornado does not.

    With `unfinished`, it also notes what arrives and does not become a request.
    """

    peer_port = 0
    user_authentication: UserAuthentication
    certificate: x509.Certificate | None = None
    tls_version = ""
    tls_resumed = False
    unfinished: Unfinished | None = None
    ended: Callable[[Unfinished, int], None]
    """Gets `unfinished` when it ends, with the status of the refusal."""
    _head = b""

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        size = super().read_from_fd(buf)
        if size and self.unfinished is not None:
            self._identify()
            self.unfinished.arrived(bytes(buf[:size]))
        return size

    async def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> bytes:
        self._head = self._noted(await super().read_until_regex(regex, max_bytes))
        self._identify()
        return self._head

    async def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> bytes:
        return self._noted(await super().read_until(delimiter, max_bytes))

    async def read_bytes(self, num_bytes: int, partial: bool = False) -> bytes:
        return self._noted(await super().read_bytes(num_bytes, partial))

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        if self.unfinished and self.unfinished.is_read and bytes(data[:13]) == _REFUSAL:
            # Before the client can know it.
            self.ended(self.unfinished, 400)
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if self.unfinished is not None:
            self.ended(self.unfinished, 0)
        super().close(exc_info)

    def _noted(self, data: bytes) -> bytes:
        if self.unfinished is not None:
            self.unfinished.read(len(data))
        return data

    def _identify(self) -> None:
        """Note the other end, once the handshake is complete."""
        if self.certificate is None and isinstance(self.socket, ssl.SSLSocket):
            der = self.socket.getpeercert(binary_form=True)
            self.certificate = x509.load_der_x509_certificate(der) if der else None
            self.tls_version = tls_version(self.socket)
            self.tls_resumed = bool(self.socket.session_reused)
        if self.unfinished is not None:
            self.unfinished.certificate = self.certificate
            self.unfinished.tls_version = self.tls_version
            self.unfinished.tls_resumed = self.tls_resumed

    def fields(self) -> tuple[tuple[str, str], ...]:
        lines = self._head.decode("latin-1").rstrip("\r\n").split("\r\n")[1:]
        parts = (line.partition(":") for line in lines)
        return tuple((name, value.strip()) for name, _, value in parts)


class TlsStream(Stream, SSLIOStream):
    """The same over TLS."""


async def write(connection: HTTP1Connection, data: bytes, pace: Pace) -> None:
    """Send a part of a body: in pieces with pauses, or only its first half."""
    if pace is Pace.STALLED:
        data = data[: len(data) // 2]
    size = len(data) // PIECES if pace is Pace.TRICKLED else max(1, len(data))
    for first in range(0, len(data), size):
        await connection.write(data[first : first + size])
        if pace is Pace.TRICKLED:
            await asyncio.sleep(PAUSE_SECONDS)


async def until_closed(connection: HTTP1Connection) -> None:
    """Wait until the other end closes the connection, with a limit."""
    closed = asyncio.Event()
    connection.set_close_callback(closed.set)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(closed.wait(), MAX_SILENT_SECONDS)
    connection.close()
