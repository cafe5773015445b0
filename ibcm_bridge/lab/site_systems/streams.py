"""The connections of the site systems: they keep what Tornado does not, and can send slowly."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from cryptography import x509
from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, SSLIOStream

from ibcm_bridge.lab.protocol.client import tls_version
from ibcm_bridge.lab.protocol.content import PAUSE_SECONDS, PIECES, Pace
from ibcm_bridge.lab.site_systems.user_authentication import UserAuthentication

MAX_SILENT_SECONDS = 330.0
"""The time after which a silent site system closes a connection."""


class Stream(IOStream):
    """Stores the unparsed head, the certificate and the user, which Tornado does not."""

    peer_port = 0
    user_authentication: UserAuthentication
    certificate: x509.Certificate | None = None
    tls_version = ""
    tls_resumed = False
    _head = b""

    async def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> bytes:
        self._head = await super().read_until_regex(regex, max_bytes)
        if self.certificate is None and isinstance(self.socket, ssl.SSLSocket):
            der = self.socket.getpeercert(binary_form=True)
            self.certificate = x509.load_der_x509_certificate(der) if der else None
            self.tls_version = tls_version(self.socket)
            self.tls_resumed = bool(self.socket.session_reused)
        return self._head

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
