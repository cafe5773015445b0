"""Judges an ended request by another policy: the shadow, which has no effect on the request.

A request is judged after its end, from what the bridge kept of it. The shadow sends nothing, learns
nothing, opens no upload session and scans nothing:

- The engines' result is that of the policy in use. If the rules for the body differ, a small body
  is parsed again, without engines.
- Of an upload, only the heads of its packets are judged.
- Not judged: the trust, revocation and TLS settings of certificates; sizes, times and other limits;
  site systems and their responses; malware rules. If the shadow would allow a head that the policy
  in use refuses, the body was never read (`Difference.body_judged`).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import Client, admit_anonymous, authenticate
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.identity.approval import Approved, FindBinding, approve
from ibcm_bridge.identity.bindings import Binding, BindingStatus
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


@dataclass(slots=True)
class Judged:
    """The decisions of the policy in use on a request; None for a stage that it did not reach."""

    head: Authorized | Deny | None = None
    body: Inspected | Deny | None = None
    approved: Approved | Deny | None = None


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
    body_judged: bool = True
    """False if the body would still be judged."""

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
        self, request: JudgedRequest, find: FindBinding, now: datetime.datetime
    ) -> Outcome | None:
        """Return the other policy's outcome if it differs. `now` in UTC."""
        used = _used(request.judged)
        if used is None:
            return None
        found = self._outcome(request, find, now)
        return found if found.differs_from(used) else None

    def _outcome(
        self, request: JudgedRequest, find: FindBinding, now: datetime.datetime
    ) -> Outcome:
        head = authorize_by(self.policy, request)
        if head is None:
            return Outcome()  # nothing is inspected
        if isinstance(head, Deny):
            return Outcome(head, enforced=True)
        was_read = request.judged.body is not None or not head.head.length
        if head.packet is not None or not was_read:
            return _allowed(head.would_refuse, body_judged=not head.head.length)
        return self._judge_body(head, request, find, now)

    def _judge_body(
        self,
        head: Authorized,
        request: JudgedRequest,
        find: FindBinding,
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
                return _allowed(head.would_refuse, body_judged=False)
            body = parsed
        if isinstance(body, Deny):
            return Outcome(body, enforced=True)
        if same and self._has_same_identity(head, used):
            return _same_approval(body, used)
        client = _client(_http(self.policy, request), request.certificate)
        assert not isinstance(client, Deny)
        terms = self.policy.messages
        approved = approve(body, client, _before(used.approved, find), terms, now)
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


def _allowed(would_refuse: tuple[Observed, ...], *, body_judged: bool = True) -> Outcome:
    denial = would_refuse[0].denial if would_refuse else None
    return Outcome(denial, body_judged=body_judged)


def _same_approval(body: Inspected, used: Judged) -> Outcome:
    """The outcome if the approval is that of the policy in use."""
    if isinstance(used.approved, Deny):
        return Outcome(used.approved, enforced=True)
    assert used.approved is not None
    before = used.approved.inspected.would_refuse
    return _allowed(body.would_refuse + used.approved.would_refuse[len(before) :])


def _before(approved: Approved | Deny | None, find: FindBinding) -> FindBinding:
    """Find bindings as before the request, which can have bound its client GUID."""

    if not isinstance(approved, Approved):
        return find
    identity = approved.identity
    if identity.binding_status is not BindingStatus.UNBOUND:
        return find

    def found(guid: str) -> Binding | None:
        return None if guid == identity.guid else find(guid)

    return found


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
