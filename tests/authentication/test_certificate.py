"""The facts of a certificate: principal names, alternative names, common name."""

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

# Facts


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


def test_an_absent_extension_differs_from_an_empty_one() -> None:
    facts = certificate_facts(certificate([(NameOID.COMMON_NAME, "PC1")]))
    assert facts.purposes is None
    assert facts.dns_names == ()
    assert facts.common_name == "PC1"


def test_the_common_name_is_used_only_without_a_subject_alternative_name() -> None:
    mail = x509.SubjectAlternativeName([x509.RFC822Name("jdoe@corp.example")])
    facts = certificate_facts(certificate([(NameOID.COMMON_NAME, "jdoe")], mail))
    assert (facts.dns_names, facts.common_name) == ((), None)


def test_a_long_subject_is_truncated() -> None:
    units = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 50
    assert len(certificate_facts(certificate(units)).subject) == 512


def test_principal_names_are_parsed() -> None:
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
        b"\x0c\x05j@c.",  # shorter than its length
        b"\x0c\x04j@c.d",  # trailing bytes
        b"\x0c\x02\xff\xfe",  # not UTF-8
        b"\x16\x05j@c.d",  # IA5String
        b"\x1e\x06\0j\0@\0c",  # BMPString
        b"\x04\x05j@c.d",  # OCTET STRING
        b"\x30\x00",
        b"\x0c\x81\x05j@c.d",  # not the shortest form of the length
    ],
)
def test_a_certificate_with_a_malformed_principal_name_is_unreadable(
    encoded: bytes,
) -> None:
    # If it were ignored, a user's certificate with a DNS name would name a computer.
    with pytest.raises(ValueError, match=r"."):
        certificate_facts(with_names(x509.DNSName("pc1.corp.example"), principal(encoded)))


# Names in a subjectAltName that leave the name of the subject to the common name

SID = "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1111111111-2222222222-3333333333-1234"
ACCOUNT = principal(b"\x0c\x11pc1$@corp.example")
ADDRESS = x509.IPAddress(ipaddress.ip_address("192.0.2.7"))


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def computer_with(*names: x509.GeneralName) -> x509.Certificate:
    """A certificate with a computer's common name, and these other names."""
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
def test_the_common_name_is_used_beside_names_that_cannot_be_a_persons(
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
def test_the_common_name_is_ignored_beside_names_that_can_be_a_persons(
    publication: BridgePublication, names: list[x509.GeneralName]
) -> None:
    facts = certificate_facts(computer_with(*names))
    assert facts.common_name is None
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.detail) == (
        Reason.CERTIFICATE_NAME,
        "the certificate does not name a computer",
    )


def test_a_user_certificate_with_a_security_identifier_names_the_user(
    publication: BridgePublication,
) -> None:
    facts = certificate_facts(computer_with(principal(b"\x0c\x05j@c.d"), uri(SID)))
    assert (facts.principal_names, facts.common_name) == (("j@c.d",), None)
    assert reason(authenticate(publication, facts)) is Reason.CERTIFICATE_NAME
    assert isinstance(authenticate(at(publication, "user"), facts), AuthenticatedClient)


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (
            named("pc1$@corp.example", common_name="pc2.corp.example"),
            "the common name does not match the computer in the principal name",
        ),
        (
            named("pc1$@c.d", "pc2$@c.d", common_name="pc1.c.d"),
            "the certificate has several principal names and no DNS name",
        ),
        (named("pc1$@corp.example"), "the certificate does not name a computer"),
    ],
)
def test_the_detail_has_the_problem_with_the_names(
    publication: BridgePublication, facts: CertificateFacts, detail: str
) -> None:
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.detail) == (Reason.CERTIFICATE_NAME, detail)


def test_the_user_certificate_of_the_lab_names_a_user(
    pki: LabPki, publication: BridgePublication
) -> None:
    facts = certificate_facts(pki.user("jdoe@corp.example").certificate)
    client = authenticate(at(publication, "user"), facts)
    assert isinstance(client, AuthenticatedClient)
    assert (client.kind, client.name) == (ClientKind.USER, "jdoe@corp.example")
    denial = authenticate(publication, facts)
    assert isinstance(denial, Deny)
    assert denial.requirement == "BRIDGE-AUTH-COMPUTER"
