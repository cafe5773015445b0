"""An audit record as text: one line with the result, then all fields.

A record contains no secrets (`audit.record`), so nothing is hidden here.
"""

from __future__ import annotations

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Record, Value

_FIRST = (
    *(audit.VERDICT, audit.REASON, audit.RULE, audit.REQUIREMENT, audit.DETAIL, audit.NOTE),
    *(
        audit.WOULD_REFUSE,
        audit.OBSERVED,
        audit.CLIENT_NAME,
        audit.ROLE,
        audit.SITE_SYSTEM,
        audit.MESSAGE_ENDPOINT,
        audit.MESSAGE_TYPES,
    ),
)
"""The fields shown first; the others follow in the record's order."""


def summary(record: Record) -> str:
    """The result, in one line."""
    fields = audit.without_empty(record)
    if fields.get(audit.EVENT) == audit.Event.TUNNEL and audit.REASON not in fields:
        sent, received = fields[audit.BYTES_FROM_CLIENT], fields[audit.BYTES_TO_CLIENT]
        return (
            f"tunneled without inspection (TUNNEL-BLIND): {sent:,} bytes from the client, "
            f"{received:,} bytes to the client"
        )
    if fields.get(audit.VERDICT) == audit.Verdict.DENY:
        detail = f": {fields[audit.DETAIL]}" if audit.DETAIL in fields else ""
        return (
            f"refused: {fields[audit.REASON]}, by {fields[audit.RULE]} "
            f"({fields[audit.REQUIREMENT]}){detail}"
        )
    if fields.get(audit.VERDICT) == audit.Verdict.OBSERVED:
        would_refuse = _text(fields[audit.WOULD_REFUSE])
        return f"OBSERVED ONLY, forwarded; without `observe` it is refused: {would_refuse}"
    named = (audit.ROLE, audit.MESSAGE_ENDPOINT, audit.MESSAGE_TYPES, audit.NOTE)
    parts = [_text(fields[name]) for name in named if name in fields]
    if audit.OBSERVED in fields:
        parts.append(f"would be refused if enforced: {_text(fields[audit.OBSERVED])}")
    return f"allowed: {', '.join(parts)}"


def lines(record: Record) -> str:
    """All fields of a record, one per line."""
    fields = audit.without_empty(record)
    names = [name for name in _FIRST if name in fields]
    names += [name for name in fields if name not in names]
    return "\n".join(f"{name}: {_text(fields[name])}" for name in names)


def _text(value: Value) -> str:
    if isinstance(value, tuple):
        value = ", ".join(value)
    elif isinstance(value, dict):
        value = ", ".join(f"{key} {text}" for key, text in value.items())
    elif isinstance(value, list):
        value = "; ".join(f"{fields[audit.REASON]}: {fields[audit.DETAIL]}" for fields in value)
    return str(value)[: 4 * audit.MAX_TEXT]
