"""Certificates with parts that certificate builders refuse to make, signed again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.addons.tls.made_certificates import SHA_256, Made

SERIAL, ALGORITHM, ISSUER, VALIDITY, SUBJECT, KEY, EXTENSIONS = range(1, 8)
"""The parts of a TBSCertificate of version 3 (RFC 5280 §4.1)."""


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return a value in DER (X.690 §8.1, §10.1)."""
    content = b"".join(parts)
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def elements(content: bytes) -> Iterator[bytes]:
    """Yield the values in the content of a constructed value."""
    while content:
        size, start = content[1], 2
        if size >= 0x80:
            start += size & 0x7F
            size = int.from_bytes(content[2:start])
        yield content[: start + size]
        content = content[start + size :]


def content_of(value: bytes) -> bytes:
    """Return the content of a value."""
    return value[2 + (value[1] & 0x7F if value[1] >= 0x80 else 0) :]


def rewritten(made: Made, issuer: Made, changes: Mapping[int, bytes]) -> bytes:
    """Return a certificate in DER with other parts, signed by the issuer again."""
    parts = list(elements(content_of(made.certificate.tbs_certificate_bytes)))
    for part, value in changes.items():
        parts[part] = value
    signed = tlv(0x30, *parts)
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return tlv(0x30, signed, SHA_256, tlv(0x03, b"\0", signature))


def extensions_of(made: Made) -> list[bytes]:
    """Return the extensions of a certificate in DER."""
    parts = list(elements(content_of(made.certificate.tbs_certificate_bytes)))
    return list(elements(content_of(content_of(parts[EXTENSIONS]))))


def with_extensions(made: Made, issuer: Made, extensions: list[bytes]) -> bytes:
    """Return a certificate with these extensions, signed by the issuer again."""
    return rewritten(made, issuer, {EXTENSIONS: tlv(0xA3, tlv(0x30, *extensions))})
