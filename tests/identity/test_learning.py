"""Bindings are learned only from a management point's replies."""

from __future__ import annotations

import datetime

import pytest

from ibcm_bridge.authentication.client import AnonymousClient
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, approve
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.identity.learning import learned_binding, updated_binding
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.policy.message_policy import CertificateRenewal, MessagePolicy
from tests.identity.conftest import GUID, NOW, OTHER, Computer, Message
from tests.identity.test_approval import bound, own_key, public, registration  # noqa: F401 - a fixture

LATER = NOW + datetime.timedelta(hours=1)
ASKED = documents.policy_request(GUID)


def learn(
    approved: Approved,
    computer: Computer,
    binding: Binding | None,
    *,
    registered: str = "",
    gives_policy: bool = False,
    renewal: CertificateRenewal = CertificateRenewal.SAME_KEY,
) -> Binding | Deny | None:
    return learned_binding(
        approved,
        computer.client,
        binding,
        registered=registered,
        gives_policy=gives_policy,
        renewal=renewal,
        now=LATER,
    )


def approve_for(inspected: object, computer: Computer, binding: Binding | None = None) -> Approved:
    result = approve(inspected, computer.client, lambda _: binding, MessagePolicy(), NOW)  # type: ignore[arg-type]
    assert isinstance(result, Approved), result
    return result


@pytest.fixture(scope="module")
def registers(message: Message, computer: Computer) -> Approved:
    xml = registration(computer, computer.key)
    return approve_for(message(xml, "MP_ClientRegistration", guid=""), computer)


def test_the_reply_to_a_registration_binds_the_client_guid(
    registers: Approved, computer: Computer
) -> None:
    facts = computer.client.certificate
    assert learn(registers, computer, None, registered=GUID) == Binding(
        guid=GUID,
        source=Source.REGISTRATION,
        since=LATER,
        key=facts.key_sha256,
        certificate=facts.sha256,
        name="pc1.corp.example",
        signing_key=facts.public_key,
    )
    # The reply has no client GUID.
    assert learn(registers, computer, None) is None
    assert learn(registers, computer, None, gives_policy=True) is None


def test_a_registration_signed_with_another_key_binds_nothing(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    xml = registration(computer, stranger.key)
    unproven = approve_for(message(xml, "MP_ClientRegistration", guid=""), computer)
    assert learn(unproven, computer, None, registered=GUID) is None


def test_a_client_guid_in_another_reply_binds_nothing(message: Message, computer: Computer) -> None:
    approved = approve_for(message(ASKED, "MP_PolicyManager", key=computer.key), computer)
    assert learn(approved, computer, None, registered=OTHER) is None


def test_a_message_with_unequal_client_guids_binds_nothing(
    message: Message, computer: Computer
) -> None:
    # With `observe` it is forwarded; the management point decides which one counts.
    more = f"<Other><ClientID>{OTHER}</ClientID></Other></Identification>"
    xml = ASKED.replace("</Identification>", more)
    request = message(xml, "MP_PolicyManager", key=computer.key)
    approved = approve_for(request, computer)
    assert [deny.reason for deny in approved.observed] == [Reason.IDENTITY_AMBIGUOUS]
    assert learn(approved, computer, None, gives_policy=True) is None
    xml = registration(computer, computer.key)
    approved = approve_for(message(xml, "MP_ClientRegistration", guid=""), computer)
    assert isinstance(learn(approved, computer, None, registered=GUID), Binding)
    again = documents.registration_request(
        computer.credential.certificate, computer.key, fqdn="pc1.corp.example", client_guid=GUID
    ).replace("<Data ", f'<Data SMSUniqueIdentifier="{OTHER}" ')
    approved = approve_for(message(again, "MP_ClientRegistration", key=computer.key), computer)
    assert learn(approved, computer, None, registered=GUID) is None


def test_a_client_guid_of_another_client_remains_bound(
    registers: Approved, computer: Computer, stranger: Computer
) -> None:
    result = learn(registers, computer, bound(stranger), registered=GUID)
    assert isinstance(result, Deny)
    assert result.reason is Reason.IDENTITY_OF_ANOTHER
    # It is bound to this client already.
    assert learn(registers, computer, bound(computer), registered=GUID) is None


def test_a_client_may_register_another_signing_key(
    registers: Approved, computer: Computer, stranger: Computer
) -> None:
    before = bound(computer, signing_key=stranger.client.certificate.public_key)
    result = learn(registers, computer, before, registered=GUID)
    assert isinstance(result, Binding)
    assert result.signing_key == computer.client.certificate.public_key


def test_policy_for_a_signed_request_binds_a_client_that_registered_before(
    message: Message,
    computer: Computer,
    own_key: object,  # noqa: F811
) -> None:
    for key in (computer.key, own_key):
        approved = approve_for(message(ASKED, "MP_PolicyManager", key=key), computer)
        result = learn(approved, computer, None, gives_policy=True)
        assert isinstance(result, Binding)
        assert (result.guid, result.source) == (GUID, Source.POLICY)
        assert result.signing_key == public(key)  # type: ignore[arg-type]
        assert learn(approved, computer, None) is None
        # The signing key of an imported client is learned, too.
        known = bound(computer, signing_key=b"")
        result = learn(approved, computer, known, gives_policy=True)
        assert isinstance(result, Binding)
        assert result.signing_key == public(key)  # type: ignore[arg-type]


def test_policy_for_an_unsigned_request_binds_nothing(message: Message, computer: Computer) -> None:
    approved = approve_for(message(ASKED, "MP_PolicyManager"), computer)
    assert learn(approved, computer, None, gives_policy=True) is None


def test_policy_does_not_change_a_known_key(
    message: Message, computer: Computer, stranger: Computer
) -> None:
    approved = approve_for(message(ASKED, "MP_PolicyManager", key=computer.key), computer)
    known = bound(computer, signing_key=stranger.client.certificate.public_key)
    assert learn(approved, computer, known, gives_policy=True) is None
    result = learn(approved, computer, bound(stranger), gives_policy=True)
    assert isinstance(result, Deny)


def test_a_client_without_a_certificate_is_not_bound(
    registers: Approved, computer: Computer
) -> None:
    nobody = AnonymousClient(computer.client.publication)
    learned = learned_binding(
        registers,
        nobody,
        None,
        registered=GUID,
        gives_policy=False,
        renewal=CertificateRenewal.SAME_KEY,
        now=NOW,
    )
    assert learned is None
    assert updated_binding(bound(computer), nobody, CertificateRenewal.SAME_NAME, NOW) is None


def test_an_import_is_bound_to_the_first_matching_key(
    computer: Computer, stranger: Computer
) -> None:
    imported = Binding(GUID, Source.IMPORT, NOW, name="pc1")
    result = updated_binding(imported, computer.client, CertificateRenewal.SAME_KEY, LATER)
    assert result is not None
    assert (result.key, result.source, result.since) == (
        computer.client.certificate.key_sha256,
        Source.IMPORT,
        LATER,
    )
    assert updated_binding(imported, stranger.client, CertificateRenewal.SAME_KEY, LATER) is None
    assert updated_binding(result, computer.client, CertificateRenewal.SAME_KEY, LATER) is None


def test_a_renewed_certificate_replaces_the_old_one(computer: Computer, stranger: Computer) -> None:
    before = bound(stranger, name="pc1.corp.example")
    assert updated_binding(before, computer.client, CertificateRenewal.SAME_KEY, LATER) is None
    result = updated_binding(before, computer.client, CertificateRenewal.SAME_NAME, LATER)
    assert result is not None
    assert (result.source, result.signing_key) == (Source.RENEWAL, b"")
