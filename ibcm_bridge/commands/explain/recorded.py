"""Judges a request again from its audit record: `explain --audit`.

The audit has no header fields, no bodies and no keys. The judgement assumes that these are as the
policy expects them: the certificate is trusted, has the recorded name and is for client
authentication; the header fields are listed, except those that were dropped; the body has a listed
media type. `Unknown` names what a judgement leaves open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryptography.x509.oid import ExtendedKeyUsageOID

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Event, Verdict
from ibcm_bridge.audit.shadow import JudgedRequest, Outcome, Unjudged, authorize_by
from ibcm_bridge.audit.summary import Fields, text
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.commands.explain.recorded_findings import (
    IDENTITY,
    SIGNATURES,
    Finding,
    recorded_findings,
)
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observation
from ibcm_bridge.identity.bindings import BindingStatus
from ibcm_bridge.inspection.message_rules import judge_message
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.document import Document
from ibcm_bridge.messages.msg_header import MsgHeader
from ibcm_bridge.messages.multipart import Part
from ibcm_bridge.policy.bodies import Inspection
from ibcm_bridge.policy.endpoints import EndpointTable
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy, UnknownGuids
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head


class Unknown(StrEnum):
    """What a judgement leaves open."""

    TARGET = "the target: the audit removes values of a query, and cuts long targets"
    REFUSAL = "whether the refused part would be accepted: the audit does not have it"
    BODY = "the body, except the endpoint, the root elements and the client GUID of a message"
    UPLOAD = "the packets of an upload: only their verb and path are judged"
    ONLY_OBSERVED = (
        "whether a part that was only observed would be accepted, such as a media type or a SOAP "
        "action: the audit does not have it"
    )
    CONNECTION = "refused connections, and tunnels: only requests are judged"


@dataclass(frozen=True, slots=True)
class Again:
    """A second judgement."""

    outcome: Outcome | None
    """None if the record does not allow any."""
    unknown: Unknown | None = None


_BY_HEAD = frozenset(
    (Reason.VERB, Reason.RESOURCE, Reason.DIRECTORY, Reason.BYPASS_DIRECTORY, Reason.TARGET_UNSAFE)
)
"""Refusals by what the audit has of a head."""

_BY_SENDER = (IDENTITY - {Reason.IDENTITY_UNKNOWN}) | SIGNATURES
"""Refusals by the sender. Of an unknown client GUID, a refusal has no more than its reason."""

_CONNECTIONS = frozenset((Event.TUNNEL.value, Event.CONNECTION_REFUSED.value))


def judge_again(policy: Policy, record: Fields) -> Again | None:
    """Judge a record by another policy; None if it is about the audit itself."""
    if text(record, audit.EVENT) in _CONNECTIONS:
        return Again(None, Unknown.CONNECTION)
    if text(record, audit.EVENT) != Event.REQUEST:
        return None
    if not text(record, audit.METHOD):
        return Again(None, Unknown.REFUSAL)  # no head could be read
    target = text(record, audit.TARGET)
    if "=..." in target or "...@" in target or len(target) >= audit.MAX_TEXT:
        return Again(None, Unknown.TARGET)
    refused = text(record, audit.VERDICT) == Verdict.DENY
    reason = text(record, audit.REASON)
    if refused and reason not in _BY_HEAD | _BY_SENDER:
        return Again(None, Unknown.REFUSAL)
    if isinstance(read_request_head(_head(record)), Deny):
        return Again(None, Unknown.REFUSAL)  # the record was changed
    head = _judge_head(policy, record)
    if head is None:
        return Again(Outcome())
    if isinstance(head, Deny):
        return Again(Outcome(head, enforced=True))
    return _judge_rest(policy, record, head)


_FIELDS = (
    b"",
    b"BITS-Packet-Type: Ping\r\n",
    b'Content-Length: 1\r\nContent-Type: multipart/mixed; boundary="x"\r\n',
    b"Content-Length: 1\r\nContent-Type: text/xml\r\n",
    b"Content-Length: 1\r\nContent-Type: application/octet-stream\r\n",
    b"Content-Length: 1\r\nContent-Type: application/x-www-form-urlencoded\r\n",
)
"""The fields of each kind of body."""

_ABOUT_FIELDS = frozenset((Reason.LENGTH_REQUIRED, Reason.MEDIA_TYPE, Reason.UPLOAD_PACKET))


def _judge_rest(policy: Policy, record: Fields, head: Authorized) -> Again:
    observation = Observation(head.observing)
    findings = recorded_findings(record)
    table, message = head.body_rule.messages, _message(record, head)
    for refusal in (
        _judge_message(table, message, observation, user=head.user),
        *_judge_identity(record, findings, policy.messages),
    ):
        if (enforced := observation.enforce(refusal)) is not None:
            return Again(Outcome(enforced, enforced=True))
    # The fields of a body are not recorded, and those of the judgement are made up.
    found = [
        each.denial
        for each in (*head.would_refuse, *observation.found)
        if each.denial.reason not in _ABOUT_FIELDS
    ]
    for finding in findings:
        if finding.is_judged_again(message, table):
            continue
        if not head.observing or finding.denial is None:
            return Again(None, Unknown.ONLY_OBSERVED)
        found.append(finding.denial)
    first = _first(found, findings)
    has_body = bool(record.get(audit.BYTES_FROM_CLIENT)) or bool(head.body_rule.required)
    unjudged = Unjudged.BODY if has_body else None
    outcome = Outcome(first, not_judged=unjudged)
    if text(record, audit.UPLOAD):
        return Again(outcome, Unknown.UPLOAD)
    return Again(outcome, Unknown.BODY if has_body else None)


def _first(found: list[Deny], findings: tuple[Finding, ...]) -> Deny | None:
    """The finding that a record would name: the first one, in the order of the recorded ones."""
    recorded = [each.denial for each in findings if each.denial is not None]
    places = [(each.reason, each.rule) for each in recorded]

    def place(denial: Deny) -> int:
        key = (denial.reason, denial.rule)
        return places.index(key) if key in places else -1

    return min(found, key=place, default=None)


def _judge_head(policy: Policy, record: Fields) -> Authorized | Deny | None:
    """Judge the head that the record describes; None if the policy tunnels it.

    The audit does not have the fields of a body, so a policy that misses them gets some.
    """
    decided: Authorized | Deny | None = None
    for more in _FIELDS:
        head = read_request_head(_head(record)[:-2] + more + b"\r\n")
        assert isinstance(head, RequestHead)
        decided = authorize_by(policy, _request(record, head))
        if not isinstance(decided, Deny) or decided.reason not in _ABOUT_FIELDS:
            break
    return decided


def _head(record: Fields) -> bytes:
    target = text(record, audit.TARGET).encode("ascii", "replace")
    method = text(record, audit.METHOD).encode("ascii", "replace")
    dropped = record.get(audit.DROPPED_HEADERS)
    names = [name for name in dropped if isinstance(name, str)] if isinstance(dropped, list) else []
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: " + _host(record)]
    lines += [name.encode("ascii", "replace") + b": x" for name in names if " " not in name]
    return b"\r\n".join((*lines, b"", b""))


def _host(record: Fields) -> bytes:
    return (text(record, audit.SERVER_NAME) or "unknown").lower().encode("ascii", "replace")


def _request(record: Fields, head: RequestHead) -> JudgedRequest:
    address, _, port = text(record, audit.LISTENER).rpartition(":")
    listener = address.strip("[]"), int(port) if port.isdecimal() else 0
    name = text(record, audit.SERVER_NAME) or None
    return JudgedRequest(listener, name, _certificate(record), head)


def _certificate(record: Fields) -> CertificateFacts | None:
    """A certificate for client authentication with the recorded name."""
    name = text(record, audit.CLIENT_NAME)
    if not name:
        return None
    is_user = "@" in name
    return CertificateFacts(
        *("", "", "", "", ""),
        purposes=frozenset((ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string,)),
        dns_names=() if is_user else (name,),
        principal_names=(name,) if is_user else (),
        common_name=None,
        public_key=b"",
    )


def _message(record: Fields, head: Authorized) -> CcmRequest | None:
    """The endpoint and the root elements of a message; None if the record has none."""
    endpoint, roots = text(record, audit.MESSAGE_ENDPOINT), record.get(audit.MESSAGE_TYPES)
    if head.body_rule.inspection is not Inspection.CCM_MESSAGE or not endpoint:
        return None
    if not isinstance(roots, list) or not roots:
        return None  # it was encrypted
    documents = [
        Document("", root, frozenset((root.lower(),)), frozenset(), "", {}, {})
        for root in roots
        if isinstance(root, str)
    ]
    header = MsgHeader("", {"TargetEndpoint": endpoint}, (), (), {}, "")
    return CcmRequest(header, Part(b"", b""), b"", tuple(documents))


def _judge_message(
    table: EndpointTable | None,
    message: CcmRequest | None,
    observation: Observation,
    *,
    user: bool,
) -> Deny | None:
    if table is None or message is None:
        return None
    judged = judge_message(table, message, observation, user=user)
    return judged if isinstance(judged, Deny) else None


def _judge_identity(
    record: Fields, findings: tuple[Finding, ...], terms: MessagePolicy
) -> list[Deny]:
    """Return the recorded findings about the sender that a policy enforces."""
    recorded = [each.denial for each in findings if each.denial is not None]
    unbound = text(record, audit.CLIENT_GUID_BINDING) == BindingStatus.UNBOUND
    if unbound:
        detail = f"{text(record, audit.CLIENT_GUID)} is not bound to a certificate"
        recorded.append(Deny(Reason.IDENTITY_UNKNOWN, rules.MESSAGES_UNKNOWN_GUIDS, detail))
    return [each for each in (*_reported(record), *recorded) if _is_enforced(each.reason, terms)]


def _is_enforced(reason: Reason, terms: MessagePolicy) -> bool:
    """Return whether a policy enforces a refusal by the sender."""
    if reason in SIGNATURES:
        return terms.signatures is Enforcement.ENFORCE
    if reason is Reason.IDENTITY_UNKNOWN and terms.unknown_guids is not UnknownGuids.REFUSE:
        return False
    return reason in IDENTITY and terms.identity is Enforcement.ENFORCE


_RULES = {
    Reason.IDENTITY_AMBIGUOUS: rules.IDENTITY.of("payload"),
    Reason.IDENTITY_MISSING: rules.IDENTITY.of("SourceID"),
    Reason.SIGNATURE_MISSING: rules.SIGNATURE.of("PayloadSignature"),
    Reason.SIGNATURE_FORGED: rules.SIGNATURE.of("PayloadSignature"),
    Reason.TIMESTAMP_STALE: rules.MESSAGES_CLOCK_SKEW,
}
"""The rule, where `observed` has only the reason: that of the most frequent place."""


def _reported(record: Fields) -> list[Deny]:
    """Each finding that `messages` only reported, and the refusal itself."""
    listed = record.get(audit.OBSERVED)
    texts = [line for line in listed if isinstance(line, str)] if isinstance(listed, list) else []
    pairs = [line.partition(": ")[::2] for line in texts]
    if text(record, audit.VERDICT) == Verdict.DENY:
        pairs.append((text(record, audit.REASON), text(record, audit.DETAIL)))
    known = {reason.value: reason for reason in _BY_SENDER}
    return [
        Deny(known[reason], _RULES.get(known[reason], rules.MESSAGES_IDENTITY), detail)
        for reason, detail in pairs
        if reason in known
    ]
