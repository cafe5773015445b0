"""Issues the certificates and CRLs of the lab."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ORGANIZATION = "ibcm-bridge lab, not for production"
ROOT_CRL_URL = "http://pki.internet.example/root.crl"
ISSUING_CRL_URL = "http://pki.internet.example/issuing.crl"

type Period = tuple[datetime, datetime]
type Extension = tuple[x509.ExtensionType, bool]  # extension, critical

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
AGENT = (x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.1"),)
"""Microsoft's Certificate Request Agent, which requests certificates for others."""
_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")


@dataclass(frozen=True)
class LabCredential:
    """A certificate, its private key, and the intermediate certificates for the path."""

    certificate: x509.Certificate
    key: PrivateKey
    issuers: tuple[x509.Certificate, ...]

    def chain_pem(self) -> bytes:
        """Return the certificate, then its issuers, without the root."""
        return b"".join(pem(certificate) for certificate in (self.certificate, *self.issuers))

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, directory: Path, name: str) -> None:
        """Write `name`.key (mode 0600) and `name`.pem. FileExistsError."""
        key = directory / f"{name}.key"
        # Create it with its mode, so that others can never read the key.
        key.touch(mode=0o600, exist_ok=False)
        key.write_bytes(self.key_pem())
        write_new(directory / f"{name}.pem", self.chain_pem())

    @classmethod
    def read(cls, directory: Path, name: str) -> "LabCredential":
        """Read the files of `write`."""
        # The lab made the keys itself, and the check of an RSA key takes 50 ms.
        key = serialization.load_pem_private_key(
            (directory / f"{name}.key").read_bytes(), None, unsafe_skip_rsa_key_validation=True
        )
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        own, *issuers = x509.load_pem_x509_certificates((directory / f"{name}.pem").read_bytes())
        return cls(own, key, tuple(issuers))


@dataclass(frozen=True)
class Authority:
    """A certificate authority."""

    certificate: x509.Certificate
    key: PrivateKey

    def crl(
        self,
        serials: Iterable[int],
        number: int,
        this_update: datetime,
        next_update: datetime,
        *,
        removed: Iterable[int] = (),
        extensions: Iterable[Extension] = (),
    ) -> x509.CertificateRevocationList:
        """Create a CRL (RFC 5280 section 5). `removed` are entries removeFromCRL of a delta CRL."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(this_update)
            .next_update(next_update)
            .add_extension(_authority_key_id(self.key), critical=False)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for serial in serials:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder(serial, this_update).build()
            )
        for serial in removed:
            entry = x509.RevokedCertificateBuilder(serial, this_update)
            entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.remove_from_crl), False)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256())


def root_authority(common_name: str, now: datetime) -> Authority:
    """Create a self-signed authority."""
    key = ec_key()
    extensions = authority_extensions(path_length=1)
    return Authority(
        sign(key, distinguished_name(common_name), None, authority_period(now), extensions), key
    )


def issuing_authority(common_name: str, root: Authority, now: datetime) -> Authority:
    """Create an authority below the root that issues to clients and servers."""
    key = ec_key()
    extensions = [*authority_extensions(path_length=0), _crl_location(ROOT_CRL_URL)]
    return Authority(
        sign(key, distinguished_name(common_name), root, authority_period(now), extensions), key
    )


def computer_of(authority: LabCredential, dns_name: str, now: datetime) -> LabCredential:
    """Issue a computer certificate from an authority that was read from its files."""
    return computer(Authority(authority.certificate, authority.key), dns_name, current(now))


def user_of(authority: LabCredential, principal: str, now: datetime) -> LabCredential:
    """Issue a user certificate from an authority that was read from its files."""
    return user(Authority(authority.certificate, authority.key), principal, current(now))


def user(authority: Authority, principal: str, valid: Period) -> LabCredential:
    """Issue a client certificate that names a user."""
    names = [principal_name(principal)]
    return issue(authority, rsa_key(), principal, names, valid=valid, purposes=CLIENT)


def computer(
    authority: Authority | None,
    dns_name: str,
    valid: Period,
    purposes: Sequence[x509.ObjectIdentifier] = CLIENT,
) -> LabCredential:
    """Issue a computer certificate, by default for client authentication."""
    return issue(
        authority, rsa_key(), dns_name, [x509.DNSName(dns_name)], valid=valid, purposes=purposes
    )


def server(authority: Authority, names: Sequence[str], valid: Period) -> LabCredential:
    """Issue a server certificate with these names."""
    dns_names = [x509.DNSName(name) for name in dict.fromkeys(names)]
    return issue(authority, ec_key(), names[0], dns_names, valid=valid, purposes=SERVER)


def issue(
    authority: Authority | None,
    key: PrivateKey,
    common_name: str,
    names: Sequence[x509.GeneralName],
    *,
    valid: Period,
    purposes: Sequence[x509.ObjectIdentifier],
) -> LabCredential:
    """Issue an end-entity certificate; self-signed without authority."""
    extensions: list[Extension] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        # RFC 5480, 3 forbids keyEncipherment with EC keys.
        (_key_usage(digital_signature=True, encipher=isinstance(key, rsa.RSAPrivateKey)), True),
        (x509.SubjectAlternativeName(names), False),
        _crl_location(ISSUING_CRL_URL),
    ]
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    return LabCredential(
        sign(key, distinguished_name(common_name), authority, valid, extensions),
        key,
        (authority.certificate,) if authority else (),
    )


def sign(
    key: PrivateKey,
    subject: x509.Name,
    authority: Authority | None,
    valid: Period,
    extensions: Iterable[Extension],
) -> x509.Certificate:
    """Sign a certificate; self-signed without authority."""
    issuer = authority.certificate.subject if authority else subject
    signing_key = authority.key if authority else key
    return _signed(key.public_key(), subject, (issuer, signing_key), valid, extensions)


def enrolled(
    authority: Authority, request: x509.CertificateSigningRequest, valid: Period
) -> x509.Certificate:
    """Issue a client certificate with the key and the names of the request.

    ValueError for a key that is neither RSA nor EC.
    """
    key = request.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ValueError("the key is neither RSA nor EC")
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_key_usage(digital_signature=True, encipher=isinstance(key, rsa.RSAPublicKey)), True),
        _crl_location(ISSUING_CRL_URL),
        (x509.ExtendedKeyUsage(CLIENT), False),
    ]
    extensions += (
        (extension.value, extension.critical)
        for extension in request.extensions
        if extension.oid == x509.SubjectAlternativeName.oid
    )
    issuer = (authority.certificate.subject, authority.key)
    return _signed(key, request.subject, issuer, valid, extensions)


def _signed(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    subject: x509.Name,
    issuer: tuple[x509.Name, PrivateKey],
    valid: Period,
    extensions: Iterable[Extension],
) -> x509.Certificate:
    issuer_name, signing_key = issuer
    (not_before, not_after) = valid
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key_id(signing_key), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signing_key, hashes.SHA256())


def authority_extensions(*, path_length: int) -> list[Extension]:
    """Return the extensions of an authority (RFC 5280 sections 4.2.1.3 and 4.2.1.9)."""
    return [
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (_key_usage(sign_certificates=True), True),
    ]


def _key_usage(
    *, digital_signature: bool = False, encipher: bool = False, sign_certificates: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_id(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _crl_location(url: str) -> Extension:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return (x509.CRLDistributionPoints([point]), False)


def distinguished_name(common_name: str) -> x509.Name:
    """Return the name with the organization of the lab."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def principal_name(principal: str) -> x509.OtherName:
    """Return the user principal name for the subjectAltName, in the form of Windows."""
    text = principal.encode()
    if len(text) > 0x7F:
        raise ValueError(f"a user principal name must have at most 127 octets, not {len(text)}")
    # DER: a UTF8String with a length of one octet.
    return x509.OtherName(_PRINCIPAL_NAME, bytes([0x0C, len(text)]) + text)


# The validity of the lab's certificates is short. That of authorities includes all others.
def authority_period(now: datetime) -> Period:
    """Return the validity of an authority."""
    return (now - timedelta(days=90), now + timedelta(days=90))


def current(now: datetime) -> Period:
    """Return the validity of a current certificate."""
    return (now - timedelta(hours=1), now + timedelta(days=30))


def past(now: datetime) -> Period:
    """Return the validity of an expired certificate."""
    return (now - timedelta(days=60), now - timedelta(days=1))


def ec_key() -> ec.EllipticCurvePrivateKey:
    """Generate a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key() -> rsa.RSAPrivateKey:
    """Generate an RSA key of 2048 bits."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(item: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Encode as PEM."""
    return item.public_bytes(serialization.Encoding.PEM)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file. FileExistsError."""
    with path.open("xb") as file:
        file.write(content)
