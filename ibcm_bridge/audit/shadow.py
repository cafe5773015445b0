"""Judges an ended request by another policy: the shadow, which has no effect on the request.

A request is judged after its end, from what the bridge kept of it. The shadow sends nothing, learns
nothing, opens no upload session and scans nothing:

- The engines' result is that of the policy in use. If the rules for the body differ, a small body
  is parsed again, without engines.
- Of an upload, only the heads of its packets are judged.
- The bindings are those that the policy in use has read for its own decision. If it has not read
  the one of a client GUID, the shadow takes what is at hand, and never waits for a database.
- Never judged: the trust, revocation and TLS settings of certificates; sizes, times and other
  limits; site systems and their responses; malware rules.
- `Outcome.not_judged` names what is missing for one request. For example, the body was never read
  if the shadow would allow a head that the policy in use refuses.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import Client, admit_anonymous, authenticate
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.identity.approval import Approved, FindBinding, FoundBindings, approve_claim
from ibcm_bridge.identity.claims import read_claim
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import Inspected, inspect_small, inspected_again
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    HttpPublication,
    Listener,
    PlaintextPublication,
    TunnelPublication,
)
from ibcm_bridge.request.authorization import Authorized, authorize
from ibcm_bridge.request.head import RequestHead

_FOUND_BY_ENGINES = frozenset(
    (Reason.MALICIOUS_CONTENT, Reason.ENGINE_UNAVAILABLE, Reason.OVERLOADED)
)

_NOT_READ = Deny(Reason.IDENTITY_UNAVAILABLE, rules.MESSAGES_BINDINGS, "the binding was not read")
"""In place of a binding. An outcome with it is unknown."""

BindingsAtHand = Callable[[str], FoundBindings]
"""Client GUID -> its binding now; nothing if that would wait."""


class Unjudged(StrEnum):
    """The part of a request that is not judged."""

    BODY = "body"
    """The body: it was not read, or is too large to be parsed again."""
    UPLOAD = "upload"
    """The data of an upload packet, which is never judged."""
    IDENTITY = "identity"
    """The client GUID and the signatures: the binding was not read."""


@dataclass(slots=True)
class Judged:
    """The decisions of the policy in use on a request; None for a stage that it did not reach."""

    head: Authorized | Deny | None = None
    body: Inspected | Deny | None = None
    approved: Approved | Deny | None = None
    bindings: FoundBindings | Deny = field(default_factory=dict)
    """The bindings that the approval was decided by, or why they were unavailable."""


@dataclass(frozen=True, slots=True)
class JudgedRequest:
    """An ended request, as far as another policy can judge it."""

    listener: Address
    server_name: str | None
    certificate: CertificateFacts | None
    """The certificate that the client presented, if the policy in use accepted it."""
    head: RequestHead
    body: bytes = b""
    judged: Judged = field(default_factory=Judged)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a policy judges a request."""

    denial: Deny | None = None
    """Why it is refused, or would be refused without `observe`."""
    enforced: bool = False
    """True if it is refused."""
    not_judged: Unjudged | None = None
    """What would still be judged, and could change the outcome."""

    def differs_from(self, other: Outcome) -> bool:
        """Return whether the audit would have another verdict, reason or rule."""
        return self._compared != other._compared

    @property
    def _compared(self) -> tuple[bool, tuple[Reason, rules.Rule] | None]:
        denial = self.denial
        return self.enforced, None if denial is None else (denial.reason, denial.rule)


@dataclass(frozen=True, slots=True)
class Shadow:
    """Two policies: the one in use, and the one that is compared with it."""

    used: Policy
    policy: Policy

    def judge(
        self, request: JudgedRequest, at_hand: BindingsAtHand, now: datetime.datetime
    ) -> Outcome | None:
        """Return the other policy's outcome if it differs, or is not known. `now` in UTC."""
        used = _used(request.judged)
        if used is None:
            return None
        found = self._outcome(request, at_hand, now)
        is_unknown = found.not_judged in (Unjudged.BODY, Unjudged.IDENTITY)
        return found if is_unknown or found.differs_from(used) else None

    def _outcome(
        self, request: JudgedRequest, at_hand: BindingsAtHand, now: datetime.datetime
    ) -> Outcome:
        head = authorize_by(self.policy, request)
        if head is None:
            return Outcome()  # nothing is inspected
        if isinstance(head, Deny):
            return Outcome(head, enforced=True)
        has_body = bool(head.head.length)
        if head.packet is not None:
            return _allowed(head.would_refuse, Unjudged.UPLOAD if has_body else None)
        if has_body and request.judged.body is None:
            return _allowed(head.would_refuse, Unjudged.BODY)
        return self._judge_body(head, request, at_hand, now)

    def _judge_body(
        self,
        head: Authorized,
        request: JudgedRequest,
        at_hand: BindingsAtHand,
        now: datetime.datetime,
    ) -> Outcome:
        used, body = request.judged, None
        if isinstance(used.head, Authorized):
            body = inspected_again(head, request.body, used.head, used.body)
        same = body is not None
        if isinstance(used.body, Deny) and used.body.reason in _FOUND_BY_ENGINES:
            body = used.body
        if body is None:
            parsed = inspect_small(head, request.body, ())
            if isinstance(parsed, Subject):
                return _allowed(head.would_refuse, Unjudged.BODY)
            body = parsed
        if isinstance(body, Deny):
            return Outcome(body, enforced=True)
        if same and self._has_same_identity(head, used):
            return _same_approval(body, used)
        return self._judge_identity(body, request, at_hand, now)

    def _judge_identity(
        self,
        body: Inspected,
        request: JudgedRequest,
        at_hand: BindingsAtHand,
        now: datetime.datetime,
    ) -> Outcome:
        claim = read_claim(body)
        if isinstance(claim, Deny):
            return Outcome(claim, enforced=True)
        client = _client(_http(self.policy, request), request.certificate)
        assert not isinstance(client, Deny)
        find = _finder(claim.guid, request.judged.bindings, at_hand)
        approved = approve_claim(claim, client, find, self.policy.messages, now)
        if approved is _NOT_READ:
            return _allowed(body.would_refuse, Unjudged.IDENTITY)
        if isinstance(approved, Deny):
            return Outcome(approved, enforced=True)
        return _allowed(approved.would_refuse)

    def _has_same_identity(self, head: Authorized, used: Judged) -> bool:
        """Return whether client GUIDs and signatures are judged in the same way."""
        if not isinstance(used.head, Authorized) or head.observing != used.head.observing:
            return False
        return self.policy.messages == self.used.messages


def _used(judged: Judged) -> Outcome | None:
    """The outcome of the policy in use; None if a circumstance ended the request before."""
    if judged.head is None:
        return None
    if isinstance(judged.body, Inspected) and judged.approved is None:
        return None
    for decision in (judged.approved, judged.body, judged.head):
        if isinstance(decision, Deny):
            # A defect, such as an audit that cannot be written, is not a decision of a policy.
            broken = decision.reason is Reason.BRIDGE_DEFECT
            return None if broken else Outcome(decision, enforced=True)
        if decision is not None:
            return _allowed(decision.would_refuse)
    return None


def _allowed(would_refuse: tuple[Observed, ...], not_judged: Unjudged | None = None) -> Outcome:
    denial = would_refuse[0].denial if would_refuse else None
    return Outcome(denial, not_judged=not_judged)


def _same_approval(body: Inspected, used: Judged) -> Outcome:
    """The outcome if the approval is that of the policy in use."""
    if isinstance(used.approved, Deny):
        return Outcome(used.approved, enforced=True)
    assert used.approved is not None
    before = used.approved.inspected.would_refuse
    return _allowed(body.would_refuse + used.approved.would_refuse[len(before) :])


def _finder(guid: str, found: FoundBindings | Deny, at_hand: BindingsAtHand) -> FindBinding | Deny:
    """Find bindings as they were before the request, which can have bound its client GUID."""
    if isinstance(found, Deny):
        return found
    if guid and guid not in found:
        found = at_hand(guid)
    return found.get if not guid or guid in found else _NOT_READ


def _publication(
    policy: Policy, request: JudgedRequest
) -> HttpPublication | TunnelPublication | Deny:
    """The publication that the request would reach."""
    listener = next(
        (found for found in policy.listeners if found.address == request.listener), None
    )
    if listener is None:
        return _not_published("the policy has no such listener")
    if not isinstance(listener, Listener):
        return listener.publication
    name = request.server_name.lower() if request.server_name else listener.without_sni
    found = listener.publications.get(name or "")
    return found if found is not None else _not_published("the listener has no such publication")


def _not_published(detail: str) -> Deny:
    return Deny(Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, detail)


def _http(policy: Policy, request: JudgedRequest) -> HttpPublication:
    publication = _publication(policy, request)
    assert not isinstance(publication, Deny | TunnelPublication)
    return publication


def _client(publication: HttpPublication, certificate: CertificateFacts | None) -> Client | Deny:
    # Without a certificate request, a client presents no certificate.
    if (
        certificate is None
        or isinstance(publication, PlaintextPublication)
        or publication.client_trust is None
    ):
        return admit_anonymous(publication)
    return authenticate(publication, certificate)


def authorize_by(policy: Policy, request: JudgedRequest) -> Authorized | Deny | None:
    """Authorize the head of a request by a policy; None if the policy tunnels it."""
    publication = _publication(policy, request)
    if isinstance(publication, Deny):
        return publication
    if isinstance(publication, TunnelPublication):
        return None
    client = _client(publication, request.certificate)
    if isinstance(client, Deny):
        return client
    return authorize(client, publication, policy.never, request.head)
