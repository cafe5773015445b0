"""Certificates as real authorities make them, and malformed twins: what a handshake comes to, what
`explain` says of the same, and what OpenSSL's X509_STRICT would have made of it.

Windows authorities mark neither a subjectAltName beside an empty subject nor always
basicConstraints as critical; older roots have no key identifier and no keyUsage.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from ibcm_bridge.commands.explain.circumstances import circumstances
from ibcm_bridge.commands.explain.explain import explain
from ibcm_bridge.commands.explain.question import described, read_url
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki.certificates import Credential, PrivateKey
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.policy.trust import Trust
from tests.addons.conftest import BRIDGED, GOOD, SOON, Lab, Running, changed, wait_for

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
) -> Made:
    by = issuer or Made(None, key, pss)  # type: ignore[arg-type]
    attributes = [] if common_name is None else [(NameOID.COMMON_NAME, common_name)]
    subject = x509.Name([x509.NameAttribute(*one) for one in attributes])
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
        .not_valid_before(BEGINS)
        .not_valid_after(ENDS)
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
    """The same certificate, DER, of another version or with another algorithm outside of what is
    signed: builders make none of these."""
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
    """Whether the policy has the issuing authority; else the client sends it."""

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
        for one in extensions:
            builder = builder.add_extension(*one)
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
    # Another key: with the root's own the path would not need it.
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
    # An address of five bytes, which OpenSSL does not mind.
    "sent-unreadable": pki(
        "Q", None, {"san": (raw("2.5.29.17", "300787050102030405"), False)}, known=False
    ),
}
GOOD_ONE = PKIS["good"].issuing


def of(kind: str) -> Made:
    return computer(PKIS[kind].issuing, DNS)


ACCOUNT = principal("PC1$@corp.example")
BY_SID = uri(f"tag:microsoft.com,2022-09-14:sid:{SID}")

ACCEPTED: Mapping[str, tuple[str, Made]] = {
    # case -> whose, and the certificate
    "plain": ("good", of("good")),
    "rsa": ("good", computer(GOOD_ONE, DNS, key=RSA)),
    "p384": ("good", computer(GOOD_ONE, DNS, key=ec.generate_private_key(ec.SECP384R1()))),
    "cn-only": ("good", computer(GOOD_ONE)),
    "cn-netbios": ("good", computer(GOOD_ONE, None, "PC1")),
    "cn-guid": ("good", computer(GOOD_ONE, None, "1b671a64-40d5-491e-99b0-da01ff1f3341")),
    "san-dns-and-sid": ("good", computer(GOOD_ONE, names(x509.DNSName(NAME), BY_SID))),
    "san-account-and-dns": ("good", computer(GOOD_ONE, names(ACCOUNT, x509.DNSName(NAME)))),
    "template-and-sid": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                # szOID_CERTIFICATE_TEMPLATE and szOID_NTDS_CA_SECURITY_EXT
                "template": (raw("1.3.6.1.4.1.311.21.7", "300a06082b06010401823715"), False),
                "sid": (
                    raw("1.3.6.1.4.1.311.25.2", f"0c{len(SID):02x}{SID.encode().hex()}"),
                    False,
                ),
            },
        ),
    ),
    "authority-as-client": (
        "good",
        computer(
            GOOD_ONE,
            {**DNS, x509.BasicConstraints: (x509.BasicConstraints(True, 0), True)},
        ),
    ),
    "san-account": ("good", computer(GOOD_ONE, names(ACCOUNT))),
    "san-sid": ("good", computer(GOOD_ONE, names(BY_SID))),
    "san-address": (
        "good",
        computer(GOOD_ONE, names(x509.IPAddress(ipaddress.ip_address("192.0.2.7")))),
    ),
    "empty-subject": ("good", computer(GOOD_ONE, DNS, None)),
    "empty-subject-critical": (
        "good",
        computer(GOOD_ONE, names(x509.DNSName(NAME), critical=True), None),
    ),
    "no-aki": ("good", computer(GOOD_ONE, {**DNS, x509.AuthorityKeyIdentifier: None})),
    "no-ski": ("good", computer(GOOD_ONE, {**DNS, x509.SubjectKeyIdentifier: None})),
    "client-and-server": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.ExtendedKeyUsage: (
                    x509.ExtendedKeyUsage(
                        [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
                    ),
                    False,
                ),
            },
        ),
    ),
    **{
        kind: (kind, of(kind))
        for kind in (
            "root-bc-not-critical",
            "issuing-bc-not-critical",
            "root-no-ski",
            "root-no-keyusage",
            "issuing-no-keyusage",
            "issuing-no-identifiers",
            "all-pss",
            "ms-crl-extensions",
            "sent-no-keyusage",
            "issuing-pathlen",
        )
    },
}

INVALID = Reason.CERTIFICATE_INVALID
NOT_READ = "the certificate cannot be read"

REFUSED: Mapping[str, tuple[str, Made, Reason, str]] = {
    # case -> whose, the certificate, the reason, and what the detail says
    "san-account-of-another": (
        "good",
        computer(GOOD_ONE, names(principal("PC2$@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "its common name is not that of the computer in its principal name",
    ),
    "san-user": (
        "good",
        computer(GOOD_ONE, names(principal("PC1@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "no computer name in it",
    ),
    "san-mail": (
        "good",
        computer(GOOD_ONE, names(x509.RFC822Name("pki@corp.example"))),
        Reason.CERTIFICATE_NAME,
        "no computer name in it",
    ),
    "cn-with-space": (
        "good",
        computer(GOOD_ONE, None, "Contoso Device 1"),
        Reason.CERTIFICATE_NAME,
        "no computer name in it",
    ),
    "crl-idp": (
        "crl-idp",
        of("crl-idp"),
        Reason.REVOCATION_UNKNOWN,
        "no revocation list of CN=Issuing I covers it: what is held covers only "
        "certificates that name the distribution point http://pki.internet.example/i.crl "
        "(depth 0)",
    ),
    "san-empty": (
        "good",
        computer(GOOD_ONE, {"san": (raw("2.5.29.17", "3000"), False)}),
        INVALID,
        "has an empty subjectAltName (RFC 5280 section 4.2.1.6) (depth 0)",
    ),
    "no-name-at-all": (
        "good",
        computer(GOOD_ONE, None, None),
        INVALID,
        "has neither a subject nor a subjectAltName (RFC 5280 section 4.1.2.6) (depth 0)",
    ),
    "empty-subject-signs-lists": (
        "good",
        computer(
            GOOD_ONE,
            {**DNS, x509.KeyUsage: (usage("digital_signature", "crl_sign"), True)},
            None,
        ),
        INVALID,
        "has an empty subject, and issues certificates or revocation lists "
        "(RFC 5280 section 4.1.2.6) (depth 0)",
    ),
    "end-entity-may-sign": (
        "good",
        computer(
            GOOD_ONE, {**DNS, x509.KeyUsage: (usage("digital_signature", "key_cert_sign"), True)}
        ),
        INVALID,
        "may sign certificates by its keyUsage, and is not an authority by its basicConstraints "
        "(RFC 5280 section 4.2.1.9) (depth 0)",
    ),
    "end-entity-with-pathlen": (
        "good",
        computer(GOOD_ONE, {**DNS, "bc": (raw("2.5.29.19", "3003020100"), True)}),
        INVALID,
        NOT_READ,
    ),
    "root-no-bc": (
        "root-no-bc",
        of("root-no-bc"),
        INVALID,
        "is not an authority by its basicConstraints (RFC 5280 section 6.1.4 (k)) (depth 2)",
    ),
    "root-nameless": (
        "root-nameless",
        of("root-nameless"),
        INVALID,
        "has an empty issuer name (RFC 5280 section 4.1.2.4) (depth 1)",
    ),
    "sent-unreadable": (
        "sent-unreadable",
        of("sent-unreadable"),
        INVALID,
        "has an extension that cannot be read (RFC 5280 section 4.2) (depth 1)",
    ),
    "extensions-in-version-1": (
        "good",
        read_again(signed_again(of("good"), GOOD_ONE, version=VERSION_1)),
        INVALID,
        "has extensions and is not of version 3 (RFC 5280 section 4.1.2.9) (depth 0)",
    ),
    "san-account-not-utf-8": (
        "good",
        computer(GOOD_ONE, names(principal("PC1$@corp.example", tag=0x16), x509.DNSName(NAME))),
        INVALID,
        NOT_READ,
    ),
    # OpenSSL refuses these, however strict it is.
    "algorithms-differ": (
        "good",
        read_again(signed_again(of("good"), GOOD_ONE, algorithm=SHA_384)),
        INVALID,
        "certificate signature failure (depth 0)",
    ),
    "aki-critical": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.AuthorityKeyIdentifier: (
                    x509.AuthorityKeyIdentifier.from_issuer_public_key(GOOD_ONE.key.public_key()),
                    True,
                ),
            },
        ),
        INVALID,
        "unhandled critical extension (depth 0)",
    ),
    "ski-critical": (
        "good",
        computer(
            GOOD_ONE,
            {
                **DNS,
                x509.SubjectKeyIdentifier: (
                    x509.SubjectKeyIdentifier.from_public_key(EC.public_key()),
                    True,
                ),
            },
        ),
        INVALID,
        "unhandled critical extension (depth 0)",
    ),
    "issuing-no-bc": (
        "issuing-no-bc",
        of("issuing-no-bc"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
    "issuing-is-none": (
        "issuing-is-none",
        of("issuing-is-none"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
    "root-may-not-sign": (
        "root-may-not-sign",
        of("root-may-not-sign"),
        INVALID,
        "invalid CA certificate (depth 2)",
    ),
    "issuing-may-not-sign": (
        "issuing-may-not-sign",
        of("issuing-may-not-sign"),
        INVALID,
        "invalid CA certificate (depth 1)",
    ),
}


@pytest.fixture(scope="module")
def bridge(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that trusts them all."""
    trust = Trust(
        tuple(one.root.certificate for one in PKIS.values()),
        tuple(one.issuing.certificate for one in PKIS.values() if one.known),
        tuple(
            crl
            for one in PKIS.values()
            for crl in (one.crl(one.root), one.crl(one.issuing, *one.lists))
        ),
    )
    audit = tmp_path_factory.mktemp("bridge") / "audit.jsonl"
    with Running(running_lab, changed(running_lab.policy, audit, client_trust=trust)) as one:
        yield one


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def shown(kind: str, made: Made) -> Credential:
    """What a client shows of it."""
    sent = () if PKIS[kind].known else (PKIS[kind].issuing.certificate,)
    return Credential(made.certificate, made.key, sent)


def shake_hands(
    bridge: Running, credential: Credential, version: ssl.TLSVersion
) -> dict[str, object]:
    """Ask for something; the audit's record of what came of it."""
    before = len(bridge.audit())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bridge.lab.pki.root.public_bytes(Encoding.DER))
    context.minimum_version = context.maximum_version = version
    load_credential(context, credential)
    request = f"{GOOD[0]} {GOOD[1]} HTTP/1.1\r\nHost: {BRIDGED}\r\nConnection: close\r\n\r\n"
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(bridge.address, SOON) as plain,
        context.wrap_socket(plain, server_hostname=BRIDGED) as tls,
    ):
        tls.sendall(request.encode())
        while tls.recv(65_536):
            pass
    (record,) = wait_for(lambda: bridge.audit()[before:])
    return record


def explained(bridge: Running, credential: Credential) -> dict[str, object]:
    question = described(
        GOOD[0],
        read_url(f"https://{BRIDGED}{GOOD[1]}"),
        (),
        (credential.certificate, *credential.issuers),
        None,
    )
    return explain(bridge.policy, question, circumstances(bridge.policy)).record()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ACCEPTED)
def test_what_real_authorities_make_is_accepted_and_explained_so(
    bridge: Running, case: str, version: ssl.TLSVersion
) -> None:
    credential = shown(*ACCEPTED[case])
    record = shake_hands(bridge, credential, version)
    assert record["verdict"] == "allow", record
    assert explained(bridge, credential)["verdict"] == "allow"
    subject = ACCEPTED[case][1].certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert record["client"] == (str(subject[0].value).lower() if subject else NAME)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_explained_with_the_same_reason(
    bridge: Running, case: str, version: ssl.TLSVersion
) -> None:
    kind, made, reason, detail = REFUSED[case]
    credential = shown(kind, made)
    record = shake_hands(bridge, credential, version)
    assert record["reason"] == reason.value, record
    assert detail in str(record["detail"])
    told = explained(bridge, credential)
    keys = ("verdict", "reason", "rule", "requirement", "detail", "alert")
    assert {key: told.get(key) for key in keys} == {key: record.get(key) for key in keys}


# X509_STRICT, which is not used any more

STRICT: Mapping[int, tuple[str, str | None]] = {
    # error: its words, and who is refused all the same; None: passes
    78: ("cert info signature and signature algorithm mismatch", "algorithms-differ"),
    79: ("invalid ca certificate", "root-no-bc"),
    80: ("path length invalid for non-ca cert", "end-entity-with-pathlen"),
    # An end-entity certificate; what it may not sign nobody takes from it.
    81: ("path length given without key usage keycertsign", None),
    82: ("key usage keycertsign invalid for non-ca cert", "end-entity-may-sign"),
    83: ("issuer name empty", "root-nameless"),
    84: ("subject name empty", "no-name-at-all"),
    # They help to find a path. What counts is the signature.
    85: ("missing authority key identifier", None),
    86: ("missing subject key identifier", None),
    87: ("empty subject alternative name extension", "san-empty"),
    # Critical is for readers that do not understand an extension; these are always read.
    88: ("subject empty and subject alt name extension not critical", None),
    89: ("basic constraints of ca cert not marked critical", None),
    90: ("authority key identifier marked critical", "aki-critical"),
    91: ("subject key identifier marked critical", "ski-critical"),
    # Without it basicConstraints say alone what it may (RFC 5280 section 6.1.4).
    92: ("ca cert does not include key usage extension", None),
    93: ("using cert extension requires at least x509v3", "extensions-in-version-1"),
}
"""What X509_STRICT checks, of openssl/x509_vfy.h, in one version or another."""


def strictly(kind: str, made: Made, *, strict: bool) -> int:
    """What OpenSSL alone says: 0, or the number of its error."""
    store = crypto.X509Store()
    for one in (PKIS[kind].root, PKIS[kind].issuing):
        store.add_cert(crypto.X509.from_cryptography(one.certificate))
    if strict:
        store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    lib = SSL._lib  # type: ignore[attr-defined]
    lib.X509_STORE_set_purpose(store._store, lib.X509_PURPOSE_SSL_CLIENT)
    leaf = crypto.X509.from_cryptography(made.certificate)
    try:
        crypto.X509StoreContext(store, leaf).verify_certificate()
    except crypto.X509StoreContextError as error:
        number: int = error.errors[0]
        return number
    return 0


@pytest.mark.parametrize("case", ACCEPTED)
def test_nothing_passes_that_x509_strict_refuses_but_what_is_listed(case: str) -> None:
    number = strictly(*ACCEPTED[case], strict=True)
    assert number == 0 or STRICT[number][1] is None, case


@pytest.mark.parametrize("number", STRICT)
def test_each_strict_check_is_decided_on(number: int) -> None:
    words, refused = STRICT[number]
    lib, ffi = SSL._lib, SSL._ffi  # type: ignore[attr-defined]
    said = ffi.string(lib.X509_verify_cert_error_string(number)).decode().lower()
    assert said == words
    if refused is not None:
        assert strictly(*REFUSED[refused][:2], strict=True) != 0


REFUSED_BY_OUR_TABLE = [
    case
    for case, (_, _, reason, detail) in REFUSED.items()
    if reason is INVALID and "RFC 5280" in detail
]


@pytest.mark.parametrize("case", REFUSED_BY_OUR_TABLE)
def test_what_our_table_refuses_openssl_alone_would_let_pass(case: str) -> None:
    # Else a row of the table is not needed, or its case does not test it.
    assert strictly(*REFUSED[case][:2], strict=False) == 0


def test_a_certificate_of_version_2_is_refused_and_is_not_a_defect(
    bridge: Running, tmp_path: Path
) -> None:
    der = signed_again(of("good"), GOOD_ONE, version=VERSION_2)

    class Raw(Credential):
        def chain_pem(self) -> bytes:
            return ssl.DER_cert_to_PEM_cert(der).encode()

    credential = Raw(of("good").certificate, EC, ())
    for version in VERSIONS:
        record = shake_hands(bridge, credential, version)
        assert (record["reason"], record["detail"]) == (INVALID.value, NOT_READ)
