"""The facts of a valid certificate, and certificates with given names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.roles import CertificatePolicy

CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"

PLAIN = CertificateFacts(
    subject="CN=pc1.corp.example",
    issuer="CN=Issuing",
    serial="1f",
    sha256="00" * 32,
    not_after="2027-01-01T00:00:00+00:00",
    purposes=frozenset((CLIENT_AUTH,)),
    dns_names=("pc1.corp.example",),
    principal_names=(),
    common_name=None,
    public_key=b"a key",
)

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def certificate(
    subject: list[tuple[x509.ObjectIdentifier, str]], *extensions: x509.ExtensionType
) -> x509.Certificate:
    """A self-signed certificate: OpenSSL verifies paths, so no path is needed here."""
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(0x1F)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256())


def reason(result: AuthenticatedClient | Deny) -> Reason:
    assert isinstance(result, Deny), result
    return result.reason


CLIENT_PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
COMPUTER, USER = "computer", "user"


def at(publication: BridgePublication, policy: str) -> BridgePublication:
    return replace(publication, certificate_policy=CertificatePolicy(policy))


def named(
    *principals: str, dns: tuple[str, ...] = (), common_name: str | None = None
) -> CertificateFacts:
    return replace(PLAIN, dns_names=dns, principal_names=principals, common_name=common_name)


def principal(value: bytes, oid: str = "1.3.6.1.4.1.311.20.2.3") -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(oid), value)


def with_names(*names: x509.GeneralName) -> x509.Certificate:
    return certificate([], CLIENT_PURPOSE, x509.SubjectAlternativeName(names))
