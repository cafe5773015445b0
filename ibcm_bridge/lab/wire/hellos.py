"""The parts of ClientHello and ServerHello (RFC 8446 §4.1, RFC 5246 §7.4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ibcm_bridge.lab.wire.part import Cursor, Part, number

VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43

_EXTENSIONS = {
    _SERVER_NAME: ("server_name", ""),
    5: ("status_request", "asks for the revocation status of the server certificate"),
    10: ("supported_groups", "the groups for the key exchange"),
    11: ("ec_point_formats", "the formats of points on elliptic curves"),
    13: ("signature_algorithms", "the signatures that the client can verify"),
    _ALPN: ("application_layer_protocol_negotiation", "the protocol inside of TLS"),
    21: ("padding", "makes the message longer, for some old middleboxes"),
    22: ("encrypt_then_mac", "for TLS 1.2"),
    23: ("extended_master_secret", "for TLS 1.2"),
    35: ("session_ticket", "for resumption with TLS 1.2"),
    41: ("pre_shared_key", "resumes an earlier session"),
    _SUPPORTED_VERSIONS: ("supported_versions", "the versions of TLS"),
    45: ("psk_key_exchange_modes", "for resumption with TLS 1.3"),
    49: ("post_handshake_auth", "the server can ask for a certificate later"),
    51: ("key_share", "the public keys of the key exchange"),
    0xFF01: ("renegotiation_info", "protects a renegotiation with TLS 1.2"),
}


def client_hello(cursor: Cursor) -> Iterator[Part]:
    """Yield the parts after the handshake header. ValueError if it is malformed."""
    yield Part(
        "Version", cursor.take(2), "TLS 1.2", "an old field; the versions are in supported_versions"
    )
    yield Part("Random", cursor.take(32), words="32 random bytes of the client")
    yield _vector(cursor, 1, "Session id", "random with TLS 1.3")
    suites = _vector(cursor, 2, "Cipher suites", "the ciphers that the client supports")
    yield Part(suites.name, suites.data, f"{(len(suites.data) - 2) // 2} suites", suites.words)
    yield _vector(cursor, 1, "Compression methods", "none: TLS does not compress")
    yield from _extensions(cursor)


def server_hello(cursor: Cursor) -> Iterator[Part]:
    """Yield the parts after the handshake header. ValueError if it is malformed."""
    yield Part(
        "Version", cursor.take(2), "TLS 1.2", "TLS 1.3 has its version in supported_versions"
    )
    yield Part("Random", cursor.take(32), words="32 random bytes of the server")
    yield _vector(cursor, 1, "Session id", "with TLS 1.3 that of the client")
    yield Part("Cipher suite", cursor.take(2), words="the cipher that the server chose")
    yield Part("Compression method", cursor.take(1), "none")
    if cursor.left:
        yield from _extensions(cursor)


def _extensions(cursor: Cursor) -> Iterator[Part]:
    yield Part("Extensions", cursor.take(2), words="their length")
    while cursor.left:
        head = cursor.take(4)
        kind, content = number(head[:2]), cursor.take(number(head[2:]))
        name, words = _EXTENSIONS.get(kind, (f"number {kind}", ""))
        if kind == _SERVER_NAME and len(content) > _NAME_AT:
            yield Part(f"Extension {name}", head + content[:_NAME_AT], words="type and lengths")
            yield Part("Server name", content[_NAME_AT:], _text(content[_NAME_AT:]), _SNI, True)
        else:
            read = _VALUES.get(kind)
            value = read(content) if read else ""
            yield Part(f"Extension {name}", head + content, value, words)


_NAME_AT = 5
"""After the length of the list, the type of the name, and its length (RFC 6066 §3)."""

_SNI = "readable for everybody on the path; the tunnel selects the site system by it"


def _vector(cursor: Cursor, size: int, name: str, words: str) -> Part:
    """Return a field with its length before it."""
    length = cursor.take(size)
    return Part(name, length + cursor.take(number(length)), words=words)


def _versions(content: bytes) -> str:
    # In a ClientHello the list has a length before it.
    listed = content[len(content) % 2 :]
    pairs = [listed[begin : begin + 2] for begin in range(0, len(listed), 2)]
    return ", ".join(VERSIONS.get(number(pair), pair.hex()) for pair in pairs)


def _protocols(content: bytes) -> str:
    names, at = [], 2
    while at < len(content):
        names.append(_text(content[at + 1 : at + 1 + content[at]]))
        at += 1 + content[at]
    return ", ".join(names)


_VALUES: dict[int, Callable[[bytes], str]] = {_SUPPORTED_VERSIONS: _versions, _ALPN: _protocols}


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace")
