"""From a verified certificate to a client, or to the reason why not."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import (
    AnonymousClient,
    AuthenticatedClient,
    ClientKind,
    admit_anonymous,
    authenticate,
    may_be_anonymous,
)
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
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
    """A self-signed one: whether a path is good is OpenSSL's to say, not what is tested here."""
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


# What a certificate says


def test_the_facts_of_a_computer_certificate(pki: LabPki) -> None:
    credential = pki.computer("PC1.corp.example")
    facts = certificate_facts(credential.certificate)
    assert facts.subject == "CN=PC1.corp.example,O=ibcm-bridge lab\\, not for production"
    assert "Lab Issuing CA" in facts.issuer
    assert int(facts.serial, 16) == credential.certificate.serial_number
    assert len(facts.serial) % 2 == 0
    assert facts.sha256 == credential.certificate.fingerprint(hashes.SHA256()).hex()
    assert facts.not_after == "2026-01-31T00:00:00+00:00"
    assert facts.purposes == frozenset((CLIENT_AUTH,))
    assert facts.dns_names == ("PC1.corp.example",)


def test_absent_extensions_are_absent_and_not_empty() -> None:
    facts = certificate_facts(certificate([(NameOID.COMMON_NAME, "PC1")]))
    assert facts.purposes is None
    assert facts.dns_names == ()
    assert facts.common_name == "PC1"


def test_a_common_name_counts_only_without_a_subject_alternative_name() -> None:
    mail = x509.SubjectAlternativeName([x509.RFC822Name("jdoe@corp.example")])
    facts = certificate_facts(certificate([(NameOID.COMMON_NAME, "jdoe")], mail))
    assert (facts.dns_names, facts.common_name) == ((), None)


def test_an_endless_subject_is_bounded() -> None:
    units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 50
    assert len(certificate_facts(certificate(units)).subject) == 512


# Who is accepted


def test_a_computer_is_authenticated_for_the_publication(
    pki: LabPki, publication: BridgePublication
) -> None:
    facts = certificate_facts(pki.computer("PC1.corp.example").certificate)
    client = authenticate(publication, facts)
    assert isinstance(client, AuthenticatedClient)
    assert client == AuthenticatedClient(
        publication.name, facts, ClientKind.COMPUTER, "pc1.corp.example"
    )


@pytest.mark.parametrize(
    ("dns_names", "common_name", "computer"),
    [
        (("pc1.corp.example",), None, "pc1.corp.example"),
        (("pc1.corp.example", "other.example"), None, "pc1.corp.example"),
        ((), "PC1", "pc1"),
        ((), "PC_1-2.corp.example", "pc_1-2.corp.example"),
        (("PC1",), "Jane Doe", "pc1"),
    ],
)
def test_the_first_dns_name_or_the_common_name_is_the_computer(
    publication: BridgePublication,
    dns_names: tuple[str, ...],
    common_name: str | None,
    computer: str,
) -> None:
    facts = replace(PLAIN, dns_names=dns_names, common_name=common_name)
    client = authenticate(publication, facts)
    assert isinstance(client, AuthenticatedClient)
    assert client.name == computer


@pytest.mark.parametrize(
    "purposes",
    [
        None,
        frozenset(),
        frozenset((SERVER_AUTH,)),
        frozenset((ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string,)),
        frozenset((CLIENT_AUTH + ".1",)),
    ],
)
def test_without_the_client_authentication_purpose_nobody_is_authenticated(
    publication: BridgePublication, purposes: frozenset[str] | None
) -> None:
    assert isinstance(authenticate(publication, PLAIN), AuthenticatedClient)
    refused = authenticate(publication, replace(PLAIN, purposes=purposes))
    assert reason(refused) is Reason.CERTIFICATE_PURPOSE


def test_a_second_purpose_does_no_harm(publication: BridgePublication) -> None:
    facts = replace(PLAIN, purposes=frozenset((CLIENT_AUTH, SERVER_AUTH)))
    assert isinstance(authenticate(publication, facts), AuthenticatedClient)


@pytest.mark.parametrize(
    ("dns_names", "common_name"),
    [
        ((), None),
        ((), ""),
        ((), "Jane Doe"),
        ((), "jane@corp.example"),
        ((), "CORP\\jane"),
        ((), "-pc1"),
        ((), "pc1\n"),
        ((), "pc1\0.corp.example"),
        ((), "pc1..example"),
        ((), "pć1"),
        ((), "x" * 64),
        (("*.corp.example",), "PC1"),
        (("",), "PC1"),
        (("jane doe", "pc1.corp.example"), None),
    ],
)
def test_without_a_computer_name_nobody_is_authenticated(
    publication: BridgePublication, dns_names: tuple[str, ...], common_name: str | None
) -> None:
    facts = replace(PLAIN, dns_names=dns_names, common_name=common_name)
    assert reason(authenticate(publication, facts)) is Reason.CERTIFICATE_NAME


@pytest.mark.parametrize(
    ("twin", "expected"),
    [
        ("wrong_purpose", Reason.CERTIFICATE_PURPOSE),
        ("without_purpose", Reason.CERTIFICATE_PURPOSE),
        ("user", Reason.CERTIFICATE_NAME),
    ],
)
def test_the_twins_of_the_lab_are_refused(
    pki: LabPki, publication: BridgePublication, twin: str, expected: Reason
) -> None:
    # Expired, revoked, foreign and self-signed twins are OpenSSL's to refuse, in the handshake.
    credential = getattr(pki, twin)("jdoe@corp.example" if twin == "user" else "pc4.corp.example")
    denial = authenticate(publication, certificate_facts(credential.certificate))
    assert reason(denial) is expected


def test_a_user_whose_name_looks_like_a_computers_is_refused(
    publication: BridgePublication,
) -> None:
    # BRIDGE-AUTH-COMPUTER: the principal name says whose it is, whatever the CN looks like.
    principal = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x03j@c")
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    common_name = [(NameOID.COMMON_NAME, "jdoe")]
    computer = certificate_facts(certificate(common_name, purpose))
    assert isinstance(authenticate(publication, computer), AuthenticatedClient)
    user = certificate(common_name, purpose, x509.SubjectAlternativeName([principal]))
    denial = authenticate(publication, certificate_facts(user))
    assert reason(denial) is Reason.CERTIFICATE_NAME


# Computers and users (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER)

CLIENT_PURPOSE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
COMPUTER, USER = "computer", "user"


def at(publication: BridgePublication, policy: str) -> BridgePublication:
    return replace(publication, certificate_policy=CertificatePolicy(policy))


def named(
    *principals: str, dns: tuple[str, ...] = (), common_name: str | None = None
) -> CertificateFacts:
    return replace(PLAIN, dns_names=dns, principal_names=principals, common_name=common_name)


NAMED = {
    # who -> its facts, what it is, and its name
    "a DNS name": (PLAIN, COMPUTER, "pc1.corp.example"),
    "a common name": (replace(PLAIN, dns_names=(), common_name="PC1"), COMPUTER, "pc1"),
    "a computer's principal name beside a DNS name": (
        named("PC1$@corp.example", dns=("pc1.corp.example",)),
        COMPUTER,
        "pc1.corp.example",
    ),
    "a computer's principal name and its common name": (
        named("PC1$@corp.example", common_name="pc1.corp.example"),
        COMPUTER,
        "pc1.corp.example",
    ),
    "a computer's principal name in small letters, and a name without domain": (
        named("pc1$@corp.example", common_name="PC1"),
        COMPUTER,
        "pc1",
    ),
    "two computers' principal names beside a DNS name": (
        named("pc1$@corp.example", "pc2$@corp.example", dns=("pc1.corp.example",)),
        COMPUTER,
        "pc1.corp.example",
    ),
    "a computer's principal name beside another DNS name": (
        named("pc1$@corp.example", dns=("alias.corp.example",)),
        COMPUTER,
        "alias.corp.example",
    ),
    "a user's principal name": (named("JDoe@Corp.example"), USER, "jdoe@corp.example"),
    "a user's principal name that is like the common name": (
        named("pc1@corp.example", common_name="pc1.corp.example"),
        USER,
        "pc1@corp.example",
    ),
    "a user's principal name beside a DNS name": (
        named("jdoe@corp.example", dns=("pc1.corp.example",)),
        USER,
        "jdoe@corp.example",
    ),
    "an unusual but sound principal name": (
        named("o'neil+a_b-c.d/e@corp.example"),
        USER,
        "o'neil+a_b-c.d/e@corp.example",
    ),
    "a principal name of letters outside ASCII": (
        named("jürgen@corp.example"),
        USER,
        "jürgen@corp.example",
    ),
}
NOBODY = {
    "a computer's principal name and another computer's common name": named(
        "pc1$@corp.example", common_name="pc2.corp.example"
    ),
    "a computer's principal name and a common name that begins like it": named(
        "pc1$@corp.example", common_name="pc10.corp.example"
    ),
    "a computer's principal name and a common name in which it is no label": named(
        "pc1$@corp.example", common_name="pc1-old.corp.example"
    ),
    "a computer's principal name and its account as common name": named(
        "pc1$@corp.example", common_name="pc1$"
    ),
    "a computer's principal name without domain and its common name": named(
        "pc1$", common_name="pc1.corp.example"
    ),
    "a principal name with nothing before the dollar sign": named(
        "$@corp.example", common_name=".corp.example"
    ),
    "two computers' principal names and the common name of one": named(
        "pc1$@corp.example", "pc2$@corp.example", common_name="pc1.corp.example"
    ),
    "one computer's principal name twice": named(
        "pc1$@corp.example", "PC1$@corp.example", common_name="pc1.corp.example"
    ),
    "no name at all": named(),
    "a computer's principal name and no other": named("pc1$@corp.example"),
    "a computer's principal name without domain": named("pc1$"),
    "two users": named("jdoe@corp.example", "root@corp.example"),
    # Each could be taken for a computer if users' names that are no good were overlooked.
    "two users beside a DNS name": named("j@corp.example", "r@corp.example", dns=("pc1.example",)),
    "a user beside a computer": named("jdoe@corp.example", "pc1$@corp.example"),
    "a user beside a computer and a DNS name": named(
        "pc1$@corp.example", "jdoe@corp.example", dns=("pc1.example",)
    ),
    "a user without domain beside a DNS name": named("jdoe", dns=("pc1.corp.example",)),
    "an empty principal name beside a DNS name": named("", dns=("pc1.corp.example",)),
    **{
        f"a principal name that is none: {name!r}": named(name, dns=("pc1.corp.example",))
        for name in (
            "jdoe@",
            "@corp.example",
            "jdoe@corp@example",
            "j doe@corp.example",
            "jdoe@corp.example\n",
            "jdoe\0@corp.example",
            "jdoe@corp.exämple",
            "jdoe@corp example",
            "j\u202edoe@corp.example",  # which would turn round what is read
            "j\u200bdoe@corp.example",  # a space of no width
            "j\u00a0doe@corp.example",
            "\ufeffjdoe@corp.example",
            f"{'x' * 105}@corp.example",
            f"jdoe@{'x' * 152}",
        )
    },
}


@pytest.mark.parametrize(("facts", "kind", "name"), NAMED.values(), ids=NAMED)
def test_whom_a_certificate_names(
    publication: BridgePublication, facts: CertificateFacts, kind: str, name: str
) -> None:
    requirement = {COMPUTER: "BRIDGE-AUTH-COMPUTER", USER: "BRIDGE-AUTH-USER"}
    for policy in ("computer", "user", "either", "optional"):
        result = authenticate(at(publication, policy), facts)
        if policy in (kind, "either", "optional"):
            assert isinstance(result, AuthenticatedClient), policy
            assert (result.kind, result.name) == (ClientKind(kind), name)
        else:
            assert isinstance(result, Deny)
            assert result.reason is Reason.CERTIFICATE_NAME
            assert result.requirement == requirement[policy]


@pytest.mark.parametrize("facts", NOBODY.values(), ids=NOBODY)
@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional", "none"])
def test_what_names_nobody_is_refused_under_every_policy(
    publication: BridgePublication, facts: CertificateFacts, policy: str
) -> None:
    if not facts.principal_names and facts.dns_names:
        return
    assert reason(authenticate(at(publication, policy), facts)) is Reason.CERTIFICATE_NAME


@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional"])
def test_the_purpose_is_asked_for_under_every_policy(
    publication: BridgePublication, policy: str
) -> None:
    for facts in (PLAIN, named("jdoe@corp.example")):
        refused = authenticate(at(publication, policy), replace(facts, purposes=None))
        assert reason(refused) is Reason.CERTIFICATE_PURPOSE


def test_where_nobody_is_asked_no_certificate_is_accepted(publication: BridgePublication) -> None:
    assert reason(authenticate(at(publication, "none"), PLAIN)) is Reason.CERTIFICATE_NAME


@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional", "none"])
def test_without_a_certificate_a_client_is_let_in_only_where_none_is_needed(
    publication: BridgePublication, policy: str
) -> None:
    asked = at(publication, policy)
    result = admit_anonymous(asked)
    if policy in ("optional", "none"):
        assert may_be_anonymous(asked)
        assert result == AnonymousClient(publication.name)
    else:
        assert not may_be_anonymous(asked)
        assert isinstance(result, Deny)
        assert result.reason is Reason.CERTIFICATE_MISSING


def principal(value: bytes, oid: str = "1.3.6.1.4.1.311.20.2.3") -> x509.OtherName:
    return x509.OtherName(x509.ObjectIdentifier(oid), value)


def with_names(*names: x509.GeneralName) -> x509.Certificate:
    return certificate([], CLIENT_PURPOSE, x509.SubjectAlternativeName(names))


def test_principal_names_are_read_from_the_certificate() -> None:
    facts = certificate_facts(
        with_names(
            x509.DNSName("pc1.corp.example"),
            principal(b"\x0c\x05j@c.d"),
            principal(b"\x0c\x05r@c.d"),
            principal(b"\x0c\x05x@c.d", oid="1.3.6.1.4.1.311.25.1"),  # another kind of name
        )
    )
    assert facts.principal_names == ("j@c.d", "r@c.d")
    assert facts.dns_names == ("pc1.corp.example",)


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x0c\x05j@c.",  # shorter than it says
        b"\x0c\x04j@c.d",  # bytes behind it
        b"\x0c\x02\xff\xfe",  # not UTF-8
        b"\x16\x05j@c.d",  # IA5String
        b"\x1e\x06\0j\0@\0c",  # BMPString
        b"\x04\x05j@c.d",  # OCTET STRING
        b"\x30\x00",
        b"\x0c\x81\x05j@c.d",  # a length that is not the shortest
    ],
)
def test_a_principal_name_that_cannot_be_read_makes_the_certificate_unreadable(
    encoded: bytes,
) -> None:
    # Not overlooked: a user's certificate with a DNS name would then be a computer's.
    with pytest.raises(ValueError, match=r"."):
        certificate_facts(with_names(x509.DNSName("pc1.corp.example"), principal(encoded)))


# Which names of a subjectAltName leave it to the common name to say who it is

SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1111111111-2222222222-3333333333-1234"
ACCOUNT = principal(b"\x0c\x11pc1$@corp.example")
ADDRESS = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def computer_with(*names: x509.GeneralName) -> x509.Certificate:
    """A certificate with a good common name, and these other names."""
    common_name = [(NameOID.COMMON_NAME, "pc1.corp.example")]
    return certificate(common_name, CLIENT_PURPOSE, x509.SubjectAlternativeName(names))


@pytest.mark.parametrize(
    "names",
    [
        [ACCOUNT],
        [uri(SID)],
        [uri(SID.upper().replace("TAG:", "tag:"))],
        [ADDRESS],
        [ACCOUNT, uri(SID), ADDRESS],
    ],
    ids=["account", "sid", "SID", "address", "all"],
)
def test_beside_names_that_name_no_one_else_the_common_name_counts(
    publication: BridgePublication, names: list[x509.GeneralName]
) -> None:
    client = authenticate(publication, certificate_facts(computer_with(*names)))
    assert isinstance(client, AuthenticatedClient)
    assert (client.kind, client.name) == (ClientKind.COMPUTER, "pc1.corp.example")


@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.RFC822Name("pki@corp.example")],
        [uri(SID), x509.RFC822Name("jdoe@corp.example")],
        [ACCOUNT, x509.RFC822Name("jdoe@corp.example")],
        [uri("sip:jdoe@corp.example")],
        [uri(SID + "x")],
        [uri("tag:microsoft.com,2022-09-14:sid:")],
        [uri("tag:microsoft.com,2022-09-14:upn:jdoe")],
        [x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jdoe")]))],
        [x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))],
        [principal(b"\x0c\x05x@c.d", oid="1.3.6.1.4.1.311.25.1")],
    ],
    ids=[
        "none",
        "mail",
        "sid-mail",
        "account-mail",
        "sip",
        "sid-and-more",
        "no-sid",
        "other-tag",
        "directory",
        "registered",
        "other",
    ],
)
def test_beside_names_that_can_be_a_persons_the_common_name_does_not_count(
    publication: BridgePublication, names: list[x509.GeneralName]
) -> None:
    facts = certificate_facts(computer_with(*names))
    assert facts.common_name is None
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.detail) == (
        Reason.CERTIFICATE_NAME,
        "no computer name in it",
    )


def test_a_user_with_a_security_identifier_stays_a_user(publication: BridgePublication) -> None:
    facts = certificate_facts(computer_with(principal(b"\x0c\x05j@c.d"), uri(SID)))
    assert (facts.principal_names, facts.common_name) == (("j@c.d",), None)
    assert reason(authenticate(publication, facts)) is Reason.CERTIFICATE_NAME
    assert isinstance(authenticate(at(publication, "user"), facts), AuthenticatedClient)


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (
            named("pc1$@corp.example", common_name="pc2.corp.example"),
            "its common name is not that of the computer in its principal name",
        ),
        (
            named("pc1$@c.d", "pc2$@c.d", common_name="pc1.c.d"),
            "several principal names in it, and no DNS name",
        ),
        (named("pc1$@corp.example"), "no computer name in it"),
    ],
)
def test_what_is_wrong_with_a_computers_names_is_told(
    publication: BridgePublication, facts: CertificateFacts, detail: str
) -> None:
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.detail) == (Reason.CERTIFICATE_NAME, detail)


def test_the_labs_user_is_one(pki: LabPki, publication: BridgePublication) -> None:
    facts = certificate_facts(pki.user("jdoe@corp.example").certificate)
    client = authenticate(at(publication, "user"), facts)
    assert isinstance(client, AuthenticatedClient)
    assert (client.kind, client.name) == (ClientKind.USER, "jdoe@corp.example")
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert denial.requirement == "BRIDGE-AUTH-COMPUTER"
