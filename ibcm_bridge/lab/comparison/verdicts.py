"""Judges an outcome: a grade with its mark, and a word. All output of the lab uses these.

The word says what happened to the request, the grade whether a perimeter should behave so. Neither
depends on color.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.comparison.outcomes import CaseResult, Outcome, PlainResult


class Grade(StrEnum):
    """Whether the outcome is correct for a perimeter."""

    RIGHT = "right"
    LATE = "late"
    """Stopped, but not at the perimeter."""
    WRONG = "wrong"
    OUTAGE = "outage"
    """Nothing to judge: a part of the lab is down."""

    @property
    def mark(self) -> str:
        """The sign for the grade, readable without color."""
        return {"right": "✓", "late": "~", "wrong": "✗", "outage": "!"}[self.value]

    @property
    def meaning(self) -> str:
        """The explanation of the sign."""
        return {
            "right": "correct for a perimeter",
            "late": "stopped, but not at the perimeter",
            "wrong": "not as a perimeter should",
            "outage": "a part of the lab is down",
        }[self.value]


@dataclass(frozen=True)
class Verdict:
    """The judgement of one path of a case."""

    grade: Grade
    word: str
    detail: str
    """Where and by whom, as a phrase that follows the word."""

    @property
    def label(self) -> str:
        """Mark and word."""
        return f"{self.grade.mark} {self.word}"


_HAPPENED = {
    Disposition.ACCEPTED: ("PASSED", "accepted by the site system"),
    Disposition.REFUSED_BY_SITE_SYSTEM: ("PASSED", "refused by the site system"),
    Disposition.REFUSED_BY_CLIENT: ("STOPPED BY CLIENT", "the client refused the site system"),
    Disposition.REFUSED_BY_PROXY: ("REFUSED", "at the perimeter"),
    Disposition.RESPONSE_REFUSED: ("RESPONSE REFUSED", "at the perimeter"),
    Disposition.NOT_DELIVERED: ("NOT DELIVERED", "the site system is down"),
}
_NOT_STOPPED = ("NOT STOPPED", "accepted by the site system")
_STOPPED_INSIDE = ("STOPPED INSIDE", "refused by the site system")
LEFT_OUT = "LEFT OUT"
_LEFT_OUT = (
    LEFT_OUT,
    "the export has no directories with Windows authentication: this proxy could use the sign-in "
    "of one client for another",
)
_FAIL_CLOSED = ("REFUSED", "the bridge cannot decide, and forwards nothing")
NO_TUNNEL = "NO TUNNEL"
"""The word for a case that cannot be tunneled."""


def happened(disposition: Disposition) -> tuple[str, str]:
    """Return the word for an outcome, and where it was decided."""
    return _HAPPENED[disposition]


def judge(result: CaseResult, outcome: Outcome, faults: Sequence[str] = ()) -> Verdict:
    """Return the verdict on one path of a result; `faults` were on when it was sent."""
    if outcome.disposition is Disposition.NOT_DELIVERED:
        return Verdict(Grade.OUTAGE, *_HAPPENED[outcome.disposition])
    if outcome is result.bridge:
        return _bridge(result, outcome.disposition, faults)
    return _tunnel(result.case, outcome.disposition)


def _bridge(result: CaseResult, found: Disposition, faults: Sequence[str]) -> Verdict:
    required = result.case.bridge.disposition
    if not result.problems:
        return Verdict(Grade.RIGHT, *_HAPPENED[found])
    if faults and found is Disposition.REFUSED_BY_PROXY:
        if found is required:
            return Verdict(Grade.RIGHT, *_HAPPENED[found])
        return Verdict(Grade.OUTAGE, *_FAIL_CLOSED)
    if found is Disposition.ACCEPTED and required is not Disposition.ACCEPTED:
        return Verdict(Grade.WRONG, *_NOT_STOPPED)
    return Verdict(Grade.WRONG, "NOT AS REQUIRED", found.value)


def _tunnel(case: Case, found: Disposition) -> Verdict:
    required = case.bridge.disposition
    # A tunnel is not to blame for an outcome that the bridge must also have.
    alike = found is required and not case.dropped
    if found is Disposition.REFUSED_BY_PROXY or alike or case.meant_for_tunnel:
        return Verdict(Grade.RIGHT, *_HAPPENED[found])
    if found is Disposition.ACCEPTED:
        return Verdict(Grade.WRONG, *_NOT_STOPPED)
    if required is Disposition.ACCEPTED and not case.dropped:
        return Verdict(Grade.WRONG, "NOT AS REQUIRED", found.value)
    if found is Disposition.REFUSED_BY_SITE_SYSTEM:
        return Verdict(Grade.LATE, *_STOPPED_INSIDE)
    return Verdict(Grade.LATE, *_HAPPENED[found])


def judge_plain(case: Case, plain: PlainResult) -> Verdict:
    """Return the verdict on a plain reverse proxy."""
    found, required = plain.disposition, case.bridge.disposition
    wanted = required is Disposition.ACCEPTED
    if found is Disposition.ACCEPTED:
        right = wanted and not plain.dropped_arrived
        return Verdict(Grade.RIGHT, *_HAPPENED[found]) if right else _wrong(_NOT_STOPPED)
    if wanted:
        return _wrong(_LEFT_OUT if plain.left_out else ("NOT AS REQUIRED", found.value))
    if found is Disposition.REFUSED_BY_PROXY or found is required:
        return Verdict(Grade.RIGHT, *_HAPPENED[found])
    if found is Disposition.REFUSED_BY_SITE_SYSTEM:
        return Verdict(Grade.LATE, *_STOPPED_INSIDE)
    return Verdict(Grade.LATE, *_HAPPENED[found])


def _wrong(words: tuple[str, str]) -> Verdict:
    return Verdict(Grade.WRONG, *words)


def plain_score(results: Iterable[CaseResult]) -> Counter[str]:
    """Count the labels of the plain reverse proxy."""
    return Counter(
        judge_plain(result.case, result.plain).label for result in results if result.plain
    )


def score(results: Iterable[CaseResult]) -> dict[str, Counter[str]]:
    """Count the labels of each path, such as `✗ NOT STOPPED`."""
    counts: dict[str, Counter[str]] = {"bridge": Counter(), "tunnel": Counter()}
    for result in results:
        counts["bridge"][judge(result, result.bridge).label] += 1
        tunnel = judge(result, result.tunnel).label if result.tunnel else f"- {NO_TUNNEL}"
        counts["tunnel"][tunnel] += 1
    return counts
