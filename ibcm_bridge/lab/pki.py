"""The lab's public key infrastructure: random keys each time, worthless anywhere else.

    root -> issuing -> servers, the bridge, client computers, users
    foreign root -> foreign issuing -> client computers that look just as good, and an impostor

Each client that must be let in has twins that must not be: revoked, expired, made for another
purpose, self-signed, foreign. Every twin differs from the good one in that single respect.

Authorities, servers and the bridge have EC keys, which cost nothing to make. Clients have RSA
keys, made only when asked for: ConfigMgr clients sign their messages with them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

type PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

ORGANIZATION = "ibcm-bridge lab, not for production"
ROOT_CRL_URL = "http://pki.internet.example/root.crl"
ISSUING_CRL_URL = "http://pki.internet.example/issuing.crl"

README = """\
Keys and certificates of the ibcm-bridge lab, random and made for a demonstration.
The keys are worthless and nothing must trust these roots: delete this directory when done.
"""


@dataclass(frozen=True)
class Credential:
    """A certificate, its private key and the intermediates a peer needs to build the path."""

    certificate: x509.Certificate
    key: PrivateKey
    issuers: tuple[x509.Certificate, ...]

    def chain_pem(self) -> bytes:
        """The certificate first, then its issuers; the root is for the peer to have."""
        return b"".join(_pem(one) for one in (self.certificate, *self.issuers))

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def write(self, directory: Path, name: str) -> None:
        """Write `name`.key, which only its owner may read, and `name`.pem; replace neither."""
        key = directory / f"{name}.key"
        # Created with its mode, so the key is at no moment readable by others.
        key.touch(mode=0o600, exist_ok=False)
        key.write_bytes(self.key_pem())
        _write_new(directory / f"{name}.pem", self.chain_pem())

    @classmethod
    def read(cls, directory: Path, name: str) -> "Credential":
        """What `write` wrote."""
        key = serialization.load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
        own, *issuers = x509.load_pem_x509_certificates((directory / f"{name}.pem").read_bytes())
        return cls(own, key, tuple(issuers))


class LabPki:
    """Two authorities, what they issue, and what they have revoked."""

    root: x509.Certificate
    issuing: x509.Certificate
    foreign_root: x509.Certificate

    def __init__(
        self,
        *,
        now: datetime,
        root: "_Authority",
        issuing: "_Authority",
        foreign_root: "_Authority",
        foreign_issuing: "_Authority",
    ) -> None:
        self.root = root.certificate
        self.issuing = issuing.certificate
        self.foreign_root = foreign_root.certificate
        self._now = now
        self._root = root
        self._issuing = issuing
        self._foreign = foreign_issuing
        self._revoked: set[int] = set()
        self._crl_number = 0

    @classmethod
    def make(cls, *, now: datetime) -> "LabPki":
        if now.tzinfo is None:
            raise ValueError("now must be aware of its time zone, as datetime.now(UTC) is")
        root = _root_authority("Lab Root CA", now)
        foreign_root = _root_authority("Lab Foreign Root CA", now)
        return cls(
            now=now,
            root=root,
            issuing=_issuing_authority("Lab Issuing CA", root, now),
            foreign_root=foreign_root,
            foreign_issuing=_issuing_authority("Lab Foreign Issuing CA", foreign_root, now),
        )

    def server(self, common_name: str, *names: str) -> Credential:
        """A web server certificate, of a site system or the bridge, for all these names."""
        return _server(self._issuing, (common_name, *names), _current(self._now))

    def foreign_server(self, common_name: str, *names: str) -> Credential:
        """Good in every respect but one: its path ends at `foreign_root`."""
        return _server(self._foreign, (common_name, *names), _current(self._now))

    def bridge_client(self, common_name: str) -> Credential:
        """What the bridge itself shows to site systems."""
        names = [x509.DNSName(common_name)]
        return _issue(
            self._issuing,
            _ec_key(),
            common_name,
            names,
            valid=_current(self._now),
            purposes=_CLIENT,
        )

    def computer(self, dns_name: str) -> Credential:
        return _computer(self._issuing, dns_name, _current(self._now))

    def user(self, principal: str) -> Credential:
        """A good client certificate, but a person's: most publications want a computer's."""
        names = [_principal_name(principal)]
        return _issue(
            self._issuing, _rsa_key(), principal, names, valid=_current(self._now), purposes=_CLIENT
        )

    def revoked_computer(self, dns_name: str) -> Credential:
        credential = self.computer(dns_name)
        self.revoke(credential)
        return credential

    def expired_computer(self, dns_name: str) -> Credential:
        return _computer(self._issuing, dns_name, _past(self._now))

    def wrong_purpose(self, dns_name: str) -> Credential:
        return _computer(self._issuing, dns_name, _current(self._now), _SERVER)

    def without_purpose(self, dns_name: str) -> Credential:
        """No extKeyUsage at all, which OpenSSL takes for any purpose; the bridge must not."""
        return _computer(self._issuing, dns_name, _current(self._now), ())

    def self_signed(self, dns_name: str) -> Credential:
        return _computer(None, dns_name, _current(self._now))

    def foreign_computer(self, dns_name: str) -> Credential:
        """Good in every respect but one: its path ends at `foreign_root`."""
        return _computer(self._foreign, dns_name, _current(self._now))

    def revoke(self, credential: Credential) -> None:
        """Put the certificate on the issuing authority's CRL, from the next `crls()` on."""
        try:
            credential.certificate.verify_directly_issued_by(self.issuing)
        except (ValueError, TypeError, InvalidSignature) as error:
            # Its serial number on our CRL would say nothing about it, and could hit another's.
            raise ValueError(
                f"{credential.certificate.subject.rfc4514_string()} was not issued by this PKI"
            ) from error
        self._revoked.add(credential.certificate.serial_number)

    def crls(
        self, *, this_update: datetime | None = None, next_update: datetime | None = None
    ) -> tuple[x509.CertificateRevocationList, x509.CertificateRevocationList]:
        """The root's CRL and the issuing authority's; a lab that runs for long renews them."""
        this_update = this_update or self._now - timedelta(hours=1)
        next_update = next_update or self._now + timedelta(days=7)
        # RFC 5280, 5.2.3: a later CRL has the greater number.
        self._crl_number += 1
        return (
            self._root.crl((), self._crl_number, this_update, next_update),
            self._issuing.crl(sorted(self._revoked), self._crl_number, this_update, next_update),
        )

    def issuing_crl(
        self,
        serials: Iterable[int],
        number: int,
        *,
        base: int | None = None,
        removed: Iterable[int] = (),
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        scope: x509.IssuingDistributionPoint | None = None,
    ) -> x509.CertificateRevocationList:
        """A list of the issuing authority as a test wants it; `base`: a delta list for that one."""
        extensions: list[_Extension] = []
        if base is not None:
            extensions.append((x509.DeltaCRLIndicator(base), True))
        if scope is not None:
            extensions.append((scope, True))
        return self._issuing.crl(
            serials,
            number,
            this_update or self._now - timedelta(hours=1),
            next_update or self._now + timedelta(days=7),
            removed=removed,
            extensions=extensions,
        )

    def computer_with_key(self, dns_name: str, key: PrivateKey) -> Credential:
        """A computer with a key of the test's."""
        return _issue(
            self._issuing,
            key,
            dns_name,
            [x509.DNSName(dns_name)],
            valid=_current(self._now),
            purposes=_CLIENT,
        )

    def branch(self, dns_name: str) -> tuple[Credential, x509.CertificateRevocationList]:
        """A computer of another issuing authority below the same root, and that one's list."""
        authority = _issuing_authority("Lab Branch CA", self._root, self._now)
        period = (self._now - timedelta(hours=1), self._now + timedelta(days=7))
        crl = authority.crl((), 1, *period)
        return _computer(authority, dns_name, _current(self._now)), crl

    @property
    def authority(self) -> Credential:
        """The issuing authority itself: for `computer_of`, in another process."""
        return Credential(self._issuing.certificate, self._issuing.key, ())

    def write(self, directory: Path) -> None:
        """Write what the shipped configuration uses, into a new or empty directory only."""
        if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
            raise FileExistsError(
                f"{directory} exists and is not an empty directory; the lab overwrites nothing: "
                "name a new directory, or remove this one if an earlier lab made it"
            )
        # All keys are made before the first file is, so a failure there leaves nothing behind.
        servers = {name: make(self) for name, make in _SERVERS.items()}
        clients = {name: make(self) for name, make in _CLIENTS.items()}
        root_crl, issuing_crl = self.crls()

        client_directory = directory / "clients"
        client_directory.mkdir(parents=True)
        _write_new(directory / "README.txt", README.encode("ascii"))
        _write_new(directory / "root.pem", _pem(self.root))
        _write_new(directory / "issuing.pem", _pem(self.issuing))
        _write_new(directory / "root.crl", _pem(root_crl))
        _write_new(directory / "issuing.crl", _pem(issuing_crl))
        _write_new(client_directory / "foreign-root.pem", _pem(self.foreign_root))
        for name, credential in servers.items():
            credential.write(directory, name)
        for name, credential in clients.items():
            credential.write(client_directory, name)


type _Period = tuple[datetime, datetime]
type _Extension = tuple[x509.ExtensionType, bool]  # and whether it is critical

_CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
_SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")

# What `write` makes besides the authorities: file name, and who it is.
_SERVERS: dict[str, Callable[[LabPki], Credential]] = {
    "bridge-server": lambda pki: pki.server("bridge.internet.example"),
    "bridge-client": lambda pki: pki.bridge_client("bridge.perimeter.example"),
    "mp01": lambda pki: pki.server("mp01.corp.example", "mp-tunnel.internet.example"),
    "dp01": lambda pki: pki.server("dp01.corp.example", "dp-tunnel.internet.example"),
    "sup01": lambda pki: pki.server("sup01.corp.example"),
    "enroll01": lambda pki: pki.server("enroll01.corp.example", "enroll.internet.example"),
    "ndes01": lambda pki: pki.server("ndes01.corp.example", "ndes.internet.example"),
}
_CLIENTS: dict[str, Callable[[LabPki], Credential]] = {
    "computer": lambda pki: pki.computer("pc1.corp.example"),
    "user": lambda pki: pki.user("alice@corp.example"),
    "revoked": lambda pki: pki.revoked_computer("pc2.corp.example"),
    "expired": lambda pki: pki.expired_computer("pc3.corp.example"),
    "wrong-purpose": lambda pki: pki.wrong_purpose("pc4.corp.example"),
    "foreign": lambda pki: pki.foreign_computer("pc5.corp.example"),
}


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def crl(
        self,
        serials: Iterable[int],
        number: int,
        this_update: datetime,
        next_update: datetime,
        *,
        removed: Iterable[int] = (),
        extensions: Iterable[_Extension] = (),
    ) -> x509.CertificateRevocationList:
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


def _root_authority(common_name: str, now: datetime) -> _Authority:
    key = _ec_key()
    extensions = _authority_extensions(path_length=1)
    return _Authority(_sign(key, _name(common_name), None, _authority_period(now), extensions), key)


def _issuing_authority(common_name: str, root: _Authority, now: datetime) -> _Authority:
    key = _ec_key()
    extensions = [*_authority_extensions(path_length=0), _crl_location(ROOT_CRL_URL)]
    return _Authority(_sign(key, _name(common_name), root, _authority_period(now), extensions), key)


def computer_of(authority: Credential, dns_name: str, now: datetime) -> Credential:
    """A computer's certificate from an authority that was written down."""
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    return _computer(_Authority(authority.certificate, authority.key), dns_name, _current(now))


def _computer(
    authority: _Authority | None,
    dns_name: str,
    valid: _Period,
    purposes: Sequence[x509.ObjectIdentifier] = _CLIENT,
) -> Credential:
    return _issue(
        authority, _rsa_key(), dns_name, [x509.DNSName(dns_name)], valid=valid, purposes=purposes
    )


def _server(authority: _Authority, names: Sequence[str], valid: _Period) -> Credential:
    dns_names = [x509.DNSName(name) for name in dict.fromkeys(names)]
    return _issue(authority, _ec_key(), names[0], dns_names, valid=valid, purposes=_SERVER)


def _issue(
    authority: _Authority | None,
    key: PrivateKey,
    common_name: str,
    names: Sequence[x509.GeneralName],
    *,
    valid: _Period,
    purposes: Sequence[x509.ObjectIdentifier],
) -> Credential:
    """An end-entity certificate; self-signed if there is no authority."""
    extensions: list[_Extension] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        # keyEncipherment is for RSA keys: RFC 5480, 3 forbids it with EC ones.
        (_key_usage(digital_signature=True, encipher=isinstance(key, rsa.RSAPrivateKey)), True),
        (x509.SubjectAlternativeName(names), False),
        _crl_location(ISSUING_CRL_URL),
    ]
    if purposes:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    return Credential(
        _sign(key, _name(common_name), authority, valid, extensions),
        key,
        (authority.certificate,) if authority else (),
    )


def _sign(
    key: PrivateKey,
    subject: x509.Name,
    authority: _Authority | None,
    valid: _Period,
    extensions: Iterable[_Extension],
) -> x509.Certificate:
    signing_key = authority.key if authority else key
    (not_before, not_after) = valid
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_id(signing_key), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signing_key, hashes.SHA256())


def _authority_extensions(*, path_length: int) -> list[_Extension]:
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


def _crl_location(url: str) -> _Extension:
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    return (x509.CRLDistributionPoints([point]), False)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _principal_name(principal: str) -> x509.OtherName:
    text = principal.encode()
    if len(text) > 0x7F:
        raise ValueError(f"a user principal name here has at most 127 octets, not {len(text)}")
    # DER: a UTF8String with a length of one octet.
    return x509.OtherName(_PRINCIPAL_NAME, bytes([0x0C, len(text)]) + text)


# The certificates of a lab do not outlive it by much; expired ones lie within their issuers' time.
def _authority_period(now: datetime) -> _Period:
    return (now - timedelta(days=90), now + timedelta(days=90))


def _current(now: datetime) -> _Period:
    return (now - timedelta(hours=1), now + timedelta(days=30))


def _past(now: datetime) -> _Period:
    return (now - timedelta(days=60), now - timedelta(days=1))


def _ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(one: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    return one.public_bytes(serialization.Encoding.PEM)


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
