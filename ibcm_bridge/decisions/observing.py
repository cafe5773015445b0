"""The refusals that a publication with `observe` does not enforce, in the first days of a pilot.

`OBSERVABLE` has them: each reason with its rule. Every other refusal is always enforced. So are the
refusals that a check returns without asking an `Observation`, such as that of a verb that no policy
can add.

A request with such a finding is judged further, as far as that is possible:

- an unlisted verb, or an unlisted media type: the format of the body is unknown. It is read as a
  message or a SOAP request of the role if any parser could read one in it, with all its checks.
  Otherwise it is unpacked and scanned (`inspection.any_format`).
- an unlisted endpoint: it has no list of root elements and no places of client GUIDs of its own.
  The messages that are refused everywhere, and the places of all messages, still apply.
- an unlisted SOAP action: its cookies and texts are checked as in any other action.
- an unlisted header field: it is dropped, as with `unlisted_headers: drop`.
- a client GUID or a signature: it is the last check. Nothing is learned from the request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule, RuleOf

NOTICE = "OBSERVE: SOME REFUSALS ARE ONLY RECORDED, AND THE REQUESTS ARE FORWARDED"
"""For operators, wherever they look."""

MOST = 16
"""Findings of a request that are kept. One request can have many unlisted header fields."""


@dataclass(frozen=True, slots=True)
class Observable:
    """A row of the table."""

    rule: Rule | RuleOf
    line: str = ""
    """The line of the policy that would allow it, with the names of the denial in place of the
    braces, quoted; empty if no policy can allow it."""
    requirements: frozenset[str] | None = None
    """The requirements whose refusals are observable; None: all."""

    def covers(self, denial: Deny) -> bool:
        """Return whether a denial with the reason of this row is only observed."""
        rule = self.rule
        same = rule.made(denial.rule) if isinstance(rule, RuleOf) else rule == denial.rule
        return same and (self.requirements is None or denial.requirement in self.requirements)


_EXTRA_MESSAGE = "extra_messages: [{{endpoint: {}, root: {}, because: ...}}]"
_IDENTITY = "messages: {{identity: observe}}"
_SIGNATURES = "messages: {{signatures: observe}}"

OBSERVABLE: Mapping[Reason, tuple[Observable, ...]] = {
    Reason.VERB: (
        Observable(rules.ROLE_VERBS, "extra_verbs: [{{verb: {}, body: ..., because: ...}}]"),
        Observable(
            rules.ROLE_DIRECTORY,
            "extra_paths: [{{directory: {}, path: {}, query: ..., verbs: [{}], because: ...}}]",
        ),
    ),
    Reason.HEADER: (
        Observable(rules.ROLE_HEADERS, "unlisted_headers: drop"),
        Observable(rules.BODY_DEPTHS),
    ),
    Reason.MEDIA_TYPE: (Observable(rules.BODY_MEDIA_TYPES),),
    Reason.ENDPOINT: (Observable(rules.ENDPOINTS, _EXTRA_MESSAGE),),
    Reason.MESSAGE: (
        Observable(rules.ENDPOINT_ROOTS, _EXTRA_MESSAGE),
        # Not NO-OSD, NO-SITE-ASSIGNMENT, and BRIDGE-AUTH-COMPUTER, which is about authentication.
        Observable(
            rules.ENDPOINTS_REFUSED,
            _EXTRA_MESSAGE,
            frozenset(
                ("BRIDGE-INSPECT", "NO-CLIENT-DEPLOYMENT", "NO-USER-DEPLOYMENT", "NO-WAKE-ON-LAN")
            ),
        ),
    ),
    Reason.SOAP_ACTION: (Observable(rules.SOAP_ACTIONS_OF),),
    Reason.IDENTITY_AMBIGUOUS: (Observable(rules.IDENTITY, _IDENTITY),),
    Reason.IDENTITY_MISSING: (Observable(rules.IDENTITY, _IDENTITY),),
    Reason.IDENTITY_OF_ANOTHER: (Observable(rules.MESSAGES_IDENTITY, _IDENTITY),),
    Reason.IDENTITY_UNKNOWN: (
        Observable(rules.MESSAGES_UNKNOWN_GUIDS, "messages: {{unknown_guids: learn}}"),
    ),
    Reason.SIGNATURE_MISSING: (Observable(rules.SIGNATURE, _SIGNATURES),),
    Reason.SIGNATURE_FORGED: (Observable(rules.SIGNATURE, _SIGNATURES),),
    Reason.TIMESTAMP_STALE: (
        Observable(rules.MESSAGES_CLOCK_SKEW, "messages: {{signatures: observe}}"),
    ),
}


@dataclass(frozen=True, slots=True)
class Observed:
    """A refusal that is not enforced. Only `Observation` and `observed` make one."""

    denial: Deny
    allowed_by: str
    """The line of the policy that would allow it; empty if no policy can."""


def observed(denial: Deny) -> Observed | None:
    """The finding for a denial; None if it is always enforced."""
    for row in OBSERVABLE.get(denial.reason, ()):
        if row.covers(denial):
            return Observed(denial, _line(row.line, denial.names))
    return None


def _line(pattern: str, names: tuple[str, ...]) -> str:
    """The line with its names, which a client can choose: quoted, as YAML accepts JSON."""
    if pattern.count("{}") != len(names):
        return ""  # Such as a message that no policy can add.
    return pattern.format(*map(json.dumps, names))


class Observation:
    """The findings of one judgement, which is over at the first refusal that is enforced."""

    def __init__(self, active: bool) -> None:
        """`active`: the publication has `observe`."""
        self._active = active
        self._found: dict[Observed, None] = {}

    def enforce(self, denial: Deny | None) -> Deny | None:
        """Return a refusal that is enforced; None to continue. The others are kept as findings."""
        if denial is None or not self._active:
            return denial
        finding = observed(denial)
        if finding is None:
            return denial
        if len(self._found) < MOST:
            self._found[finding] = None
        return None

    @property
    def found(self) -> tuple[Observed, ...]:
        """The findings so far, each once."""
        return tuple(self._found)
