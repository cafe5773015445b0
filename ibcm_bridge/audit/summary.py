"""Sums up audit records: how many, the most frequent refusals, and who was refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Event, Verdict

MAX_ROWS = 50_000
"""Different keys of one table. Further ones are counted together, so that memory is bounded."""

type Fields = Mapping[str, object]
"""A record as it was read: no value has a known type."""

_KEPT = (
    *(audit.TIME, audit.REFERENCE, audit.REASON, audit.RULE, audit.DETAIL, audit.CLIENT_NAME),
    *(audit.CLIENT_ADDRESS, audit.METHOD, audit.TARGET),
)
"""The fields of an example."""


@dataclass(slots=True)
class Row:
    """How often something occurred, and the fields of the last record of it."""

    key: tuple[str, ...]
    count: int = 0
    last: Fields = field(default_factory=dict)


class Rows:
    """Counts records by a key."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, ...], Row] = {}
        self.others = 0
        """Records with further keys, after `MAX_ROWS`."""

    def count(self, key: tuple[str, ...], record: Fields) -> None:
        """Count a record."""
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= MAX_ROWS:
                self.others += 1
                return
            self._rows[key] = row = Row(key)
        row.count += 1
        if not row.last or text(record, audit.TIME) >= text(row.last, audit.TIME):
            row.last = {key: value for key in _KEPT if (value := text(record, key))}

    def most(self, count: int) -> list[Row]:
        """Return the most frequent rows, at most `count`."""
        return sorted(self._rows.values(), key=lambda row: (-row.count, row.key))[:count]


class Summary:
    """The sums of the records that were added."""

    def __init__(self) -> None:
        self.records = 0
        self.first = ""
        """The earliest time of a record, as in the audit."""
        self.last = ""
        self.lost = 0
        """Records that the bridge could not write, according to later records."""
        self.events: dict[tuple[str, str], int] = {}
        """(event, verdict) -> records."""
        self.reasons = Rows()
        """By reason and requirement."""
        self.refusals = Rows()
        """By reason, rule, and the role or, without one, the server name."""
        self.observed = Rows()
        """Not enforced: by reason, rule, role, and the line of the policy that would allow it."""
        self.clients = Rows()
        """By computer name or, without one, IP address."""

    def add(self, record: Fields) -> None:
        """Add a record of the audit."""
        self.records += 1
        time, event, verdict = (
            text(record, key) for key in (audit.TIME, audit.EVENT, audit.VERDICT)
        )
        self.first = min(self.first or time, time or self.first)
        self.last = max(self.last, time)
        self.events[event, verdict] = self.events.get((event, verdict), 0) + 1
        if event == Event.RECORDS_LOST:
            lost = record.get(audit.LOST_RECORDS)
            self.lost += lost if isinstance(lost, int) else 0
        if verdict == Verdict.DENY:
            self.clients.count((client(record),), record)
            reason = text(record, audit.REASON)
            place = text(record, audit.ROLE) or text(record, audit.SERVER_NAME)
            self.reasons.count((reason, text(record, audit.REQUIREMENT)), record)
            self.refusals.count((reason, text(record, audit.RULE), place), record)

        if verdict == Verdict.OBSERVED:
            for finding in _findings(record):
                names = (text(finding, key) for key in (audit.REASON, audit.RULE))
                line = text(finding, audit.ALLOWED_BY)
                key = (*names, text(record, audit.ROLE), line)
                self.observed.count(key, {**record, **finding})

    def verdicts(self) -> Iterator[tuple[Event, Mapping[Verdict, int]]]:
        """Yield each event that has a verdict, and how many records have which."""
        for event in (Event.REQUEST, Event.TUNNEL, Event.CONNECTION_REFUSED):
            yield event, {verdict: self.events.get((event, verdict), 0) for verdict in Verdict}


def _findings(record: Fields) -> list[Fields]:
    """Return the refusals that were not enforced."""
    found = record.get(audit.WOULD_REFUSE)
    return (
        [fields for fields in found if isinstance(fields, dict)] if isinstance(found, list) else []
    )


def text(record: Fields, key: str) -> str:
    """Return a field that should be a text; empty for anything else."""
    value = record.get(key)
    return value[: audit.MAX_TEXT] if isinstance(value, str) else ""


def client(record: Fields) -> str:
    """Return the name of a record's client or, without one, its address without the port."""
    return text(record, audit.CLIENT_NAME) or text(record, audit.CLIENT_ADDRESS).rpartition(":")[0]
