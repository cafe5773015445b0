"""Detects a complete ClientHello in the first bytes of a connection, and checks its form."""

from __future__ import annotations

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

MAX_RECORDS = 32
"""TLS records per ClientHello. Clients use one, or a few for a large ClientHello."""

_CLIENT_HELLO = 1
"""RFC 8446 §4."""


def is_whole(data: bytes) -> bool | Deny:
    """Return whether the ClientHello is complete, by its lengths only (RFC 8446 §4, §5.1).

    Parsing is expensive, so the caller parses once, when this returns True.
    """
    start = b""
    offset = received = 0
    for _ in range(MAX_RECORDS):
        header = data[offset : offset + 5]
        if len(header) < 5:
            return False
        # RFC 8446 §5.1: handshake(22), legacy_record_version 0x03XX, and never an empty fragment.
        if header[:2] != b"\x16\x03" or header[2] > 3 or header[3:] == b"\0\0":
            return Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS handshake record")
        length = int.from_bytes(header[3:])
        payload = data[offset + 5 : offset + 5 + length]
        start = (start + payload[:4])[:4]
        if start and start[0] != _CLIENT_HELLO:
            return Deny(Reason.NOT_TLS, rules.LISTENER, "not a ClientHello")
        received += len(payload)
        if len(start) == 4 and received >= 4 + int.from_bytes(start[1:4]):
            return True
        offset += 5 + length
    return Deny(Reason.NOT_TLS, rules.LISTENER, f"a ClientHello in more than {MAX_RECORDS} records")


def is_well_formed(body: bytes) -> bool:
    """Return whether all lengths in a ClientHello fit (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2).

    `body` is without the header of the message. Readers of a malformed one can find different
    server names in it.
    """
    try:
        session, rest = _vector(memoryview(body)[_SESSION_AT:], 1)
        suites, rest = _vector(rest, 2)
        methods, rest = _vector(rest, 1)
        # A client of TLS 1.2 may send no extensions.
        extensions, rest = _vector(rest, 2) if rest else (rest, rest)
        while extensions:
            _, extensions = _vector(extensions[2:], 2)
    except ValueError:
        return False
    return (
        len(session) <= _LONGEST_SESSION
        and len(suites) > 0
        and len(suites) % 2 == 0
        and len(methods) > 0
        and not rest
    )


_SESSION_AT = 2 + 32
"""After the version and the random."""

_LONGEST_SESSION = 32


def _vector(data: memoryview, size: int) -> tuple[memoryview, memoryview]:
    """Split off a vector with a length of `size` bytes (RFC 8446 §3.4). ValueError if cut off."""
    end = size + int.from_bytes(data[:size])
    if len(data) < end:
        raise ValueError("a vector is cut off")
    return data[size:end], data[end:]
