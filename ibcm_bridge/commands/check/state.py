"""`ibcm-bridge check --connect`: connects to the database that several machines share."""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.message_policy import Enforcement
from ibcm_bridge.policy.policy import Policy


def check_state(policy: Policy) -> Iterator[Finding]:
    """Its hosts, its schema, and each use of it; nothing without `state`."""
    state = policy.state
    if state is None:
        return
    # psycopg is an extra, which a policy without `state` does not need.
    from ibcm_bridge.storage.postgresql_check import Severity, examine

    levels = {
        Severity.GOOD: Level.FACT,
        Severity.RISK: Level.WARNING,
        Severity.BROKEN: Level.PROBLEM,
    }
    creates = policy.messages.identity is not Enforcement.ENFORCE
    for found in examine(state, creates=creates):
        requirement = "" if found.severity is Severity.GOOD else "BRIDGE-IDENTITY"
        yield Finding(levels[found.severity], f"state: {state.address}", found.text, requirement)
