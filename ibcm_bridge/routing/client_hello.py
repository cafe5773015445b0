"""Reads the ClientHello in the first bytes of a connection: first its end, then its content."""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

MAX_RECORDS = 32
"""TLS records per ClientHello. Clients use one, or a few for a large ClientHello."""

_CLIENT_HELLO = 1
"""RFC 8446 §4."""


@dataclass(frozen=True, slots=True)
class ClientHelloFacts:
    """The part of a ClientHello that routing uses: the server name, if any (RFC 6066)."""

    server_name: str | None


def whole_client_hello(data: bytes) -> bytes | Deny | None:
    """Return the ClientHello without its headers, or None if it is not complete.

    Only its lengths are read (RFC 8446 §4, §5.1). The caller reads its content once, when this
    returns it.
    """
    message = b""
    offset = 0
    for _ in range(MAX_RECORDS):
        header = data[offset : offset + 5]
        if len(header) < 5:
            return None
        # RFC 8446 §5.1: handshake(22), legacy_record_version 0x03XX, and never an empty fragment.
        if header[:2] != b"\x16\x03" or header[2] > 3 or header[3:] == b"\0\0":
            return Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS handshake record")
        length = int.from_bytes(header[3:])
        message += data[offset + 5 : offset + 5 + length]
        if message and message[0] != _CLIENT_HELLO:
            return Deny(Reason.NOT_TLS, rules.LISTENER, "not a ClientHello")
        if len(message) >= 4 and len(message) >= (end := 4 + int.from_bytes(message[1:4])):
            return message[4:end]
        offset += 5 + length
    return Deny(Reason.NOT_TLS, rules.LISTENER, f"a ClientHello in more than {MAX_RECORDS} records")


def read_client_hello(body: bytes) -> ClientHelloFacts | Deny:
    """Read a complete ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2). All lengths must fit.

    Readers of a malformed one can find different server names in it.
    """
    try:
        return ClientHelloFacts(_server_name(body))
    except ValueError:
        return Deny(Reason.CLIENT_HELLO_MALFORMED, rules.LISTENER, "a malformed ClientHello")


_SESSION_AT = 2 + 32
"""After the version and the random."""

_LONGEST_SESSION = 32
_SERVER_NAME = b"\0\0"
_HOST_NAME = 0
"""The extension and its only type of name (RFC 6066 §3)."""


def _server_name(body: bytes) -> str | None:
    session, at = _vector(body, _SESSION_AT, 1)
    suites, at = _vector(body, at, 2)
    methods, at = _vector(body, at, 1)
    if len(session) > _LONGEST_SESSION or not suites or len(suites) % 2 or not methods:
        raise ValueError("a field of a wrong length")
    # A client of TLS 1.2 may send no extensions.
    extensions, at = _vector(body, at, 2) if at < len(body) else (b"", at)
    if at != len(body):
        raise ValueError("bytes after the extensions")
    names = []
    at = 0
    while at < len(extensions):
        kind = extensions[at : at + 2]
        extension, at = _vector(extensions, at + 2, 2)
        if kind == _SERVER_NAME:
            names.append(_host_name(extension))
    # Readers of several could take different ones. Together they are a name that is not published.
    return ", ".join(names) if names else None


def _host_name(extension: bytes) -> str:
    """Return the only name, of the only type that is defined. It is not published if not ASCII."""
    names, end = _vector(extension, 0, 2)
    name, last = _vector(names, 1, 2)
    if end != len(extension) or last != len(names) or names[0] != _HOST_NAME:
        raise ValueError("not one host name")
    return name.decode("ascii", "backslashreplace")


def _vector(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return a vector with a length of `size` bytes, and its end (RFC 8446 §3.4).

    ValueError if it is cut off.
    """
    start = at + size
    end = start + int.from_bytes(data[at:start])
    if len(data) < end:
        raise ValueError("a vector is cut off")
    return data[start:end], end
