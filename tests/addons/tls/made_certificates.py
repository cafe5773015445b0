"""Makes certificates for tests, including malformed ones, and their authorities."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ibcm_bridge.lab.pki.certificates import PrivateKey

NAME = "pc1.corp.example"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
BEGINS, ENDS = NOW - datetime.timedelta(days=1), NOW + datetime.timedelta(days=30)
SID = "S-1-5-21-1111111111-2222222222-3333333333-1234"
VERSION_1, VERSION_2, VERSION_3 = b"", bytes.fromhex("a003020101"), bytes.fromhex("a003020102")

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)

type Extensions = Mapping[type[x509.ExtensionType] | str, tuple[x509.ExtensionType, bool] | None]
"""By kind: the extension and whether it is critical; None leaves that kind out."""


def usage(*bits: str) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in bits for name in names.split()})


def raw(oid: str, value: str) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))


@dataclass(frozen=True)
class Made:
    """A certificate, its key, and how it signs."""

    certificate: x509.Certificate
    key: PrivateKey
    pss: bool = False


def make(
    common_name: str | None,
    issuer: Made | None,
    extensions: Extensions,
    *,
    key: PrivateKey = EC,
    pss: bool = False,
    valid: tuple[datetime.datetime, datetime] = (BEGINS, ENDS),
) -> Made:
    by = issuer or Made(None, key, pss)  # type: ignore[arg-type]
    attributes = [] if common_name is None else [(NameOID.COMMON_NAME, common_name)]
    subject = x509.Name([x509.NameAttribute(*attribute) for attribute in attributes])
    public = by.key.public_key()
    base: Extensions = {
        x509.AuthorityKeyIdentifier: (
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False) if issuer else None
        ),
        x509.SubjectKeyIdentifier: (
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            False,
        ),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
    for value in {**base, **extensions}.values():
        if value is not None:
            builder = builder.add_extension(*value)
    made = builder.sign(by.key, hashes.SHA256(), rsa_padding=PSS if by.pss else None)
    return Made(made, key, pss)


def authority(
    common_name: str | None,
    issuer: Made | None = None,
    changes: Extensions | None = None,
    **more: object,
) -> Made:
    extensions: Extensions = {
        x509.BasicConstraints: (x509.BasicConstraints(True, None), True),
        x509.KeyUsage: (usage("digital_signature", "key_cert_sign", "crl_sign"), False),
        **(changes or {}),
    }
    return make(common_name, issuer, extensions, **more)  # type: ignore[arg-type]


def computer(
    issuer: Made,
    changes: Extensions | None = None,
    common_name: str | None = NAME,
    **more: object,
) -> Made:
    extensions: Extensions = {
        x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False),
        x509.KeyUsage: (usage("digital_signature", "key_encipherment"), True),
        **(changes or {}),
    }
    return make(common_name, issuer, extensions, **more)  # type: ignore[arg-type]


def names(*values: x509.GeneralName, critical: bool = False) -> Extensions:
    return {x509.SubjectAlternativeName: (x509.SubjectAlternativeName(values), critical)}


DNS = names(x509.DNSName(NAME))


def principal(text: str, tag: int = 0x0C) -> x509.OtherName:
    value = text.encode()
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
    return x509.OtherName(oid, bytes([tag, len(value)]) + value)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def sequence(*parts: bytes) -> bytes:
    """DER, as long as it has 256 bytes or more."""
    content = b"".join(parts)
    return b"\x30\x82" + len(content).to_bytes(2) + content


SHA_256, SHA_384 = (bytes.fromhex(f"300a06082a8648ce3d0403{last}") for last in ("02", "03"))
"""Algorithms of a signature: ECDSA with these."""


def signed_again(
    made: Made, issuer: Made, *, version: bytes = VERSION_3, algorithm: bytes = SHA_256
) -> bytes:
    """Return the certificate in DER with another version, or with another algorithm outside the
    signed part. Certificate builders cannot make these."""
    content = made.certificate.tbs_certificate_bytes[4:]
    assert content.startswith(VERSION_3)
    to_be_signed = sequence(version + content[len(VERSION_3) :])
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    digest = hashes.SHA256() if algorithm == SHA_256 else hashes.SHA384()
    signature = issuer.key.sign(to_be_signed, ec.ECDSA(digest))
    bits = b"\x03" + bytes([len(signature) + 1]) + b"\0" + signature
    return sequence(to_be_signed, algorithm, bits)


def read_again(der: bytes) -> Made:
    return Made(x509.load_der_x509_certificate(der), EC)


@dataclass(frozen=True)
class Pki:
    """An authority in two steps, and its revocation lists."""

    root: Made
    issuing: Made
    lists: Sequence[tuple[x509.ExtensionType, bool]] = ()
    known: bool = True
    """True if the policy has the issuing authority; otherwise the client sends it."""

    def crl(
        self, of: Made, *extensions: tuple[x509.ExtensionType, bool]
    ) -> x509.CertificateRevocationList:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(of.key.public_key())
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(of.certificate.subject)
            .last_update(BEGINS)
            .next_update(ENDS)
            .add_extension(identifier, False)
            .add_extension(x509.CRLNumber(1), False)
        )
        for extension in extensions:
            builder = builder.add_extension(*extension)
        return builder.sign(of.key, hashes.SHA256(), rsa_padding=PSS if of.pss else None)


def pki(
    name: str | None,
    root: Extensions | None = None,
    issuing: Extensions | None = None,
    *,
    lists: Sequence[tuple[x509.ExtensionType, bool]] = (),
    known: bool = True,
    **more: object,
) -> Pki:
    at_the_top = authority(None if name is None else f"Root {name}", None, root, **more)
    # Not the root's key: the path would then not need this authority.
    key = RSA if more.get("pss") else ec.generate_private_key(ec.SECP256R1())
    between = authority(f"Issuing {name}", at_the_top, issuing, **{"key": key, **more})
    return Pki(at_the_top, between, lists, known)


NOT_CRITICAL = {x509.BasicConstraints: (x509.BasicConstraints(True, None), False)}
POINT = x509.DistributionPoint([uri("http://pki.internet.example/i.crl")], None, None, None)
BY_MICROSOFT = [
    (raw("1.3.6.1.4.1.311.21.1", "020100"), False),  # szOID_CERTSRV_CA_VERSION
    (raw("1.3.6.1.4.1.311.21.4", "170d3336303130313030303030305a"), False),  # the next publication
    (x509.FreshestCRL([POINT]), False),
]
OF_ONE_POINT = (
    x509.IssuingDistributionPoint(POINT.full_name, None, False, False, None, False, False),
    True,
)

PKIS = {
    "good": pki("good"),
    "root-bc-not-critical": pki("A", NOT_CRITICAL),
    "issuing-bc-not-critical": pki("B", None, NOT_CRITICAL),
    "root-no-ski": pki("C", {x509.SubjectKeyIdentifier: None}),
    "root-no-keyusage": pki("D", {x509.KeyUsage: None}),
    "issuing-no-keyusage": pki("E", None, {x509.KeyUsage: None}),
    "issuing-no-identifiers": pki(
        "F", None, {x509.SubjectKeyIdentifier: None, x509.AuthorityKeyIdentifier: None}
    ),
    "all-pss": pki("G", key=RSA, pss=True),
    "ms-crl-extensions": pki("H", lists=BY_MICROSOFT),
    "crl-idp": pki("I", lists=[OF_ONE_POINT]),
    "sent-no-keyusage": pki("J", None, {x509.KeyUsage: None}, known=False),
    "root-no-bc": pki("K", {x509.BasicConstraints: None}),
    "root-nameless": pki(None),
    "issuing-no-bc": pki("L", None, {x509.BasicConstraints: None}),
    "issuing-is-none": pki(
        "M", None, {x509.BasicConstraints: (x509.BasicConstraints(False, None), True)}
    ),
    "root-may-not-sign": pki("N", {x509.KeyUsage: (usage("crl_sign"), True)}),
    "issuing-may-not-sign": pki("O", None, {x509.KeyUsage: (usage("crl_sign"), True)}),
    "issuing-pathlen": pki(
        "P", None, {x509.BasicConstraints: (x509.BasicConstraints(True, 0), True)}
    ),
    # An address of five bytes, which OpenSSL accepts.
    "sent-unreadable": pki(
        "Q", None, {"san": (raw("2.5.29.17", "300787050102030405"), False)}, known=False
    ),
}
GOOD_ONE = PKIS["good"].issuing


def of(kind: str) -> Made:
    return computer(PKIS[kind].issuing, DNS)
