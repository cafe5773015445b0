"""An audit record as text, for who looks on: one line that says how it ended, then all of it.

A record holds no secret (`audit`), so there is none to hide here.
"""

from __future__ import annotations

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Record, Value

_FIRST = (
    *(audit.VERDICT, audit.REASON, audit.RULE, audit.REQUIREMENT, audit.DETAIL, audit.NOTE),
    *(audit.OBSERVED, audit.CLIENT, audit.ROLE, audit.SITE_SYSTEM, audit.ENDPOINT, audit.MESSAGE),
)
"""What is asked for first; the rest follows in the record's order."""


def summary(record: Record) -> str:
    """How it ended, in one line."""
    said = audit.said(record)
    if said.get(audit.EVENT) == audit.Event.TUNNEL and audit.REASON not in said:
        return (
            f"tunneled, nothing inside can be inspected (TUNNEL-BLIND): {said[audit.BYTES_IN]:,} "
            f"bytes from the client, {said[audit.BYTES_OUT]:,} to it"
        )
    if said.get(audit.VERDICT) == audit.Verdict.DENY:
        detail = f": {said[audit.DETAIL]}" if audit.DETAIL in said else ""
        return (
            f"refused: {said[audit.REASON]}, by {said[audit.RULE]} "
            f"({said[audit.REQUIREMENT]}){detail}"
        )
    named = (audit.ROLE, audit.ENDPOINT, audit.MESSAGE, audit.NOTE)
    parts = [_text(said[name]) for name in named if name in said]
    if audit.OBSERVED in said:
        parts.append(f"would be refused if enforced: {_text(said[audit.OBSERVED])}")
    return f"allowed: {', '.join(parts)}"


def lines(record: Record) -> str:
    """All that a record says, a line for each field."""
    said = audit.said(record)
    names = [name for name in _FIRST if name in said]
    names += [name for name in said if name not in names]
    return "\n".join(f"{name}: {_text(said[name])}" for name in names)


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        value = ", ".join(value)
    elif isinstance(value, dict):
        value = ", ".join(f"{key} {text}" for key, text in value.items())
    return str(value)[: 4 * audit.MAX_TEXT]
