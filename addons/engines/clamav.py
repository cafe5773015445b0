"""ClamAV, asked through its daemon (clamd(8), INSTREAM).

For each view a connection of its own, the view in chunks, one answer. Anything but a plain
`stream: OK` or `stream: ... FOUND` is no answer: a stream that clamd finds too long, an error, a
daemon that is not there, goes away, takes too long or says something else.

It waits, so it is asked in worker processes only.
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
"""Bytes; clamd's limit is of the whole stream (StreamMaxLength)."""

MAX_ANSWER = 4_096
"""Bytes. An answer is the name of a signature and a word."""

_FOUND = re.compile(rb"stream: (.+) FOUND", re.DOTALL)
"""Whatever the name is: a find must not become an answer that is missing."""
_CLEAN = b"stream: OK"
_UNPRINTABLE = re.compile(rb"[^ -~]")


class ClamAvEngine:
    """One daemon."""

    name = identity = "clamav"
    in_place = False

    def __init__(self, settings: ClamAv) -> None:
        self._settings = settings

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        """The name of the signature that was found, or None."""
        return verdict(self._ask(b"zINSTREAM\0", _chunks(data)))

    def version(self) -> str:
        """What the daemon says of itself and its signatures. EngineError where it says nothing."""
        if self._ask(b"zPING\0", iter(())) != b"PONG":
            raise EngineError("it does not answer PING")
        return _words(self._ask(b"zVERSION\0", iter(())))

    def _ask(self, command: bytes, pieces: Iterator[bytes]) -> bytes:
        due = time.monotonic() + self._settings.seconds
        try:
            with _connected(self._settings.address, due) as connection:
                sent = False
                # It may close before it has been sent everything, having said why.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for piece in itertools.chain((command,), pieces):
                        connection.settimeout(_left(due))
                        connection.sendall(piece)
                    sent = True
                answer = _answer(connection, due)
                if answer == _CLEAN and not sent:
                    raise EngineError("it has not looked at all of it")
                return answer
        except TimeoutError:
            raise EngineError(f"no answer in {self._settings.seconds:g} s") from None
        except OSError as error:
            raise EngineError(error.strerror or type(error).__name__) from error


def verdict(answer: bytes) -> str | None:
    """The name of the signature that was found, or None. EngineError: it is no answer."""
    if answer == _CLEAN:
        return None
    found = _FOUND.fullmatch(answer)
    if found is None:
        raise EngineError(_words(answer))
    return _words(found[1])


def _connected(address: Path | tuple[str, int], due: float) -> socket.socket:
    if not isinstance(address, Path):
        return socket.create_connection(address, _left(due))
    # Windows has the family, and Python's socket module there may not.
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise EngineError("this Python has no Unix sockets; use an address")
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


def _answer(connection: socket.socket, due: float) -> bytes:
    """What comes before the NUL that ends it."""
    received = b""
    while b"\0" not in received:
        connection.settimeout(_left(due))
        more = connection.recv(MAX_ANSWER)
        received += more
        if not more or len(received) > MAX_ANSWER:
            raise EngineError("it closed the connection" if not more else "too long an answer")
    answer, _, rest = received.partition(b"\0")
    if rest:
        raise EngineError("more than one answer")
    return answer


def _words(answer: bytes) -> str:
    """An answer for people, whatever it is."""
    return _UNPRINTABLE.sub(b"?", answer[:128]).decode("ascii")


def described(settings: ClamAv) -> str:
    """Where the daemon is."""
    address = settings.address
    return str(address) if isinstance(address, Path) else address_text(address)
