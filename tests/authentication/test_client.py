"""From a verified certificate to a client or a refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
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
from tests.authentication.facts import (
    CLIENT_AUTH,
    COMPUTER,
    PLAIN,
    SERVER_AUTH,
    USER,
    at,
    certificate,
    named,
    reason,
)

# Accepted clients


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
def test_a_certificate_without_the_client_authentication_purpose_is_refused(
    publication: BridgePublication, purposes: frozenset[str] | None
) -> None:
    assert isinstance(authenticate(publication, PLAIN), AuthenticatedClient)
    refused = authenticate(publication, replace(PLAIN, purposes=purposes))
    assert reason(refused) is Reason.CERTIFICATE_PURPOSE


def test_a_certificate_with_a_second_purpose_is_accepted(publication: BridgePublication) -> None:
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
def test_a_certificate_without_a_computer_name_is_refused(
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
def test_the_defective_certificates_of_the_lab_are_refused(
    pki: LabPki, publication: BridgePublication, twin: str, expected: Reason
) -> None:
    # OpenSSL refuses the expired, revoked, foreign and self-signed certificates.
    credential = getattr(pki, twin)("jdoe@corp.example" if twin == "user" else "pc4.corp.example")
    denial = authenticate(publication, certificate_facts(credential.certificate))
    assert reason(denial) is expected


def test_a_user_whose_common_name_looks_like_a_computer_name_is_refused(
    publication: BridgePublication,
) -> None:
    # BRIDGE-AUTH-COMPUTER: the principal name decides, whatever the CN looks like.
    principal = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x03j@c")
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    common_name = [(NameOID.COMMON_NAME, "jdoe")]
    computer = certificate_facts(certificate(common_name, purpose))
    assert isinstance(authenticate(publication, computer), AuthenticatedClient)
    user = certificate(common_name, purpose, x509.SubjectAlternativeName([principal]))
    denial = authenticate(publication, certificate_facts(user))
    assert reason(denial) is Reason.CERTIFICATE_NAME


# Computers and users (BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER)

NAMED = {
    # case -> its facts, its kind, and its name
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
NO_NAME = {
    "a computer's principal name and another computer's common name": named(
        "pc1$@corp.example", common_name="pc2.corp.example"
    ),
    "a computer's principal name and a common name that begins like it": named(
        "pc1$@corp.example", common_name="pc10.corp.example"
    ),
    "a computer's principal name and a common name with a suffix in its first label": named(
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
    # Each would pass for a computer if invalid user names were ignored.
    "two users beside a DNS name": named("j@corp.example", "r@corp.example", dns=("pc1.example",)),
    "a user beside a computer": named("jdoe@corp.example", "pc1$@corp.example"),
    "a user beside a computer and a DNS name": named(
        "pc1$@corp.example", "jdoe@corp.example", dns=("pc1.example",)
    ),
    "a user without domain beside a DNS name": named("jdoe", dns=("pc1.corp.example",)),
    "an empty principal name beside a DNS name": named("", dns=("pc1.corp.example",)),
    **{
        f"an invalid principal name: {name!r}": named(name, dns=("pc1.corp.example",))
        for name in (
            "jdoe@",
            "@corp.example",
            "jdoe@corp@example",
            "j doe@corp.example",
            "jdoe@corp.example\n",
            "jdoe\0@corp.example",
            "jdoe@corp.exämple",
            "jdoe@corp example",
            "j\u202edoe@corp.example",  # right-to-left override
            "j\u200bdoe@corp.example",  # zero-width space
            "j\u00a0doe@corp.example",
            "\ufeffjdoe@corp.example",
            f"{'x' * 105}@corp.example",
            f"jdoe@{'x' * 152}",
        )
    },
}


@pytest.mark.parametrize(("facts", "kind", "name"), NAMED.values(), ids=NAMED)
def test_a_certificate_names_a_computer_or_a_user(
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


@pytest.mark.parametrize("facts", NO_NAME.values(), ids=NO_NAME)
@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional", "none"])
def test_a_certificate_without_a_valid_name_is_refused_under_every_policy(
    publication: BridgePublication, facts: CertificateFacts, policy: str
) -> None:
    if not facts.principal_names and facts.dns_names:
        return
    assert reason(authenticate(at(publication, policy), facts)) is Reason.CERTIFICATE_NAME


@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional"])
def test_every_policy_requires_the_client_authentication_purpose(
    publication: BridgePublication, policy: str
) -> None:
    for facts in (PLAIN, named("jdoe@corp.example")):
        refused = authenticate(at(publication, policy), replace(facts, purposes=None))
        assert reason(refused) is Reason.CERTIFICATE_PURPOSE


def test_a_policy_without_certificates_accepts_no_certificate(
    publication: BridgePublication,
) -> None:
    assert reason(authenticate(at(publication, "none"), PLAIN)) is Reason.CERTIFICATE_NAME


@pytest.mark.parametrize("policy", ["computer", "user", "either", "optional", "none"])
def test_a_client_without_a_certificate_is_accepted_only_if_the_policy_allows_it(
    publication: BridgePublication, policy: str
) -> None:
    published = at(publication, policy)
    result = admit_anonymous(published)
    if policy in ("optional", "none"):
        assert may_be_anonymous(published)
        assert result == AnonymousClient(publication.name)
    else:
        assert not may_be_anonymous(published)
        assert isinstance(result, Deny)
        assert result.reason is Reason.CERTIFICATE_MISSING
