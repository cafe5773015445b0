"""What has reached the stand-ins, kept in memory: the latest, and no more than a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

MAX_RECORDS = 16_384
"""Records of either kind."""

MAX_BYTES = 64 * 1024 * 1024
"""Of bodies, all records together."""

MAX_BODY_RECORDED = 1024 * 1024
"""Bytes of a body that a record has; `size` and `sha256` are of all of it."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that reached a site system; header fields in the order and spelling of the wire."""

    time: datetime
    """When its answer was about to be sent."""
    site_system: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """Its first `MAX_BODY_RECORDED` bytes."""
    size: int
    sha256: str
    certificate_subject: str | None
    certificate_sha256: str | None
    user: str
    """Whom Windows had authenticated, where the directory asks for that."""
    peer_port: int
    status: int


@dataclass(frozen=True)
class Handshake:
    """A ClientHello that reached a site system, whatever became of the handshake."""

    site_system: str
    sni: str | None


class Records:
    """Written by the stand-ins' thread, read by any."""

    def __init__(self, *, kept: int = MAX_RECORDS, kept_bytes: int = MAX_BYTES) -> None:
        self._received: deque[ReceivedRequest] = deque()
        self._handshakes: deque[Handshake] = deque(maxlen=kept)
        self._kept, self._kept_bytes = kept, kept_bytes
        self._bytes = 0
        self._lock = Lock()

    def add(self, record: ReceivedRequest | Handshake) -> None:
        """Keep it; the oldest make room."""
        if isinstance(record, Handshake):
            self._handshakes.append(record)
            return
        with self._lock:
            self._received.append(record)
            self._bytes += len(record.body)
            while len(self._received) > self._kept or self._bytes > self._kept_bytes:
                self._bytes -= len(self._received.popleft().body)

    def received(
        self, wanted: Callable[[ReceivedRequest], bool] = lambda _: True
    ) -> tuple[ReceivedRequest, ...]:
        """Whole requests, in the order of their answers; a head or body cut short is none."""
        with self._lock:
            return tuple(request for request in self._received if wanted(request))

    def handshakes(self) -> tuple[Handshake, ...]:
        """In the order of their arrival."""
        return tuple(self._handshakes.copy())

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._received.clear()
            self._bytes = 0
        self._handshakes.clear()
