"""Clients that are slow: they send pieces with pauses, or stop in the middle."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterable

from ibcm_bridge.lab.protocol.client import ConnectionEnded, Response

MAX_RECEIVED = 1024 * 1024
QUIET_SECONDS = 0.25
"""After the first bytes of raw responses, the time until they are taken for complete."""


def exchange_pieces(
    connection: socket.socket,
    pieces: Iterable[bytes],
    pause: float,
    seconds: float,
    *,
    to_end: bool = False,
) -> bytes:
    """Send pieces, with a pause after each one, and return everything that the server sends.

    It ends when the server has sent a response (unless `to_end`) or has closed the connection.
    TimeoutError if it does neither within `seconds`.
    """
    until = time.monotonic() + seconds
    quiet = seconds if to_end else QUIET_SECONDS
    received = bytearray()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        for piece in pieces:
            # The server can refuse early; its response can still be read.
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                connection.sendall(piece)
            if _receive(connection, received, min(until, time.monotonic() + pause), quiet):
                return bytes(received)
            if time.monotonic() >= until:
                break
        if not _receive(connection, received, until, quiet) and (to_end or not received):
            raise TimeoutError
    return bytes(received)


def _receive(connection: socket.socket, received: bytearray, until: float, quiet: float) -> bool:
    """Receive until a time. Return whether the response, or the connection, is at its end."""
    while len(received) < MAX_RECEIVED:
        left = until - time.monotonic()
        if left <= 0:
            return False
        connection.settimeout(min(left, quiet) if received else left)
        try:
            chunk = connection.recv(65_536)
        except TimeoutError:
            if received and time.monotonic() < until:
                return True
            continue
        if not chunk:
            return True
        received += chunk
    return True


def first_response(received: bytes) -> Response:
    """Return the first status, and everything else as the body. ConnectionEnded without one."""
    status = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[^\r\n]*\r?\n", received)
    if status is None:
        raise ConnectionEnded("no response")
    return Response(int(status[1]), "", (), received[status.end() :])


def client_hello(server_name: str) -> bytes:
    """Return the first message of a TLS handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=server_name).do_handshake()
    return sent.read()
