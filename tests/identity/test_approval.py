"""Approval of client GUIDs and signatures; each allowed case is next to a refused variant."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ibcm_bridge.authentication.client import AnonymousClient
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusals import requirement
from ibcm_bridge.identity.approval import Approved, SigningKey, approve, approve_claim
from ibcm_bridge.identity.bindings import Binding, BindingStatus, Source
from ibcm_bridge.identity.claims import Claim, read_claim
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.lab.protocol import ccm, documents, signing
from ibcm_bridge.policy.message_policy import (
    CertificateRenewal,
    Enforcement,
    MessagePolicy,
    UnknownGuids,
)
from tests.identity.conftest import GUID, NOW, OTHER, Computer, Get, Message

ENFORCE = MessagePolicy(identity=Enforcement.ENFORCE, signatures=Enforcement.ENFORCE)
OBSERVE = MessagePolicy()
REPORT = documents.inventory_report(GUID, rows=1)
ASKED = documents.policy_request(GUID)


@pytest.fixture(scope="module")
def own_key() -> RSAPrivateKey:
    """The key of a client that does not sign with its certificate's key."""
    return generate_private_key(65537, 2048)


def public(key: RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def bound(computer: Computer, **more: object) -> Binding:
    facts = computer.client.certificate
    fields: dict[str, object] = {
        "guid": GUID,
        "source": Source.REGISTRATION,
        "since": NOW,
        "key": facts.key_sha256,
        "certificate": facts.sha256,
        "name": computer.client.name,
        "signing_key": facts.public_key,
    }
    return Binding(**{**fields, **more})  # type: ignore[arg-type]


def ask(
    inspected: Inspected,
    computer: Computer,
    binding: Binding | None,
    rules: MessagePolicy = ENFORCE,
    now: datetime.datetime = NOW,
) -> Approved | Deny:
    looked_up: list[str] = []

    def find(guid: str) -> Binding | None:
        looked_up.append(guid)
        return binding

    result = approve(inspected, computer.client, find, rules, now)
    assert set(looked_up) <= {GUID, OTHER}
    return result


def allowed(result: Approved | Deny) -> Approved:
    assert isinstance(result, Approved), result
    return result


def reason(result: Approved | Deny) -> Reason:
    assert isinstance(result, Deny), result
    assert requirement(result) == "BRIDGE-IDENTITY"
    return result.reason


# Bindings that cannot be read

UNAVAILABLE = Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, "the database is down")


@pytest.mark.parametrize("enforced", ["identity", "signatures"])
def test_an_enforced_check_refuses_without_bindings(
    message: Message, computer: Computer, enforced: str
) -> None:
    terms = replace(OBSERVE, **{enforced: Enforcement.ENFORCE})  # type: ignore[arg-type]
    claim = read_claim(message(REPORT, key=computer.key))
    assert isinstance(claim, Claim)
    # A signature by another key than the registered one could otherwise pass.
    assert approve_claim(claim, computer.client, UNAVAILABLE, terms, NOW) == UNAVAILABLE


def test_without_bindings_observed_requests_pass_and_are_recorded(
    message: Message, computer: Computer
) -> None:
    claim = read_claim(message(REPORT, key=computer.key))
    assert isinstance(claim, Claim)
    approved = allowed(approve_claim(claim, computer.client, UNAVAILABLE, OBSERVE, NOW))
    assert approved.observed == (UNAVAILABLE,)
    identity = approved.identity
    assert (identity.guid, identity.binding_status, identity.signed_with) == (GUID, None, None)


def test_a_request_without_a_client_guid_needs_no_bindings(
    message: Message, computer: Computer
) -> None:
    key = computer.key
    assert isinstance(key, RSAPrivateKey)
    certificate = computer.credential.certificate
    xml = documents.registration_request(certificate, key, fqdn="pc1.corp.example")
    inspected = message(xml, "MP_ClientRegistration", key=key, guid="")
    claim = read_claim(inspected)
    assert isinstance(claim, Claim)
    approved = allowed(approve_claim(claim, computer.client, UNAVAILABLE, ENFORCE, NOW))
    assert approved.observed == ()


# Client GUIDs


def test_a_client_may_use_the_client_guid_bound_to_its_certificate(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    approved = allowed(ask(inspected, computer, bound(computer)))
    assert approved.inspected is inspected
    assert (approved.identity.guid, approved.identity.binding_status) == (GUID, BindingStatus.BOUND)
    assert approved.identity.signed_with == SigningKey.REGISTERED
    assert approved.observed == ()
    # The same message from another client.
    assert reason(ask(inspected, computer, bound(stranger))) is Reason.IDENTITY_OF_ANOTHER


def test_observe_allows_and_records_the_refusals(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    approved = allowed(ask(inspected, computer, bound(stranger), OBSERVE))
    assert [deny.reason for deny in approved.observed] == [
        Reason.IDENTITY_OF_ANOTHER,
        Reason.SIGNATURE_FORGED,
    ]
    assert approved.identity.binding_status is BindingStatus.ANOTHER_CLIENT
    assert approved.identity.signed_with is None


def test_identity_and_signatures_are_enforced_independently(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    for identity, signatures, expected in (
        (Enforcement.ENFORCE, Enforcement.OBSERVE, Reason.IDENTITY_OF_ANOTHER),
        (Enforcement.OBSERVE, Enforcement.ENFORCE, Reason.SIGNATURE_FORGED),
    ):
        rules = MessagePolicy(identity=identity, signatures=signatures)
        assert reason(ask(inspected, computer, bound(stranger), rules)) is expected


def test_an_unbound_client_guid_is_allowed_or_refused_by_the_policy(
    message: Message, computer: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    approved = allowed(ask(inspected, computer, None))
    assert approved.identity.binding_status is BindingStatus.UNBOUND
    strict = dataclasses.replace(ENFORCE, unknown_guids=UnknownGuids.REFUSE)
    assert reason(ask(inspected, computer, None, strict)) is Reason.IDENTITY_UNKNOWN


def test_a_message_without_a_required_client_guid_is_refused(
    message: Message, computer: Computer
) -> None:
    result = ask(message("<Report/>", guid="", key=computer.key), computer, None)
    assert reason(result) is Reason.IDENTITY_MISSING
    anonymous = message(documents.location_request(), "MP_LocationManager", guid="")
    assert allowed(ask(anonymous, computer, None)).identity.guid == ""


def test_a_request_without_a_client_guid_is_allowed(get: Get, computer: Computer) -> None:
    approved = allowed(ask(get(), computer, None))
    assert (approved.identity.guid, approved.identity.binding_status) == ("", None)


def test_a_client_without_a_certificate_cannot_use_a_bound_client_guid(
    message: Message, computer: Computer
) -> None:
    inspected = message(REPORT, key=computer.key)
    nobody = AnonymousClient(computer.client.publication)
    result = approve(inspected, nobody, lambda _guid: bound(computer), ENFORCE, NOW)
    assert reason(result) is Reason.IDENTITY_OF_ANOTHER
    observed = allowed(approve(inspected, nobody, lambda _guid: None, OBSERVE, NOW))
    assert observed.identity.binding_status is BindingStatus.UNBOUND


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": "pc1.corp.example"}, BindingStatus.NEWLY_BOUND),
        ({"name": "pc1"}, BindingStatus.NEWLY_BOUND),
        ({"name": "pc2"}, None),
        ({"name": "pc1.internet.example"}, None),
        ({"name": "", "certificate": "0" * 64}, None),
    ],
)
def test_a_client_must_match_every_value_of_an_import(
    message: Message, computer: Computer, values: dict[str, str], expected: BindingStatus | None
) -> None:
    imported = bound(
        computer, source=Source.IMPORT, key="", signing_key=b"", **{"certificate": "", **values}
    )
    result = ask(message(REPORT, key=computer.key), computer, imported)
    if expected is None:
        assert reason(result) is Reason.IDENTITY_OF_ANOTHER
    else:
        assert allowed(result).identity.binding_status is expected


def test_a_new_key_with_the_same_name_is_a_renewal_if_the_policy_allows_it(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    before = bound(stranger, name=computer.client.name, signing_key=b"")
    inspected = message(REPORT, key=computer.key)
    assert reason(ask(inspected, computer, before)) is Reason.IDENTITY_OF_ANOTHER
    renewable = dataclasses.replace(ENFORCE, renewal=CertificateRenewal.SAME_NAME)
    renewed = allowed(ask(inspected, computer, before, renewable))
    assert renewed.identity.binding_status is BindingStatus.RENEWED
    other_name = bound(stranger, signing_key=b"")
    assert reason(ask(inspected, computer, other_name, renewable)) is Reason.IDENTITY_OF_ANOTHER


# Signatures


def test_a_client_with_a_registered_key_must_sign_with_it(
    message: Message, computer: Computer, own_key: RSAPrivateKey
) -> None:
    with_own = bound(computer, signing_key=public(own_key))
    signed = allowed(ask(message(REPORT, key=own_key), computer, with_own))
    assert signed.identity.signed_with == SigningKey.REGISTERED
    result = ask(message(REPORT, key=computer.key), computer, with_own)
    assert reason(result) is Reason.SIGNATURE_FORGED


def test_a_remembered_signature_does_not_outlive_a_binding(
    message: Message, computer: Computer, stranger: Computer, own_key: RSAPrivateKey
) -> None:
    signed = message(REPORT, key=own_key)
    for _ in range(2):
        allowed(ask(signed, computer, bound(computer, signing_key=public(own_key))))
    other_key = bound(computer, signing_key=public(computer.key))
    assert reason(ask(signed, computer, other_key)) is Reason.SIGNATURE_FORGED
    other_client = bound(stranger, signing_key=public(own_key))
    assert reason(ask(signed, computer, other_client)) is Reason.IDENTITY_OF_ANOTHER


def test_without_a_registered_key_the_certificates_or_the_messages_key_signs(
    message: Message, computer: Computer, own_key: RSAPrivateKey
) -> None:
    unknown = bound(computer, signing_key=b"")
    for key, kind in ((computer.key, SigningKey.CERTIFICATE), (own_key, SigningKey.IN_MESSAGE)):
        for binding in (unknown, None):
            approved = allowed(ask(message(REPORT, key=key), computer, binding))
            assert approved.identity.signed_with == kind
            assert approved.identity.signing_key == public(key)


def test_a_message_without_a_required_signature_is_refused(
    message: Message, computer: Computer
) -> None:
    assert reason(ask(message(REPORT), computer, bound(computer))) is Reason.SIGNATURE_MISSING
    anonymous = message(documents.location_request(), "MP_LocationManager", guid="")
    allowed(ask(anonymous, computer, None))


Change = Callable[[bytes], bytes]


def replaced(what: str, by: str) -> Change:
    def change(body: bytes) -> bytes:
        before, after = what.encode("utf-16-le"), by.encode("utf-16-le")
        assert body.count(before) == 1, what
        return body.replace(before, after)

    return change


@pytest.mark.parametrize("name", ["ClientIDSignature", "PayloadSignature"])
def test_a_changed_signature_is_refused(
    message: Message, send: Callable[..., Inspected], computer: Computer, name: str
) -> None:
    body = message(REPORT, key=computer.key).body
    allowed(ask(send(body), computer, bound(computer)))
    value = ccm.read_message(body).hook_properties()[name]
    for other in (value[2:] + value[:2], value[:-2], "", "00", "not hexadecimal", value + "00"):
        forged = send(replaced(f">{value}<", f">{other}<")(body))
        expected = Reason.SIGNATURE_FORGED if other else Reason.SIGNATURE_MISSING
        assert reason(ask(forged, computer, bound(computer))) is expected
        observed = allowed(ask(forged, computer, bound(computer), OBSERVE)).observed
        assert [deny.reason for deny in observed] == [expected]


def test_a_payload_with_the_signature_of_another_payload_is_refused(
    send: Callable[..., Inspected], message: Message, computer: Computer
) -> None:
    signed = ccm.read_message(message(REPORT, key=computer.key).body)
    other = ccm.read_message(message(REPORT.replace("PC1", "PC2"), key=computer.key).body)
    assert other.payload is not None
    body = ccm.raw_message(signed.header_xml, other.payload)
    assert reason(ask(send(body), computer, bound(computer))) is Reason.SIGNATURE_FORGED


def fields(key: RSAPrivateKey, timestamp: str = ccm.SENT_TIME) -> list[str]:
    found = signing.identification_headers(GUID, key, timestamp)
    return [f"{name}: {value}" for name, value in found.items()]


def test_the_header_fields_of_a_get_must_be_signed_by_the_client(
    get: Get, computer: Computer, stranger: Computer
) -> None:
    approved = allowed(ask(get(*fields(computer.key)), computer, bound(computer)))
    assert (approved.identity.guid, approved.identity.signed_with) == (GUID, SigningKey.REGISTERED)
    assert reason(ask(get(*fields(computer.key)), stranger, bound(computer))) is (
        Reason.IDENTITY_OF_ANOTHER
    )
    forged = get(*fields(stranger.key))
    assert reason(ask(forged, computer, bound(computer))) is Reason.SIGNATURE_FORGED
    for left_out in (1, 3):
        some = [field for at, field in enumerate(fields(computer.key)) if at != left_out]
        assert reason(ask(get(*some), computer, bound(computer))) is Reason.SIGNATURE_MISSING


def test_the_documented_spelling_of_a_field_is_accepted(get: Get, computer: Computer) -> None:
    spelt = [field.replace("TimestampSig", "TimestampsSig") for field in fields(computer.key)]
    assert spelt != fields(computer.key)
    allowed(ask(get(*spelt), computer, bound(computer)))


def token(key: RSAPrivateKey, text: str) -> list[str]:
    return [
        f"ClientToken: {text}",
        f"ClientTokenSignature: {signing.sign(key, signing.terminated(text))}",
    ]


def test_a_token_must_be_signed_by_the_client_and_current(get: Get, computer: Computer) -> None:
    good = get(*token(computer.key, f"{GUID};2026-01-01T00:00:00Z;2"))
    assert allowed(ask(good, computer, bound(computer))).identity.guid == GUID
    stale = get(*token(computer.key, f"{GUID};2025-12-31T23:00:00Z;2"))
    assert reason(ask(stale, computer, bound(computer))) is Reason.TIMESTAMP_STALE
    unsigned = get(token(computer.key, f"{GUID};2026-01-01T00:00:00Z;2")[0])
    assert reason(ask(unsigned, computer, bound(computer))) is Reason.SIGNATURE_MISSING


@pytest.mark.parametrize(
    ("timestamp", "current"),
    [
        ("2026-01-01T00:00:00Z", True),
        ("2025-12-31T23:45:00Z", True),
        ("2026-01-01T00:15:00+00:00Z", True),
        ("2025-12-31T23:44:59Z", False),
        ("2026-01-01T00:15:01Z", False),
        ("2099-01-01T00:00:00Z", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_signed_time_must_be_close_to_the_current_time(
    get: Get, computer: Computer, timestamp: str, current: bool
) -> None:
    result = ask(get(*fields(computer.key, timestamp)), computer, bound(computer))
    if current:
        allowed(result)
    else:
        assert reason(result) is Reason.TIMESTAMP_STALE


# Registration


def registration(computer: Computer, key: RSAPrivateKey) -> str:
    return documents.registration_request(
        computer.credential.certificate, key, fqdn="pc1.corp.example"
    )


def test_a_registration_must_be_signed_with_the_key_it_registers(
    message: Message, computer: Computer, own_key: RSAPrivateKey
) -> None:
    good = message(registration(computer, computer.key), "MP_ClientRegistration", guid="")
    approved = allowed(ask(good, computer, None))
    facts = approved.inspected.message
    assert facts is not None
    assert facts.registration is not None
    assert facts.registration.key == computer.client.certificate.public_key
    forged = message(registration(computer, own_key), "MP_ClientRegistration", guid="")
    assert reason(ask(forged, computer, None)) is Reason.SIGNATURE_FORGED


def test_a_client_cannot_register_with_another_clients_guid(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    xml = registration(computer, computer.key).replace('SMSID=""', f'SMSID="{GUID}"')
    again = message(xml, "MP_ClientRegistration", guid="")
    assert reason(ask(again, computer, bound(stranger))) is Reason.IDENTITY_OF_ANOTHER


# Encrypted messages


def test_an_encrypted_message_is_observed(message: Message, computer: Computer) -> None:
    read = message(REPORT, key=computer.key)
    assert read.message is not None
    unread = dataclasses.replace(read, message=dataclasses.replace(read.message, encrypted=True))
    approved = allowed(ask(unread, computer, bound(computer)))
    assert [(deny.reason, deny.rule) for deny in approved.observed] == [
        (Reason.BODY_NOT_INSPECTABLE, "messages.encrypted")
    ]
    assert allowed(ask(read, computer, bound(computer))).observed == ()
