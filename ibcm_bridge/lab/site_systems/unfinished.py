"""The bytes that arrive at a site system and are not a complete request.

A server reads a request before it responds, and closes the connection of a malformed one. Records
of complete requests alone would not show that a proxy has forwarded a malformed request, or the
first half of one. Bytes of a TLS handshake do not count.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.lab.site_systems.records import ReceivedRequest, Records

MAX_KEPT = 64 * 1024
"""Bytes of an unfinished request in its record: its head, and the beginning of its body."""

_MAX_METHOD = 40
_MAX_TARGET = 4_000


class Unfinished:
    """The bytes of a connection since its last complete request. Any thread can use it."""

    def __init__(self, site_system: str, peer_port: int) -> None:
        self.certificate: x509.Certificate | None = None
        self.tls_version = ""
        self.tls_resumed = False
        self._site_system = site_system
        self._peer_port = peer_port
        self._lock = threading.Lock()
        self._read = bytearray()
        """The first `MAX_KEPT` bytes that the server has read of a request."""
        self._read_size = 0
        self._waiting = bytearray()
        """Bytes that it has not read: the next request of a client that does not wait."""
        self._began: datetime | None = None

    def arrived(self, data: bytes) -> None:
        """Add bytes from the network."""
        with self._lock:
            self._began = self._began or datetime.now(UTC)
            self._waiting += data

    def read(self, size: int) -> None:
        """Note that the server has read bytes, which belong to the next request."""
        with self._lock:
            self._read += self._waiting[: min(size, MAX_KEPT - len(self._read))]
            self._read_size += size
            del self._waiting[:size]

    def complete(self) -> None:
        """Note that the bytes that the server has read are a complete request."""
        with self._lock:
            self._read.clear()
            self._read_size = 0
            self._began = datetime.now(UTC) if self._waiting else None

    @property
    def is_read(self) -> bool:
        """Whether the server has read a part of a request, and not yet all of it."""
        return self._read_size > 0

    def record(self, status: int = 0, *, ended: bool = False) -> ReceivedRequest | None:
        """Return the bytes that have arrived, or None without any. `status`: of the response."""
        with self._lock:
            data = bytes(self._read + self._waiting[: MAX_KEPT - len(self._read)])
            size, began = self._read_size + len(self._waiting), self._began
        # A server ignores empty lines before a request (RFC 9112, 2.2).
        if began is None or not data.strip(b"\r\n"):
            return None
        method, target, *_ = *data.partition(b"\n")[0].split(maxsplit=2), b"", b""
        certificate = self.certificate
        return ReceivedRequest(
            time=began,
            site_system=self._site_system,
            method=_printable(method[:_MAX_METHOD]),
            target=_printable(target[:_MAX_TARGET]),
            headers=(),
            body=data,
            size=size,
            sha256=sha256(data).hexdigest(),
            certificate_subject=certificate.subject.rfc4514_string() if certificate else None,
            certificate_sha256=certificate.fingerprint(SHA256()).hex() if certificate else None,
            user="",
            peer_port=self._peer_port,
            status=status,
            tls_version=self.tls_version,
            tls_resumed=self.tls_resumed,
            complete=False,
            ended=ended,
        )


class UnfinishedRequests:
    """Those of all connections. A connection that ends leaves a record. Any thread can use it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._lock = threading.Lock()
        self._open: list[Unfinished] = []

    def begin(self, site_system: str, peer_port: int) -> Unfinished:
        """Return the place of a new connection."""
        unfinished = Unfinished(site_system, peer_port)
        with self._lock:
            self._open.append(unfinished)
        return unfinished

    def end(self, unfinished: Unfinished, status: int = 0) -> None:
        """Record the rest of a connection, if any. `status`: of the server's refusal."""
        with self._lock:
            if unfinished not in self._open:
                return
            self._open.remove(unfinished)
            if record := unfinished.record(status, ended=True):
                self._records.add(record)

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        """Return the records from a position on, then the unfinished requests; and the position.

        An unfinished request has no position: the next call returns it again, or its record, with
        the same time and connection.
        """
        with self._lock:
            found = (unfinished.record() for unfinished in self._open)
            unfinished = tuple(record for record in found if record)
            records, position = self._records.since(position)
            return (*records, *unfinished), position


def _printable(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")
