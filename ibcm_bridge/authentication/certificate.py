"""The content of a certificate, as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

_SECURITY_IDENTIFIER = re.compile(
    r"tag:microsoft\.com,2022-09-14:sid:S-1(-[0-9]{1,20}){1,16}", re.IGNORECASE
)
"""The URI that maps a certificate to the account of a computer or user (KB5014754)."""

_USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
"""Microsoft's szOID_NT_PRINCIPAL_NAME ([MS-WCCE])."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """The content of a certificate, verified or not. For the audit and for `authenticate`."""

    subject: str
    issuer: str
    serial: str
    sha256: str
    not_after: str
    purposes: frozenset[str] | None
    """Dotted extKeyUsage OIDs; None when the extension is absent."""
    dns_names: tuple[str, ...]
    principal_names: tuple[str, ...]
    """User principal names (Microsoft's otherName in the subjectAltName)."""
    common_name: str | None
    """None if the subjectAltName names the subject (RFC 9525 §2). A subjectAltName with only
    principal names of computers, security identifiers (KB5014754) and IP addresses does not:
    Windows authorities and Intune then put the name into the subject."""
    public_key: bytes = field(repr=False)
    """SubjectPublicKeyInfo, DER."""

    @property
    def key_sha256(self) -> str:
        """Hexadecimal SHA-256 of the key; a renewed certificate with the same key has the same."""
        return _hexadecimal_sha256(self.public_key)


# Each request asks for it.
@lru_cache(maxsize=4_096)
def _hexadecimal_sha256(public_key: bytes) -> str:
    return sha256(public_key).hexdigest()


def extension_of[T: x509.ExtensionType](
    holder: x509.Certificate | x509.CertificateRevocationList, kind: type[T]
) -> T | None:
    """Return the value of an extension, or None if a certificate or a list does not have it.

    It compares the OIDs: `get_extension_for_class` compares the classes, which are slow to compare.
    """
    for found in holder.extensions:
        if found.oid == kind.oid:
            assert isinstance(found.value, kind)
            return found.value
    return None


def certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    """Parse a certificate. ValueError if any part of it cannot be parsed."""
    try:
        return _certificate_facts(certificate)
    except (
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        UnsupportedAlgorithm,
    ) as error:
        raise ValueError(str(error)) from error


def _certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    usage = extension_of(certificate, x509.ExtendedKeyUsage)
    names = extension_of(certificate, x509.SubjectAlternativeName)
    dns_names: tuple[str, ...] = ()
    principal_names: tuple[str, ...] = ()
    named_by_subject = True
    if names is not None:
        dns_names = tuple(names.get_values_for_type(x509.DNSName))
        principal_names = tuple(_principal_names(names))
        named_by_subject = len(tuple(names)) > 0 and all(map(_leaves_name_to_subject, names))
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string()[:512],
        issuer=certificate.issuer.rfc4514_string()[:512],
        serial=_hexadecimal(certificate.serial_number),
        sha256=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        not_after=certificate.not_valid_after_utc.isoformat(),
        purposes=None if usage is None else frozenset(oid.dotted_string for oid in usage),
        dns_names=dns_names,
        principal_names=principal_names,
        common_name=str(common_names[0].value) if common_names and named_by_subject else None,
        public_key=certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ),
    )


def _principal_names(names: x509.SubjectAlternativeName) -> Iterator[str]:
    for other in names.get_values_for_type(x509.OtherName):
        if other.type_id == _USER_PRINCIPAL_NAME:
            yield asn1.decode_der(str, other.value)


def _leaves_name_to_subject(name: x509.GeneralName) -> bool:
    """Return whether the common name is still the name, beside this name in a subjectAltName.

    It is not beside a name that can be a person's: a user's certificate has a principal name or a
    mail address there, and its common name can look like that of a computer.
    """
    if isinstance(name, x509.OtherName):
        return name.type_id == _USER_PRINCIPAL_NAME and is_computer_account(
            asn1.decode_der(str, name.value)
        )
    if isinstance(name, x509.UniformResourceIdentifier):
        return _SECURITY_IDENTIFIER.fullmatch(name.value) is not None
    return isinstance(name, x509.IPAddress)


def _hexadecimal(number: int) -> str:
    """A serial number in whole bytes, as openssl and Windows display it."""
    digits = f"{number:x}"
    return digits.zfill(len(digits) + len(digits) % 2)


def is_computer_account(principal_name: str) -> bool:
    """Return whether a principal name is a computer's: the part before the @ ends in "$"."""
    return principal_name.partition("@")[0].endswith("$")
