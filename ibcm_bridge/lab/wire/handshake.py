"""The parts of a handshake record that is not encrypted (RFC 8446 §4, RFC 5246 §7.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from ibcm_bridge.lab.wire.hellos import client_hello, server_hello
from ibcm_bridge.lab.wire.part import Cursor, Part, number, size_text

_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE = 1, 2, 11

_NAMES = {
    0: "HelloRequest",
    _CLIENT_HELLO: "ClientHello",
    _SERVER_HELLO: "ServerHello",
    4: "NewSessionTicket",
    _CERTIFICATE: "Certificate",
    12: "ServerKeyExchange",
    13: "CertificateRequest",
    14: "ServerHelloDone",
    15: "CertificateVerify",
    16: "ClientKeyExchange",
    22: "CertificateStatus",
}

_WORDS = {
    4: "a ticket for resumption",
    12: "the server's public key of the key exchange, signed",
    13: "asks for a client certificate, and lists the certification authorities",
    14: "the server waits for the client",
    15: "a signature with the key of the client certificate",
    16: "the client's public key of the key exchange",
}


@dataclass(frozen=True)
class Message:
    """A handshake message, or the rest of a record that cannot be read."""

    name: str
    parts: tuple[Part, ...]


def read_messages(data: bytes, *, from_client: bool) -> Iterator[Message]:
    """Yield the messages of a record."""
    cursor = Cursor(data)
    while cursor.left:
        begin = len(data) - cursor.left
        try:
            head = cursor.take(4)
            body = cursor.take(number(head[1:]))
        except ValueError:
            yield Message("Part of a handshake message", (Part("Fragment", data[begin:]),))
            return
        kind = head[0]
        name = _NAMES.get(kind, f"handshake message {kind}")
        if kind == _CERTIFICATE:
            name += " of the client" if from_client else " of the server"
        header = Part(
            "Handshake header", head, f"{name}, {size_text(len(body))}", "type and length"
        )
        yield Message(name, (header, *_body(kind, body)))


def _body(kind: int, body: bytes) -> list[Part]:
    read = _READERS.get(kind)
    if read is None:
        return [Part("Content", body, words=_WORDS.get(kind, ""))] if body else []
    try:
        return list(read(Cursor(body)))
    except ValueError:
        return [Part("Malformed content", body)]


def _certificates(cursor: Cursor) -> Iterator[Part]:
    """Yield the parts of a Certificate message of TLS 1.2; with TLS 1.3 it is encrypted."""
    total = cursor.take(3)
    if not cursor.left:
        yield Part("Length of the list", total, "no certificate")
        return
    yield Part("Length of the list", total)
    length = cursor.take(3)
    yield Part("Length of the certificate", length)
    yield from _certificate(cursor.take(number(length)))
    if cursor.left:
        yield Part("More certificates", cursor.rest(), words="those of the authorities")


def _certificate(der: bytes) -> Iterator[Part]:
    """Yield the parts of a certificate, split at its common name."""
    try:
        subject = x509.load_der_x509_certificate(der).subject
    except (
        ValueError,
        KeyError,
        x509.InvalidVersion,
    ):  # what cryptography raises for a damaged one
        yield Part("Malformed certificate", der)
        return
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value).encode() if names else b""
    # The issuer has the same form, and is before the subject.
    encoded = subject.public_bytes()
    begin = der.find(encoded) + encoded.find(name)
    end = begin + len(name)
    if not name or der[begin:end] != name:
        yield Part("Certificate", der)
        return
    yield Part("Certificate, first part", der[:begin], words="serial number, issuer, validity")
    yield Part("Name in the certificate", der[begin:end], name.decode(), _NAME, True)
    yield Part("Certificate, last part", der[end:], words="public key, extensions, signature")


_NAME = "readable for everybody on the path: TLS 1.2 does not encrypt certificates"

_READERS: dict[int, Callable[[Cursor], Iterator[Part]]] = {
    _CLIENT_HELLO: client_hello,
    _SERVER_HELLO: server_hello,
    _CERTIFICATE: _certificates,
}
