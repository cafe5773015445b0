"""Scans views with ClamAV through its daemon (clamd(8), command INSTREAM).

Each view uses one connection: the view is sent in chunks, and clamd sends one response. Only
`stream: OK` and `stream: ... FOUND` are valid. Everything else is an EngineError: a stream over
clamd's limit, an error, no connection, a closed connection, a timeout, any other response.

A scan blocks, so it runs only in worker processes.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.inspection.engines import EngineError
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import ClamAv

CHUNK = 1_048_576
"""Size of one chunk in bytes. clamd limits only the whole stream (StreamMaxLength)."""

MAX_RESPONSE = 4_096
"""Limit for one response in bytes. A response is the name of a signature and a keyword."""

_FOUND = re.compile(rb"stream: (.+) FOUND", re.DOTALL)
"""Any name matches: a detection must not become a missing response."""
_CLEAN = b"stream: OK"
_UNPRINTABLE = re.compile(rb"[^ -~]")


class ClamAvEngine:
    """A content engine that uses one clamd daemon."""

    name = identity = "clamav"
    in_place = False

    def __init__(self, settings: ClamAv) -> None:
        self._settings = settings

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """Return the name of the signature that matched, or None."""
        return verdict(self._ask(b"zINSTREAM\0", _chunks(data)))

    def ping(self) -> None:
        """Raise EngineError if the daemon does not respond."""
        if self._ask(b"zPING\0", iter(())) != b"PONG":
            raise EngineError("clamd does not respond to PING")

    def version(self) -> str:
        """Return the versions of the daemon and its signatures. EngineError if it fails."""
        self.ping()
        return _printable(self._ask(b"zVERSION\0", iter(())))

    def _ask(self, command: bytes, pieces: Iterator[bytes]) -> bytes:
        due = time.monotonic() + self._settings.seconds
        try:
            with _connected(self._settings.address, due) as connection:
                sent = False
                # clamd may respond and close before it has received everything.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for piece in itertools.chain((command,), pieces):
                        connection.settimeout(_left(due))
                        connection.sendall(piece)
                    sent = True
                response = _response(connection, due)
                if response == _CLEAN and not sent:
                    raise EngineError("clamd responded before it received everything")
                return response
        except TimeoutError:
            raise EngineError(f"no response within {self._settings.seconds:g} s") from None
        except OSError as error:
            raise EngineError(error.strerror or type(error).__name__) from error


def verdict(response: bytes) -> str | None:
    """Return the name of the signature that matched, or None. EngineError if it is invalid."""
    if response == _CLEAN:
        return None
    found = _FOUND.fullmatch(response)
    if found is None:
        raise EngineError(_printable(response))
    return _printable(found[1])


def _connected(address: Path | tuple[str, int], due: float) -> socket.socket:
    if not isinstance(address, Path):
        return socket.create_connection(address, _left(due))
    # Windows supports AF_UNIX, but its Python may not.
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise EngineError("this Python does not support Unix sockets; use a TCP address")
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(_left(due))
        connection.connect(str(address))
    except BaseException:
        connection.close()
        raise
    return connection


def _left(due: float) -> float:
    left = due - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _chunks(data: bytes) -> Iterator[bytes]:
    for begin in range(0, len(data), CHUNK):
        piece = data[begin : begin + CHUNK]
        yield len(piece).to_bytes(4) + piece
    yield bytes(4)


def _response(connection: socket.socket, due: float) -> bytes:
    """Read one response, without its terminating NUL."""
    received = b""
    while b"\0" not in received:
        connection.settimeout(_left(due))
        more = connection.recv(MAX_RESPONSE)
        received += more
        if not more or len(received) > MAX_RESPONSE:
            raise EngineError("the response is too long" if more else "clamd closed the connection")
    response, _, rest = received.partition(b"\0")
    if rest:
        raise EngineError("clamd sent more than one response")
    return response


def _printable(response: bytes) -> str:
    """Return the start of a response as printable ASCII."""
    return _UNPRINTABLE.sub(b"?", response[:128]).decode("ascii")


def daemon_address(settings: ClamAv) -> str:
    """Return the socket path or the address of the daemon."""
    address = settings.address
    return str(address) if isinstance(address, Path) else address_text(address)
