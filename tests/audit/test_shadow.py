"""Another policy judges an ended request: what differs, what does not, and what it cannot judge."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.audit.shadow import Judged, JudgedRequest, Outcome, Shadow, Unjudged
from ibcm_bridge.authentication.certificate import CertificateFacts, certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.identity.approval import Approved, FoundBindings, approve
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.inspection import verdict
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy.message_policy import (
    CertificateRenewal,
    Enforcement,
    MessagePolicy,
    UnknownGuids,
)
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener, TunnelPublication
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.uploads.session import UploadPart
from tests.policy_samples import SHIPPED

NAME = "bridge.internet.example"
GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
LIST = "/SMS_MP/.sms_aut?MPLIST"
ENFORCED = MessagePolicy(identity=Enforcement.ENFORCE, unknown_guids=UnknownGuids.REFUSE)
SIGNED = MessagePolicy(signatures=Enforcement.ENFORCE)
UNAVAILABLE = Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, "db1 does not respond")
ANOTHERS = Binding(GUID, Source.POLICY, NOW, key="0" * 64, name="pc1.corp.example")


@pytest.fixture(scope="module")
def used(directory: Path) -> Policy:
    file = directory / "bridge.yaml"
    file.write_text(SHIPPED)
    return load_policy(file)


@pytest.fixture(scope="module")
def more(directory: Path) -> Policy:
    """The same policy with an added endpoint."""
    file = directory / "more.yaml"
    added = 'extra_messages: [{endpoint: MP_Own, root: Report, because: "a reason for the tests"}]'
    line = "        connect: 127.0.0.1:9443 "
    file.write_text(SHIPPED.replace(line, f"        {added}\n{line}", 1))
    return load_policy(file)


@pytest.fixture(scope="module")
def certificate(pki: LabPki) -> CertificateFacts:
    return certificate_facts(pki.computer("pc1.corp.example").certificate)


def published(policy: Policy) -> BridgePublication:
    listener = policy.listeners[0]
    assert isinstance(listener, Listener)
    publication = listener.publications[NAME]
    assert isinstance(publication, BridgePublication)
    return publication


def replaced(policy: Policy, publication: Any, **changes: Any) -> Policy:
    """The policy with another publication in place of the bridged one."""
    first, *others = policy.listeners
    assert isinstance(first, Listener)
    left = {name: other for name, other in first.publications.items() if name != NAME}
    added = {publication.name: publication} if publication is not None else {}
    listener = dataclasses.replace(first, publications={**left, **added})
    return dataclasses.replace(policy, listeners=(listener, *others), **changes)


def observing(policy: Policy) -> Policy:
    return replaced(policy, dataclasses.replace(published(policy), observe_because="a pilot"))


def with_verb(policy: Policy, verb: bytes) -> Policy:
    """The policy with an added verb for the management point."""
    publication = published(policy)
    role = publication.directories["sms_mp"]
    bodies = {**role.profile.bodies, verb: role.profile.bodies[b"GET"]}
    directory = role.profile.directories["sms_mp"]
    rows = tuple(
        dataclasses.replace(row, methods=row.methods | {verb}) for row in directory.resources
    )
    directories = {"sms_mp": dataclasses.replace(directory, resources=rows)}
    profile = dataclasses.replace(role.profile, bodies=bodies, directories=directories)
    directories = {"sms_mp": dataclasses.replace(role, profile=profile)}
    return replaced(policy, dataclasses.replace(publication, directories=directories))


def message(endpoint: str = "MP_HinvEndpoint", root: str = "Report") -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=f"<{root}/>", client_guid=GUID)


class Sent:
    """A request that the policy in use has judged."""

    def __init__(
        self,
        policy: Policy,
        certificate: CertificateFacts,
        method: str = "GET",
        target: str = LIST,
        body: bytes = b"",
        before: Binding | None = None,
        fields: str = f"Content-Type: {ccm.CONTENT_TYPE}\r\n",
    ) -> None:
        self.policy = policy
        self.before = before
        """The binding of GUID before the request."""
        length = f"Content-Length: {len(body)}\r\n{fields}" if body else ""
        raw = f"{method} {target} HTTP/1.1\r\nHost: {NAME}:8443\r\n{length}\r\n"
        head = read_request_head(raw.encode())
        assert isinstance(head, RequestHead)
        self.at_hand: dict[str, Binding | None] = {}
        """The bindings that the shadow can read."""
        self.judged = self._judge(head, certificate, body)
        was_read = isinstance(self.judged.head, Authorized)
        address = policy.listeners[0].address
        self.request = JudgedRequest(
            address, NAME, certificate, head, body if was_read else b"", self.judged
        )

    def _judge(self, head: RequestHead, certificate: CertificateFacts, body: bytes) -> Judged:
        publication = published(self.policy)
        client = authenticate(publication, certificate)
        assert isinstance(client, AuthenticatedClient)
        judged = Judged(authorize(client, publication, self.policy.never, head))
        if isinstance(judged.head, Authorized):
            packet = judged.head.packet
            part = None if packet is None else UploadPart(packet, None)
            judged.body = inspect(judged.head, body, (), part)
        if isinstance(judged.body, Inspected):
            terms, judged.bindings = self.policy.messages, {GUID: self.before}
            judged.approved = approve(judged.body, client, judged.bindings.get, terms, NOW)
        return judged

    def outcome(self, other: Policy) -> Outcome | None:
        """The outcome of another policy, if it differs."""

        def at_hand(guid: str) -> FoundBindings:
            return {guid: self.at_hand[guid]} if guid in self.at_hand else {}

        return Shadow(self.policy, other).judge(self.request, at_hand, NOW)


def posted(
    policy: Policy, certificate: CertificateFacts, body: bytes, before: Binding | None = None
) -> Sent:
    return Sent(policy, certificate, "CCM_POST", "/ccm_system/request", body, before)


def reason_of(outcome: Outcome | None) -> Reason:
    """The reason of an enforced refusal."""
    assert outcome is not None
    assert outcome.enforced
    assert outcome.denial is not None
    return outcome.denial.reason


def test_the_same_policy_differs_in_nothing(used: Policy, certificate: CertificateFacts) -> None:
    for sent in (
        Sent(used, certificate),
        Sent(used, certificate, "DELETE"),
        posted(used, certificate, message()),
        posted(used, certificate, message("MP_Own")),
    ):
        assert sent.outcome(used) is None


def test_a_verb_that_only_the_other_policy_allows(
    used: Policy, certificate: CertificateFacts
) -> None:
    more = with_verb(used, b"DELETE")
    assert Sent(used, certificate, "DELETE").outcome(more) == Outcome()
    refused = Sent(more, certificate, "DELETE").outcome(used)
    assert refused is not None
    assert refused.enforced
    assert refused.denial is not None
    assert (refused.denial.reason, refused.denial.rule) == (Reason.VERB, "management-point.verbs")


def test_a_body_that_was_not_read_is_not_judged(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = Sent(used, certificate, "PUT", "/ccm_system/request", b"hello")
    assert isinstance(sent.judged.head, Deny)
    outcome = sent.outcome(observing(used))
    assert outcome is not None
    assert (outcome.enforced, outcome.not_judged) == (False, Unjudged.BODY)
    assert outcome.denial == sent.judged.head


def test_an_observing_policy_allows_what_another_refuses(
    used: Policy, certificate: CertificateFacts
) -> None:
    pilot = observing(used)
    observed = posted(pilot, certificate, message("MP_Own")).outcome(used)
    assert observed is not None
    assert observed.enforced
    assert observed.denial is not None
    assert observed.denial.reason is Reason.ENDPOINT
    only_observed = posted(used, certificate, message("MP_Own")).outcome(pilot)
    assert only_observed == Outcome(observed.denial)


def test_a_large_body_is_not_parsed_again(
    used: Policy, certificate: CertificateFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = posted(used, certificate, message("MP_Own"))
    allowed = posted(used, certificate, message())
    monkeypatch.setattr(verdict, "SMALL", 10)
    for sent in (refused, allowed):
        assert sent.outcome(observing(used)) == Outcome(not_judged=Unjudged.BODY)


def test_the_data_of_an_upload_is_never_judged(used: Policy, certificate: CertificateFacts) -> None:
    publication = published(used)
    role = publication.directories["ccm_incoming"]
    fewer = {verb: row for verb, row in role.profile.bodies.items() if verb != b"BITS_POST"}
    other = dataclasses.replace(role, profile=dataclasses.replace(role.profile, bodies=fewer))
    directories = {**publication.directories, "ccm_incoming": other}
    strict = replaced(used, dataclasses.replace(publication, directories=directories))
    fields = (
        f"BITS-Packet-Type: Fragment\r\nBITS-Session-Id: {{{GUID[5:]}}}\r\n"
        "Content-Name: x.msg\r\nContent-Range: bytes 0-4/10\r\n"
    )
    packet = "BITS_POST", "/CCM_Incoming/x.msg", b"hello"
    allowed = Sent(used, certificate, *packet, fields=fields)
    assert isinstance(allowed.judged.body, Inspected)
    assert allowed.outcome(observing(used)) is None, "no record for each packet"
    assert reason_of(allowed.outcome(strict)) is Reason.VERB
    refused = Sent(strict, certificate, *packet, fields=fields)
    assert refused.outcome(used) == Outcome(not_judged=Unjudged.UPLOAD)


def test_a_body_is_not_parsed_again_if_its_rules_are_the_same(
    used: Policy, certificate: CertificateFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = posted(used, certificate, message())
    monkeypatch.setattr(verdict, "read_and_scan", None)
    assert sent.outcome(used) is None
    enforced = sent.outcome(dataclasses.replace(used, messages=ENFORCED))
    assert reason_of(enforced) is Reason.IDENTITY_UNKNOWN


def test_a_binding_that_the_request_itself_made_is_not_known(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = posted(used, certificate, message())
    assert isinstance(sent.judged.approved, Approved)
    sent.at_hand[GUID] = Binding(GUID, Source.POLICY, NOW, key=certificate.key_sha256)
    enforced = sent.outcome(dataclasses.replace(used, messages=ENFORCED))
    assert reason_of(enforced) is Reason.IDENTITY_UNKNOWN


def test_a_binding_that_the_request_itself_renewed_is_that_of_before(
    used: Policy, certificate: CertificateFacts
) -> None:
    renewing = MessagePolicy(identity=Enforcement.ENFORCE, renewal=CertificateRenewal.SAME_NAME)
    renewed = posted(dataclasses.replace(used, messages=renewing), certificate, message(), ANOTHERS)
    assert isinstance(renewed.judged.approved, Approved)
    renewed.at_hand[GUID] = dataclasses.replace(ANOTHERS, key=certificate.key_sha256)
    strict = renewed.outcome(dataclasses.replace(used, messages=ENFORCED))
    assert reason_of(strict) is Reason.IDENTITY_OF_ANOTHER


@pytest.mark.parametrize("messages", [ENFORCED, SIGNED])
def test_without_a_binding_the_identity_is_not_judged(
    used: Policy, more: Policy, certificate: CertificateFacts, messages: MessagePolicy
) -> None:
    refused = posted(used, certificate, message("MP_Own"))
    assert isinstance(refused.judged.body, Deny)
    assert refused.judged.bindings == {}
    stricter = dataclasses.replace(more, messages=messages)
    assert refused.outcome(stricter) == Outcome(not_judged=Unjudged.IDENTITY)
    assert refused.outcome(more) == Outcome(), "a binding would change nothing"


def test_an_identity_that_is_not_judged_is_reported_without_a_difference(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = posted(used, certificate, message())
    sent.judged.bindings = {}
    enforced = sent.outcome(dataclasses.replace(used, messages=ENFORCED))
    assert enforced == Outcome(not_judged=Unjudged.IDENTITY)


def test_a_binding_at_hand_is_used_if_the_policy_in_use_has_read_none(
    used: Policy, more: Policy, certificate: CertificateFacts
) -> None:
    own = dataclasses.replace(ANOTHERS, key=certificate.key_sha256)
    allowing = dataclasses.replace(more, messages=ENFORCED)
    refused = posted(used, certificate, message("MP_Own"))
    refused.at_hand[GUID] = own
    assert refused.outcome(allowing) == Outcome()
    refused.at_hand[GUID] = ANOTHERS
    assert reason_of(refused.outcome(allowing)) is Reason.IDENTITY_OF_ANOTHER
    refused.at_hand[GUID] = None
    assert reason_of(refused.outcome(allowing)) is Reason.IDENTITY_UNKNOWN


def test_an_unavailable_binding_is_unavailable_for_both_policies(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = posted(used, certificate, message())
    sent.judged.bindings = UNAVAILABLE
    sent.at_hand[GUID] = dataclasses.replace(ANOTHERS, key=certificate.key_sha256)
    enforced = sent.outcome(dataclasses.replace(used, messages=ENFORCED))
    assert enforced == Outcome(UNAVAILABLE, enforced=True)
    assert sent.outcome(used) is None


def test_malware_is_not_scanned_again(used: Policy, certificate: CertificateFacts) -> None:
    sent = posted(used, certificate, message())
    found = Deny(Reason.MALICIOUS_CONTENT, rules.ENGINE.of("yara-x"), "EICAR in text")
    sent.judged.body, sent.judged.approved = found, None
    assert sent.outcome(used) is None
    assert sent.outcome(observing(used)) is None


def test_a_request_that_ended_before_its_approval_is_not_compared(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = posted(used, certificate, message())
    assert isinstance(sent.judged.body, Inspected)
    sent.judged.approved = None
    assert sent.outcome(used) is None
    assert sent.outcome(replaced(used, None)) is None


def test_a_publication_that_the_other_policy_does_not_have(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = Sent(used, certificate)
    for other in (replaced(used, None), dataclasses.replace(used, listeners=())):
        outcome = sent.outcome(other)
        assert outcome is not None
        assert outcome.denial is not None
        assert outcome.denial.reason is Reason.UNKNOWN_NAME
    tunnel = TunnelPublication(NAME, 443, ("192.0.2.1", 443), ())
    assert sent.outcome(replaced(used, tunnel)) is None, "a tunnel refuses nothing"
    assert Sent(used, certificate, "DELETE").outcome(replaced(used, tunnel)) == Outcome()


def test_a_certificate_that_the_other_policy_does_not_accept(
    used: Policy, certificate: CertificateFacts
) -> None:
    sent = Sent(used, certificate)
    sent.request = dataclasses.replace(sent.request, certificate=None)
    outcome = sent.outcome(used)
    assert outcome is not None
    assert outcome.denial is not None
    assert outcome.denial.reason is Reason.CERTIFICATE_MISSING


@pytest.mark.parametrize("stage", ["head", "body", "approved"])
def test_a_defect_or_an_unread_request_is_not_compared(
    used: Policy, certificate: CertificateFacts, stage: str
) -> None:
    sent = Sent(used, certificate)
    broken = Deny(Reason.BRIDGE_DEFECT, rules.EXCHANGE)
    sent.judged.head = sent.judged.head if stage != "head" else broken
    sent.judged.body = None if stage == "head" else broken
    sent.judged.approved = broken if stage == "approved" else None
    assert sent.outcome(replaced(used, None)) is None
    sent.judged.head = sent.judged.body = sent.judged.approved = None
    assert sent.outcome(replaced(used, None)) is None
