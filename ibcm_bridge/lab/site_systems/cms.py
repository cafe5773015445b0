"""CMS SignedData with custom attributes (RFC 5652), as far as SCEP needs it.

`cryptography` encrypts and decrypts CMS, but does not sign or verify custom attributes. This module
writes and reads the DER. It accepts unsorted sets, because some clients do not sort them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

INTEGER, BITS, OCTETS, NULL, OID, PRINTABLE = 0x02, 0x03, 0x04, 0x05, 0x06, 0x13
SEQUENCE, SET = 0x30, 0x31
_CONTEXT_0 = 0xA0
"""[0], constructed (X.690 section 8.1.2)."""

_DATA = "1.2.840.113549.1.7.1"
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_RSA = "1.2.840.113549.1.1.1"
_SHA_256 = "2.16.840.1.101.3.4.2.1"


class Element(NamedTuple):
    """A DER element: a tag of one octet, and the content."""

    tag: int
    content: bytes

    @property
    def der(self) -> bytes:
        """The encoding of the element."""
        size = len(self.content)
        if size < 0x80:
            return bytes([self.tag, size]) + self.content
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([self.tag, 0x80 | len(length)]) + length + self.content


def element(tag: int, *parts: bytes) -> bytes:
    """Encode an element with these parts."""
    return Element(tag, b"".join(parts)).der


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements in `data`. ValueError if it is not DER (X.690 section 10.1)."""
    at = 0
    while at < len(data):
        if len(data) < at + 2:
            raise ValueError("an element without a length")
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= 0x80:
            octets, size = size & 0x7F, int.from_bytes(data[at : at + (size & 0x7F)], "big")
            at += octets
            if size < 0x80 or size >> 8 * (octets - 1) == 0:
                raise ValueError("a length that is not the shortest")
        content = data[at : at + size]
        if len(content) != size:
            raise ValueError("an element that is cut off")
        at += size
        yield Element(tag, content)


def object_identifier(dotted: str) -> bytes:
    """Encode an object identifier (X.690 section 8.19)."""
    first, second, *others = map(int, dotted.split("."))
    return element(OID, b"".join(map(_base_128, (40 * first + second, *others))))


def _base_128(number: int) -> bytes:
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.insert(0, 0x80 | number & 0x7F)
    return bytes(octets)


_DIGESTS: dict[bytes, type[hashes.HashAlgorithm]] = {
    object_identifier(_SHA_256): hashes.SHA256,
    object_identifier("2.16.840.1.101.3.4.2.2"): hashes.SHA384,
    object_identifier("2.16.840.1.101.3.4.2.3"): hashes.SHA512,
}


@dataclass(frozen=True)
class Signed:
    """A message with a valid signature. The caller must decide whether to trust the signer."""

    content: bytes
    attributes: Mapping[bytes, Element]
    """DER of the type -> its only value."""
    signer: x509.Certificate

    def attribute(self, dotted: str, tag: int) -> bytes:
        """Return the content of an attribute. ValueError if it is missing or has another type."""
        value = self.attributes.get(object_identifier(dotted))
        if value is None or value.tag != tag:
            raise ValueError(f"no attribute {dotted}")
        return value.content


def read_signed(data: bytes) -> Signed:
    """Read a ContentInfo with a SignedData of one signer. ValueError if it is not valid."""
    content_type, signed_data = _parts(_only(data, SEQUENCE), OID, _CONTEXT_0)
    if content_type.der != object_identifier(_SIGNED_DATA):
        raise ValueError("not a SignedData")
    # RFC 5652 section 5.1: version, digest algorithms, content, certificates, lists, signers.
    parts = elements(_only(signed_data.content, SEQUENCE).content)
    _, _, encapsulated, *others, signers = parts
    # The content can be missing (RFC 8894 section 3.2.1).
    _, *contents = elements(encapsulated.content)
    content = b"".join(_only(part.content, OCTETS).content for part in contents)
    certificates = [
        x509.load_der_x509_certificate(element.der)
        for part in others
        if part.tag == _CONTEXT_0
        for element in elements(part.content)
    ]
    return _verified(content, certificates, _only(signers.content, SEQUENCE))


def _verified(
    content: bytes, certificates: Sequence[x509.Certificate], signer_info: Element
) -> Signed:
    # Section 5.3: version, signer id, digest algorithm, signed attributes, algorithm, signature.
    _, signer_id, algorithm, signed, _, signature, *_ = elements(signer_info.content)
    signer = next(
        (certificate for certificate in certificates if _id(certificate).der == signer_id.der), None
    )
    if signer is None:
        raise ValueError("the certificate of the signer is missing")
    attributes = {}
    for attribute in elements(signed.content):
        kind, values = _parts(attribute, OID, SET)
        (attributes[kind.der],) = elements(values.content)
    message = Signed(content, attributes, signer)
    digest = _DIGESTS.get(next(elements(algorithm.content)).der)
    if digest is None or signed.tag != _CONTEXT_0:
        raise ValueError("the digest is not SHA-2, or there are no signed attributes")
    # Section 5.4: the signature covers the attributes, and one of them is the content's digest.
    if message.attribute(_MESSAGE_DIGEST, OCTETS) != _digest(content, digest()):
        raise ValueError("the digest does not match the content")
    _verify(signer.public_key(), signature.content, element(SET, signed.content), digest())
    return message


def read_request(data: bytes) -> x509.CertificateSigningRequest:
    """Read a PKCS #10 request (RFC 2986), and verify its signature.

    ValueError if it is not valid. The result's `is_signature_valid` is not reliable.
    """
    info, algorithm, signature = _parts(_only(data, SEQUENCE), SEQUENCE, SEQUENCE, BITS)
    version, subject, key, attributes = _parts(info, INTEGER, SEQUENCE, SEQUENCE, _CONTEXT_0)
    # strongSwan does not sort the attributes, but cryptography requires it.
    in_order = sorted(element.der for element in elements(attributes.content))
    read = (version.der, subject.der, key.der, element(_CONTEXT_0, *in_order))
    request = x509.load_der_x509_csr(
        element(SEQUENCE, element(SEQUENCE, *read), algorithm.der, signature.der)
    )
    digest = request.signature_hash_algorithm
    if digest is None:
        raise ValueError("the signature has no digest")
    # The first octet of a BIT STRING is the number of unused bits: 0.
    _verify(request.public_key(), signature.content[1:], info.der, digest)
    return request


def _verify(key: object, signature: bytes, data: bytes, digest: hashes.HashAlgorithm) -> None:
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the key is not RSA")
    try:
        key.verify(signature, data, padding.PKCS1v15(), digest)
    except InvalidSignature as error:
        raise ValueError("the signature is not valid") from error


def sign(
    content: bytes,
    attributes: Mapping[str, bytes],
    signer: x509.Certificate,
    key: rsa.RSAPrivateKey,
) -> bytes:
    """Return a ContentInfo with a SignedData; `attributes`: dotted type -> DER of the value."""
    all_attributes = {
        _CONTENT_TYPE: object_identifier(_DATA),
        _MESSAGE_DIGEST: element(OCTETS, _digest(content, hashes.SHA256())),
        **attributes,
    }
    # X.690 section 11.6: a SET OF is sorted.
    signed = b"".join(
        sorted(
            element(SEQUENCE, object_identifier(kind), element(SET, value))
            for kind, value in all_attributes.items()
        )
    )
    signature = key.sign(element(SET, signed), padding.PKCS1v15(), hashes.SHA256())
    sha_256 = element(SEQUENCE, object_identifier(_SHA_256))
    signer_info = element(
        SEQUENCE,
        element(INTEGER, b"\x01"),
        _id(signer).der,
        sha_256,
        element(_CONTEXT_0, signed),
        element(SEQUENCE, object_identifier(_RSA), element(NULL)),
        element(OCTETS, signature),
    )
    wrapped = element(_CONTEXT_0, element(OCTETS, content)) if content else b""
    signed_data = element(
        SEQUENCE,
        element(INTEGER, b"\x01"),
        element(SET, sha_256),
        element(SEQUENCE, object_identifier(_DATA), wrapped),
        element(_CONTEXT_0, signer.public_bytes(Encoding.DER)),
        element(SET, signer_info),
    )
    return element(SEQUENCE, object_identifier(_SIGNED_DATA), element(_CONTEXT_0, signed_data))


def _id(certificate: x509.Certificate) -> Element:
    """Section 10.2.4: issuer and serial number of a certificate."""
    number = certificate.serial_number
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return Element(SEQUENCE, certificate.issuer.public_bytes() + element(INTEGER, octets))


def _digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _only(data: bytes, tag: int) -> Element:
    """Return the only element. ValueError if the tag differs."""
    (found,) = elements(data)
    if found.tag != tag:
        raise ValueError("unexpected element")
    return found


def _parts(parent: Element, *tags: int) -> list[Element]:
    """Return the elements in `parent`. ValueError if the tags differ."""
    parts = list(elements(parent.content))
    if tuple(part.tag for part in parts) != tags:
        raise ValueError("unexpected elements")
    return parts
