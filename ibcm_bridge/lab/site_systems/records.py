"""The latest requests and handshakes of the simulated site systems, in memory, with limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock

MAX_RECORDS = 16_384
"""Maximum number of requests, and of handshakes."""

MAX_BYTES = 64 * 1024 * 1024
"""Maximum bytes of bodies in all records."""

MAX_BODY_RECORDED = 1024 * 1024
"""Maximum bytes of a body in a record; `size` and `sha256` refer to the whole body."""


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that reached a site system; `headers` in the order and spelling of the wire."""

    time: datetime
    """The time just before the response was sent."""
    site_system: str
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """The first `MAX_BODY_RECORDED` bytes."""
    size: int
    sha256: str
    certificate_subject: str | None
    certificate_sha256: str | None
    user: str
    """The user that Windows authenticated; empty if the directory does not require it."""
    peer_port: int
    status: int
    """0 if no response was sent."""
    tls_version: str = ""
    """`TLS 1.3`; empty without TLS."""
    tls_resumed: bool = False
    complete: bool = True
    """False for bytes that are not a request: malformed, or the beginning of one (`unfinished`).

    Then `time` is that of the first byte, there are no `headers`, and `body` has the first bytes of
    everything, also of the head; `sha256` refers to these, and `size` to all."""
    ended: bool = True
    """False for the beginning of a request whose rest may still arrive."""


@dataclass(frozen=True)
class Handshake:
    """A ClientHello that reached a site system, with any result of the handshake."""

    site_system: str
    sni: str | None


class Records:
    """The records; one thread writes, any thread reads."""

    def __init__(self, *, kept: int = MAX_RECORDS, kept_bytes: int = MAX_BYTES) -> None:
        self._received: deque[ReceivedRequest] = deque()
        self._handshakes: deque[Handshake] = deque(maxlen=kept)
        self._kept, self._kept_bytes = kept, kept_bytes
        self._bytes = 0
        self._removed = 0
        self._lock = Lock()

    def add(self, record: ReceivedRequest | Handshake) -> None:
        """Add a record, and remove the oldest ones over the limits."""
        if isinstance(record, Handshake):
            self._handshakes.append(record)
            return
        with self._lock:
            self._received.append(record)
            self._bytes += len(record.body)
            while len(self._received) > self._kept or self._bytes > self._kept_bytes:
                self._bytes -= len(self._received.popleft().body)
                self._removed += 1

    def received(
        self, wanted: Callable[[ReceivedRequest], bool] = lambda _: True
    ) -> tuple[ReceivedRequest, ...]:
        """Return the complete requests, in the order of their responses."""
        with self._lock:
            return tuple(request for request in self._received if wanted(request))

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        """Return the requests from a position on, and the position after them.

        The first request of all has position 0. A removed request keeps its position.
        """
        with self._lock:
            first = max(0, position - self._removed)
            requests = tuple(islice(self._received, min(first, len(self._received)), None))
            return requests, self._removed + len(self._received)

    def handshakes(self) -> tuple[Handshake, ...]:
        """Return the handshakes, in the order of arrival."""
        return tuple(self._handshakes.copy())

    def clear(self) -> None:
        """Remove all records."""
        with self._lock:
            self._removed += len(self._received)
            self._received.clear()
            self._bytes = 0
        self._handshakes.clear()
