"""Who the client is: from a verified certification path to an `AuthenticatedClient`.

OpenSSL builds and verifies the path during the handshake (RFC 5280 §6: signatures, validity,
basic constraints, revocation of every certificate in it). This room judges what OpenSSL does not:
that the end-entity certificate says it is for client authentication at all, and that it names
what the publication authenticates (BRIDGE-AUTH-COMPUTER). `authenticate` is the only maker of
`AuthenticatedClient`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.policy import BridgePublication
from ibcm_bridge.roles import CertificatePolicy

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*")
"""A DNS name or a NetBIOS computer name; no spaces, so no person's name."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself, verified or not. For the audit and for `authenticate`."""

    subject: str
    issuer: str
    serial: str
    sha256: str
    not_after: str
    purposes: frozenset[str] | None
    """Dotted extKeyUsage OIDs; None when the extension is absent."""
    dns_names: tuple[str, ...]
    common_name: str | None
    """None where there is a subjectAltName: that is then what names the subject (RFC 9525 §2)."""


@dataclass(frozen=True, slots=True)
class AuthenticatedClient:
    """A client whose certificate was verified in the handshake and accepted for a publication."""

    publication: str
    certificate: CertificateFacts
    computer: str
    """The computer's name: the first DNS name, else the common name (protocol.md §9.2)."""


def certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    """Read a certificate. ValueError where it cannot be read in full."""
    try:
        return _certificate_facts(certificate)
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from error


def _certificate_facts(certificate: x509.Certificate) -> CertificateFacts:
    extensions = certificate.extensions
    try:
        purposes = frozenset(
            oid.dotted_string
            for oid in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        )
    except x509.ExtensionNotFound:
        purposes = None
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns_names = tuple(names.get_values_for_type(x509.DNSName))
        # A user's certificate has a principal name there, and a CN that can look like a computer's.
        common_names = []
    except x509.ExtensionNotFound:
        dns_names = ()
        common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CertificateFacts(
        subject=certificate.subject.rfc4514_string()[:512],
        issuer=certificate.issuer.rfc4514_string()[:512],
        serial=_hexadecimal(certificate.serial_number),
        sha256=certificate.fingerprint(SHA256()).hex(),
        not_after=certificate.not_valid_after_utc.isoformat(),
        purposes=purposes,
        dns_names=dns_names,
        common_name=str(common_names[0].value) if common_names else None,
    )


def _hexadecimal(number: int) -> str:
    """As openssl and Windows show a serial number: whole bytes."""
    digits = f"{number:x}"
    return digits.zfill(len(digits) + len(digits) % 2)


def authenticate(
    publication: BridgePublication, certificate: CertificateFacts
) -> AuthenticatedClient | Deny:
    """Accept the end-entity certificate of a path that OpenSSL has verified, or refuse it."""
    # OpenSSL refuses an extKeyUsage without clientAuth but accepts none at all; the page demands
    # certificates made for client authentication (protocol.md §9.2, RFC 5280 §4.2.1.12).
    client_auth = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string
    if certificate.purposes is None or client_auth not in certificate.purposes:
        return Deny(
            Reason.CERTIFICATE_PURPOSE,
            f"{publication.name}.clients",
            "extKeyUsage does not have id-kp-clientAuth",
        )
    return _NAMED[publication.certificate_policy](publication, certificate)


def _computer(
    publication: BridgePublication, certificate: CertificateFacts
) -> AuthenticatedClient | Deny:
    # protocol.md §9.2: a unique name in Subject CN or SAN; only the first SAN value is used.
    name = certificate.dns_names[0] if certificate.dns_names else certificate.common_name
    if not name or not _HOST_NAME.fullmatch(name):
        return Deny(
            Reason.CERTIFICATE_NAME, f"{publication.name}.clients", "no computer name in it"
        )
    return AuthenticatedClient(publication.name, certificate, name.lower())


_NAMED = {CertificatePolicy.COMPUTER: _computer}
