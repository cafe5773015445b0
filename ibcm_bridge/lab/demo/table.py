"""The demo as a table: four columns, or stacked on a terminal with fewer than 100."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from ibcm_bridge.lab.comparison.outcomes import CaseResult, Outcome, tunneled_bytes
from ibcm_bridge.lab.comparison.verdicts import (
    LEFT_OUT,
    NO_TUNNEL,
    Grade,
    judge,
    judge_plain,
    plain_score,
    score,
)
from ibcm_bridge.lab.demo.terminal import Terminal

STACKED_BELOW = 100

_LONG = re.compile(r"(?<=Content_)[0-9a-f-]{30,}[.0-9]*|(?<=GUID:[0-9A-F]{4})[0-9A-F-]{32}")
"""The GUID of a content, or most of a client GUID. The report has the complete values."""

_INDENT = "    "

type Cell = tuple[str, Grade | None]
"""A line of a cell, and the grade that colors it."""


class Table:
    """Renders the results as lines for a terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        rest = terminal.width - 9
        shares = (24, 34, 20, 22)
        self._widths = tuple(rest * share // 100 for share in shares)
        self._stacked = terminal.width < STACKED_BELOW

    def heading(self) -> list[str]:
        """Return the headings of the columns."""
        if self._stacked:
            return []
        titles = ("Case", "Through the bridge", "Through nginx", "Through the tunnel")
        return [self._line([(title, None) for title in titles])]

    def family(self, name: str) -> list[str]:
        """Return the heading of a family of cases."""
        if self._stacked:
            rule = "-" * (self._terminal.width - len(name) - 4)
            return [self._terminal.bold(f"-- {name.upper()} {rule}"), ""]
        rule = "-+-".join("-" * width for width in self._widths)
        return [rule, self._terminal.bold(name.upper()), rule]

    def row(self, result: CaseResult) -> list[str]:
        """Return a case as lines, and an empty line."""
        return self._stacked_row(result) if self._stacked else self._columns(result)

    def score(self, results: Sequence[CaseResult], seconds: float) -> list[str]:
        """Return the score: the cases as required, and what the tunnel did not stop.

        It is one line of 80 columns.
        """
        good = sum(1 for result in results if not result.problems)
        text = f"{good} of {len(results)} cases as required, {seconds:.0f} s."
        tunnel = score(results)["tunnel"].most_common()
        missed = [f"{count} {label}" for label, count in tunnel if label[0] == Grade.WRONG.mark]
        if late := sum(count for label, count in tunnel if label[0] == Grade.LATE.mark):
            missed.append(f"{late} {Grade.LATE.mark} STOPPED LATE")
        if missed:
            text += f" Tunnel: {', '.join(missed)}."
        return [*self._plain_score(results), *textwrap.wrap(text, self._terminal.width)]

    def _plain_score(self, results: Sequence[CaseResult]) -> list[str]:
        name = next((result.plain.name for result in results if result.plain), "")
        if not name:
            return []
        right = Grade.RIGHT.mark
        counts = plain_score(results).most_common()
        missed = [f"{count} {label}" for label, count in counts if label[0] != right]
        text = f"A plain reverse proxy with this policy ({name}): {', '.join(missed)}."
        verdicts = (judge_plain(result.case, result.plain) for result in results if result.plain)
        if left_out := next((each for each in verdicts if each.word == LEFT_OUT), None):
            text += f" {left_out.word}: {left_out.detail}."
        return textwrap.wrap(text, self._terminal.width)

    def _stacked_row(self, result: CaseResult) -> list[str]:
        case, width = result.case, self._terminal.width
        title = textwrap.wrap(f"{case.title} ({case.requirement})", width)
        lines = [self._terminal.bold(line) for line in title]
        if result.problems:
            lines.append(self._terminal.paint("NOT AS REQUIRED", Grade.WRONG))
        room = width - len(_INDENT) * 2 - len("bridge")
        paths = (
            ("bridge", _cell(result, result.bridge, room)),
            ("nginx", _plain_cell(result, room)),
            ("tunnel", _cell(result, result.tunnel, room)),
        )
        for path, cells in paths:
            for text, grade in cells:
                lines.append(f"{_INDENT}{path:6}{_INDENT}{self._painted(text, grade)}".rstrip())
                path = " " * len(path)  # noqa: PLW2901
        return [*lines, ""]

    def _columns(self, result: CaseResult) -> list[str]:
        case = result.case
        titles: list[Cell] = [(line, None) for line in _wrapped(case.title, self._widths[0])]
        titles.append((case.requirement, None))
        if result.problems:
            titles.append(("NOT AS REQUIRED", Grade.WRONG))
        columns = (
            titles,
            _cell(result, result.bridge, self._widths[1]),
            _plain_cell(result, self._widths[2]),
            _cell(result, result.tunnel, self._widths[3]),
        )
        height = max(map(len, columns)) + 1
        padded = [[*column, *[("", None)] * (height - len(column))] for column in columns]
        return [self._line(cells) for cells in zip(*padded, strict=True)]

    def _line(self, cells: Iterable[Cell]) -> str:
        padded = [
            self._painted(text, grade) + " " * (width - len(text))
            for (text, grade), width in zip(cells, self._widths, strict=True)
        ]
        return " | ".join(padded).rstrip()

    def _painted(self, text: str, grade: Grade | None) -> str:
        return text if grade is None else self._terminal.paint(text, grade)


def _cell(result: CaseResult, outcome: Outcome | None, width: int) -> list[Cell]:
    if outcome is None:
        return [(f"- {NO_TUNNEL}: not TLS", None)]
    verdict = judge(result, outcome)
    saw = _LONG.sub("...", outcome.proxy_saw)
    if outcome.audit.get("event") == "tunnel" and outcome.audit.get("verdict") == "allow":
        saw = f"a name, {tunneled_bytes(outcome.audit):,} bytes"
    happened = _wrapped(f"{verdict.label}: {outcome.client_received}", width)
    seen = _wrapped(f"saw {saw}", width)
    return [*((line, verdict.grade) for line in happened), *((line, None) for line in seen)]


def _plain_cell(result: CaseResult, width: int) -> list[Cell]:
    if result.plain is None:
        return []
    verdict = judge_plain(result.case, result.plain)
    mark = " (recorded)" if result.plain.recorded else ""
    text = f"{verdict.label}{mark}: {result.plain.client_received}"
    return [(line, verdict.grade) for line in _wrapped(text, width)]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
