"""Sums up what another policy judges in another way: the field `shadow` of audit records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.record import Event, Verdict
from ibcm_bridge.audit.shadow import Unjudged
from ibcm_bridge.audit.summary import Fields, Row, Rows, text


class Change(StrEnum):
    """What the other policy would change."""

    REFUSED = "refused"
    """It would refuse a request that was forwarded."""
    ALLOWED = "allowed"
    """It would forward a request that was refused."""
    OTHER = "other"
    """It would refuse, or observe, for another reason."""


class Differences:
    """The sums of the records that were added."""

    def __init__(self) -> None:
        self.requests = 0
        self.different = 0
        self.skipped = 0
        """Lines that are not records."""
        self.not_judged: Counter[str] = Counter()
        """An `Unjudged` -> the requests without a judgement of it, different or not."""
        self.rows = {change: Rows() for change in Change}
        """By publication, then verdict, reason and rule of the policy in use, and of the other."""

    def add(self, record: Fields | None) -> None:
        """Add a record of the audit; None for a line that is not one."""
        if record is None:
            self.skipped += 1
            return
        if text(record, audit.EVENT) != Event.REQUEST:
            return
        self.requests += 1
        shadow = record.get(audit.SHADOW)
        if not isinstance(shadow, Mapping):
            return
        not_judged = text(shadow, audit.NOT_JUDGED)
        if not_judged in Unjudged:
            self.not_judged[not_judged] += 1
        now, then = _outcome(record), _outcome(shadow)
        if now == then:
            return
        self.different += 1
        key = (text(record, audit.SERVER_NAME), *now, *then)
        example = {**record, audit.DETAIL: text(shadow, audit.DETAIL) or record.get(audit.DETAIL)}
        self.rows[_change(record, shadow)].count(key, example)

    def most(self, count: int) -> Iterator[tuple[Change, list[Row]]]:
        """Yield the most frequent rows of each change that occurred."""
        for change, rows in self.rows.items():
            if found := rows.most(count):
                yield change, found


def _outcome(fields: Fields) -> tuple[str, str, str]:
    verdict = text(fields, audit.VERDICT)
    if verdict == Verdict.ALLOW:
        return verdict, "", ""  # the rule of an allowed request is its role and verb
    return verdict, text(fields, audit.REASON), text(fields, audit.RULE)


def _change(record: Fields, shadow: Fields) -> Change:
    now, then = (text(fields, audit.VERDICT) == Verdict.DENY for fields in (record, shadow))
    if now == then:
        return Change.OTHER
    return Change.REFUSED if then else Change.ALLOWED
