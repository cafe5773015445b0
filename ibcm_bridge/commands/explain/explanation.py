"""The result of `explain`: steps for people, and a record for machines."""

from __future__ import annotations

from dataclasses import dataclass, field

from ibcm_bridge.audit import record as audit
from ibcm_bridge.commands.explain.ports import Port
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.decisions.refusals import refusal, requirement
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.request.authorization import Authorized

NEXT_STEP = "next_step"
PORT = "port"
BODY_NOT_INSPECTED = "body_not_inspected"
STEPS = "steps"
"""Keys that the audit does not have."""


@dataclass(slots=True)
class Explanation:
    """The steps in order, their result, and the denial if a step refused."""

    steps: list[str] = field(default_factory=list)
    roles: frozenset[str] = frozenset()
    """The roles of the publication; empty until it is known."""
    authorized: Authorized | None = None
    approved: Approved | None = None
    denial: Deny | None = None
    site_system: str = ""
    """The name of the site system that the request is sent to, if it can be connected to."""
    port: Port | None = None
    """None if the URL has a port, or if the name is not published."""
    body_not_inspected: bool = False
    """True if the body is missing and would still be inspected."""
    would_refuse: tuple[Observed, ...] = ()
    """The refusals that only the publication's `observe` does not enforce."""

    def add_findings(self, would_refuse: tuple[Observed, ...]) -> None:
        """Add a step for each finding of all stages that is new."""
        for finding in would_refuse[len(self.would_refuse) :]:
            denial = finding.denial
            text = f"{denial.reason.value}, by {denial.rule}: {denial.detail}"
            self.steps.append(f"Would be refused; observed only: {text}.")
            line = finding.allowed_by
            self.steps.append(f"It is allowed by: {line}" if line else "No policy can allow it.")
        self.would_refuse = would_refuse

    @property
    def verdict(self) -> str:
        """The last line."""
        if (denial := self.denial) is None:
            if not self.would_refuse:
                return "ALLOW"
            first = self.would_refuse[0].denial
            text = f"{first.reason.value}, by {first.rule} ({requirement(first)})"
            return f"OBSERVED ONLY; without `observe`: DENY {text}"
        return f"DENY {denial.reason.value}, by {denial.rule} ({requirement(denial)})"

    def record(self) -> dict[str, object]:
        """The record for machines, with the audit's keys and without empty values."""
        fields: dict[str, object] = dict(audit.observed_fields(self.would_refuse))
        if self.denial is not None:
            row = refusal(self.denial)
            fields = dict(audit.denial_fields(self.denial))
            fields[audit.STATUS] = row.status.value if row.status else None
            fields[audit.TLS_ALERT] = row.alert
            fields[NEXT_STEP] = row.next_step.short
        if self.authorized is not None:
            fields.setdefault(audit.RULE, self.authorized.rule)
            # The audit omits the requirement of an allowed request.
            fields.setdefault(audit.REQUIREMENT, self.authorized.role.verbs_requirement)
            fields[audit.ROLE] = self.authorized.role.name
            fields[audit.SITE_SYSTEM] = self.site_system
            fields[audit.DROPPED_HEADERS] = audit.dropped_field(self.authorized.dropped)
        if self.approved is not None:
            fields |= audit.approved_fields(self.approved)
        if self.port is not None:
            fields[PORT] = {
                "assumed": self.port.assumed,
                "alternatives": list(self.port.alternatives),
            }
        fields[BODY_NOT_INSPECTED] = self.body_not_inspected or None
        fields[STEPS] = tuple(self.steps)
        return audit.without_empty(fields)
