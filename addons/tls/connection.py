"""An OpenSSL connection that reads without pyOpenSSL's cost.

pyOpenSSL allocates a buffer of the requested size for each read, and raises an exception if there
is nothing to read. Both happen several times for each message. This class reads into one buffer for
all connections, and returns at the end of the data.

mitmproxy parses all certificates of a peer after each handshake. The bridge does not use them, so
`get_peer_cert_chain` has none. The end-entity certificate is available as a `cryptography` object.

It uses private attributes of pyOpenSSL, which `tests/addons/contract` checks.
"""

from __future__ import annotations

import contextlib
import threading
from enum import Enum, auto
from typing import Any

from cryptography import x509
from OpenSSL import SSL

from ibcm_bridge.addons.tls.verification import CertificationPath

BUFFER_BYTES = 294_912
"""The largest read of a socket, and more than the record that was incomplete before it."""

SLICE_BYTES = 65_536
"""How much OpenSSL gets at once. It keeps the memory that it has once needed."""

LARGE_BYTES = 16_384
"""Records of this size or more are not copied to OpenSSL first."""

_LIB: Any = SSL._lib  # type: ignore[attr-defined]
_FFI: Any = SSL._ffi  # type: ignore[attr-defined]


class _Memory(threading.local):
    """A buffer for each thread, because OpenSSL writes to it without the interpreter lock."""

    def __init__(self) -> None:
        self.buffer: Any = _FFI.new("char[]", BUFFER_BYTES)
        self.view = memoryview(_FFI.buffer(self.buffer))
        self.start: Any = _FFI.new("char **")


_MEMORY = _Memory()


class End(Enum):
    """How the peer's data ended."""

    CLEAN = auto()
    """With close_notify (RFC 8446 §6.1)."""
    CUT = auto()
    """With an alert, or with data that is not a TLS record."""


class LegConnection(SSL.Connection):
    """A connection with memory BIOs, for one leg."""

    def read_plaintext(self, records: bytes | memoryview = b"") -> tuple[bytes, End | None]:
        """Return all plaintext that is available with more records, and the end if it is there."""
        if len(records) < LARGE_BYTES or _LIB.BIO_get_mem_data(self._into_ssl, _MEMORY.start):
            if records:
                self._add_input(records)
            return self._read()
        # OpenSSL reads the records where they are. It stores the last one if it is incomplete.
        source = _FFI.from_buffer(records)
        self._set_input(_LIB.BIO_new_mem_buf(source, len(records)))
        _LIB.BIO_set_mem_eof_return(self._into_ssl, -1)  # as if more records can come
        try:
            return self._read()
        finally:
            self._set_input(_LIB.BIO_new(_LIB.BIO_s_mem()))

    def _read(self) -> tuple[bytes, End | None]:
        buffer = _MEMORY.buffer
        pieces, filled, end = [], 0, None
        while (size := _LIB.SSL_read(self._ssl, buffer + filled, BUFFER_BYTES - filled)) > 0:
            filled += size
            if filled == BUFFER_BYTES:
                pieces.append(_FFI.buffer(buffer, filled)[:])
                filled = 0
        if _LIB.SSL_get_error(self._ssl, size) != _LIB.SSL_ERROR_WANT_READ:
            end = self._end(size)
        rest: bytes = _FFI.buffer(buffer, filled)[:]
        return (b"".join((*pieces, rest)) if pieces else rest), end

    def sent_path(
        self, authorities: CertificationPath
    ) -> tuple[x509.Certificate, CertificationPath]:
        """Return the certificates that the peer of a server sent: its own, and the others.

        OpenSSL has both as long as the connection exists. If it resumed a session, `authorities`
        are the others (SSL_get_peer_cert_chain(3)).
        """
        certificate = self.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        others = SSL.Connection.get_peer_cert_chain(self) or ()
        found = []
        for other in others:
            # Not one of the path that was accepted, because all of that could be read.
            with contextlib.suppress(ValueError, x509.InvalidVersion):
                found.append(other.to_cryptography())
        return certificate, found or authorities

    def _add_input(self, records: bytes | memoryview) -> None:
        """Copy records to OpenSSL, without the conversions of `bio_write`."""
        if _LIB.BIO_write(self._into_ssl, _FFI.from_buffer(records), len(records)) != len(records):
            raise MemoryError

    def _set_input(self, bio: Any) -> None:
        """Let OpenSSL read from another BIO. It frees the previous one."""
        if bio == _FFI.NULL:
            raise MemoryError
        self._into_ssl = bio
        _LIB.SSL_set_bio(self._ssl, bio, self._from_ssl)

    def write_plaintext(self, data: bytes, at: int) -> int:
        """Encrypt a slice of the data, beginning at `at`. Return how much was encrypted.

        Nothing during a renegotiation. After the end of TLS the data is discarded.
        """
        size = min(SLICE_BYTES, len(data) - at)
        written: int = _LIB.SSL_write(self._ssl, _FFI.from_buffer(data) + at, size)
        if written > 0:
            return written
        if _LIB.SSL_get_error(self._ssl, written) == _LIB.SSL_ERROR_WANT_READ:
            return 0
        self._end(written)
        return size

    def _end(self, result: int) -> End:
        try:
            # Also clears OpenSSL's error queue.
            self._raise_ssl_error(self._ssl, result)
        except SSL.ZeroReturnError:
            return End.CLEAN
        except SSL.Error:
            return End.CUT
        raise AssertionError("OpenSSL reported no error")

    def read_records(self) -> bytes:
        """Return the TLS records to send, or b"" if there are none."""
        with self.lent_records() as records:
            return bytes(records)

    def lent_records(self) -> memoryview:
        """Return the same in a buffer of all connections, which soon has other data."""
        size = _LIB.BIO_read(self._from_ssl, _MEMORY.buffer, BUFFER_BYTES)
        return _MEMORY.view[: max(size, 0)]

    def release_memory(self) -> None:
        """Free the buffers of records, which stay as large as the most that was in them."""
        self._into_ssl = _with_what_is_in(self._into_ssl)
        self._from_ssl = _with_what_is_in(self._from_ssl)
        # OpenSSL frees the previous ones.
        _LIB.SSL_set_bio(self._ssl, self._into_ssl, self._from_ssl)

    def get_peer_cert_chain(self, *, as_cryptography: bool = False) -> list[Any]:
        """Return no certificate: mitmproxy would parse each."""
        return []

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> Any:
        """Return the end-entity certificate, but only as a `cryptography` object."""
        return super().get_peer_certificate(as_cryptography=True) if as_cryptography else None


def _with_what_is_in(bio: Any) -> Any:
    """Return a new memory BIO that has the rest of another one."""
    new, buffer = _LIB.BIO_new(_LIB.BIO_s_mem()), _MEMORY.buffer
    while (size := _LIB.BIO_read(bio, buffer, BUFFER_BYTES)) > 0:
        if _LIB.BIO_write(new, buffer, size) != size:
            raise MemoryError
    return new
