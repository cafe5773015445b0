"""Signed messages with attributes of their own: CMS (RFC 5652), as far as SCEP needs it.

`cryptography` encrypts and decrypts, but signs no attributes that a caller chooses, and verifies
none; what is here puts a message together in DER, and takes it apart. Not every client sorts its
sets, so nobody here insists on that.
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
"""[0], whatever is in it (X.690 section 8.1.2)."""

_DATA = "1.2.840.113549.1.7.1"
_SIGNED_DATA = "1.2.840.113549.1.7.2"
_CONTENT_TYPE = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
_RSA = "1.2.840.113549.1.1.1"
_SHA_256 = "2.16.840.1.101.3.4.2.1"


class Element(NamedTuple):
    """Of DER: a tag of one octet, and what it holds."""

    tag: int
    content: bytes

    @property
    def der(self) -> bytes:
        """As it was, and as it is to be."""
        size = len(self.content)
        if size < 0x80:
            return bytes([self.tag, size]) + self.content
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        return bytes([self.tag, 0x80 | len(length)]) + length + self.content


def element(tag: int, *parts: bytes) -> bytes:
    """The DER of one that holds these."""
    return Element(tag, b"".join(parts)).der


def elements(data: bytes) -> Iterator[Element]:
    """What stands one after another. ValueError where it is not DER (X.690 section 10.1)."""
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
    """The DER of an object identifier (X.690 section 8.19)."""
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
    """A message whose signature is good; whether to believe the signer is another question."""

    content: bytes
    attributes: Mapping[bytes, Element]
    """Type, as DER, to its only value."""
    signer: x509.Certificate

    def attribute(self, dotted: str, tag: int) -> bytes:
        """What an attribute holds. ValueError where it is not there, or of another type."""
        value = self.attributes.get(object_identifier(dotted))
        if value is None or value.tag != tag:
            raise ValueError(f"no attribute {dotted}")
        return value.content


def read_signed(data: bytes) -> Signed:
    """A ContentInfo with a SignedData of one signer. ValueError where it is none, or not good."""
    content_type, signed_data = _parts(_only(data, SEQUENCE), OID, _CONTEXT_0)
    if content_type.der != object_identifier(_SIGNED_DATA):
        raise ValueError("not a SignedData")
    # RFC 5652 section 5.1: version, digest algorithms, content, certificates, lists, signers.
    parts = elements(_only(signed_data.content, SEQUENCE).content)
    _, _, encapsulated, *others, signers = parts
    # Nothing is signed where there is no content (RFC 8894 section 3.2.1).
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
    # Section 5.3: version, whose, digest algorithm, signed attributes, algorithm, signature.
    _, whose, algorithm, signed, _, signature, *_ = elements(signer_info.content)
    signer = next(
        (certificate for certificate in certificates if _named(certificate).der == whose.der), None
    )
    if signer is None:
        raise ValueError("without its signer's certificate")
    attributes = {}
    for attribute in elements(signed.content):
        kind, values = _parts(attribute, OID, SET)
        (attributes[kind.der],) = elements(values.content)
    message = Signed(content, attributes, signer)
    digest = _DIGESTS.get(next(elements(algorithm.content)).der)
    if digest is None or signed.tag != _CONTEXT_0:
        raise ValueError("another digest than of SHA-2, or nothing that is signed")
    # Section 5.4: the attributes are signed, and among them the digest of the content.
    if message.attribute(_MESSAGE_DIGEST, OCTETS) != _digest(content, digest()):
        raise ValueError("another content than what was signed")
    _verify(signer.public_key(), signature.content, element(SET, signed.content), digest())
    return message


def read_request(data: bytes) -> x509.CertificateSigningRequest:
    """A PKCS #10 request with a good signature (RFC 2986); `is_signature_valid` says nothing of it.

    ValueError where it is none, or its signature is not good.
    """
    info, algorithm, signature = _parts(_only(data, SEQUENCE), SEQUENCE, SEQUENCE, BITS)
    version, subject, key, attributes = _parts(info, INTEGER, SEQUENCE, SEQUENCE, _CONTEXT_0)
    # strongSwan does not sort them, and cryptography reads none that are not.
    in_order = sorted(element.der for element in elements(attributes.content))
    read = (version.der, subject.der, key.der, element(_CONTEXT_0, *in_order))
    request = x509.load_der_x509_csr(
        element(SEQUENCE, element(SEQUENCE, *read), algorithm.der, signature.der)
    )
    digest = request.signature_hash_algorithm
    if digest is None:
        raise ValueError("a signature of no digest")
    # Of a BIT STRING, the first octet says how many bits of the last are not used: none.
    _verify(request.public_key(), signature.content[1:], info.der, digest)
    return request


def _verify(key: object, signature: bytes, data: bytes, digest: hashes.HashAlgorithm) -> None:
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("signed with another key than of RSA")
    try:
        key.verify(signature, data, padding.PKCS1v15(), digest)
    except InvalidSignature as error:
        raise ValueError("the signature is not good") from error


def sign(
    content: bytes,
    attributes: Mapping[str, bytes],
    signer: x509.Certificate,
    key: rsa.RSAPrivateKey,
) -> bytes:
    """A ContentInfo with a SignedData; `attributes`: dotted type to the DER of its value."""
    all_of_them = {
        _CONTENT_TYPE: object_identifier(_DATA),
        _MESSAGE_DIGEST: element(OCTETS, _digest(content, hashes.SHA256())),
        **attributes,
    }
    # X.690 section 11.6: a SET OF is sorted.
    signed = b"".join(
        sorted(
            element(SEQUENCE, object_identifier(kind), element(SET, value))
            for kind, value in all_of_them.items()
        )
    )
    signature = key.sign(element(SET, signed), padding.PKCS1v15(), hashes.SHA256())
    sha_256 = element(SEQUENCE, object_identifier(_SHA_256))
    signer_info = element(
        SEQUENCE,
        element(INTEGER, b"\x01"),
        _named(signer).der,
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


def _named(certificate: x509.Certificate) -> Element:
    """Section 10.2.4: a certificate by its issuer and number."""
    number = certificate.serial_number
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    return Element(SEQUENCE, certificate.issuer.public_bytes() + element(INTEGER, octets))


def _digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()


def _only(data: bytes, tag: int) -> Element:
    """The only element there is."""
    (found,) = elements(data)
    if found.tag != tag:
        raise ValueError("another element than what belongs there")
    return found


def _parts(one: Element, *tags: int) -> list[Element]:
    """The elements in one, by their tags."""
    parts = list(elements(one.content))
    if tuple(part.tag for part in parts) != tags:
        raise ValueError("other elements than what belongs there")
    return parts
