"""The findings that a record of an observed request has, and which of them can be judged again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Verdict
from ibcm_bridge.audit.summary import Fields, text
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.policy.endpoints import EndpointTable

IDENTITY = frozenset(
    (
        Reason.IDENTITY_AMBIGUOUS,
        Reason.IDENTITY_MISSING,
        Reason.IDENTITY_OF_ANOTHER,
        Reason.IDENTITY_UNKNOWN,
    )
)
SIGNATURES = frozenset((Reason.SIGNATURE_MISSING, Reason.SIGNATURE_FORGED, Reason.TIMESTAMP_STALE))


@dataclass(frozen=True, slots=True)
class Finding:
    """A refusal that `observe` did not enforce, as the audit has it."""

    denial: Deny | None = None
    """None if the audit does not have it, or has a reason that this version does not know."""
    allowed_by: str = ""
    """The line of the policy that would allow it; empty if no policy can."""

    def is_judged_again(self, message: CcmRequest | None, table: EndpointTable | None) -> bool:
        """Return whether another policy can judge what it is about, by the record alone.

        `message`: the part of a message that the record has, if the other policy expects one;
        `table`: the messages that this policy allows.
        """
        denial = self.denial
        if denial is None:
            return False
        match denial.reason:
            case Reason.HEADER:  # not the value of a field, such as Depth
                return rules.ROLE_HEADERS.made(denial.rule)
            case Reason.ENDPOINT:
                return message is not None
            case Reason.MESSAGE if denial.rule == rules.ENDPOINTS_REFUSED:
                # It can be about any element. Only an explicit line of the policy allows it.
                return bool(self.allowed_by) and _is_added(message, table)
            case Reason.MESSAGE:
                return message is not None
        return denial.reason is Reason.VERB or denial.reason in IDENTITY | SIGNATURES


def _is_added(message: CcmRequest | None, table: EndpointTable | None) -> bool:
    """Return whether the policy adds each root element of a message."""
    if message is None or table is None:
        return False
    endpoint = message.header.target_endpoint.lower()
    return all((endpoint, document.root.lower()) in table.added for document in message.documents)


def recorded_findings(record: Fields) -> tuple[Finding, ...]:
    """Return the findings of an observed request, in the order of the record."""
    if text(record, audit.VERDICT) != Verdict.OBSERVED:
        return ()
    listed = record.get(audit.WOULD_REFUSE)
    if not isinstance(listed, list) or not listed:
        return (_finding(record),)
    found = tuple(_finding(each) if isinstance(each, Mapping) else Finding() for each in listed)
    # The audit has no more, but the request can have had more.
    return (*found, Finding()) if len(found) >= audit.MAX_ITEMS else found


def _finding(fields: Fields) -> Finding:
    try:
        reason = Reason(text(fields, audit.REASON))
    except ValueError:
        return Finding()
    rule = rules.Rule(text(fields, audit.RULE))
    denial = Deny(reason, rule, text(fields, audit.DETAIL))
    return Finding(denial, text(fields, audit.ALLOWED_BY))
