"""What a certificate says of who it is for: facts, principal names, alternative names."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, ClientKind, authenticate
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.publications import BridgePublication
from tests.authentication.facts import (
    CLIENT_AUTH,
    CLIENT_PURPOSE,
    at,
    certificate,
    named,
    principal,
    reason,
    with_names,
)

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
