"""The demonstration in a terminal: three columns, whatever the terminal."""

from __future__ import annotations

import re
import textwrap

from ibcm_bridge.lab.cases.case import Disposition
from ibcm_bridge.lab.comparison.outcomes import CaseResult, Outcome, tunneled_bytes

_WIDTHS = (25, 42, 26)
_RULE = "-+-".join("-" * width for width in _WIDTHS)

_LONG = re.compile(r"(?<=Content_)[0-9a-f-]{30,}[.0-9]*|(?<=GUID:[0-9A-F]{4})[0-9A-F-]{32}")
"""A GUID, of content or most of a client's; the report has it whole."""

_WORDS = {
    Disposition.ANSWERED: "PASSED",
    Disposition.REFUSED_THERE: "REACHED the site system",
    Disposition.REFUSED_BY_CLIENT: "LEFT to the client",
    Disposition.REFUSED_BY_PROXY: "REFUSED",
    Disposition.ANSWER_REFUSED: "ANSWER REFUSED",
}


def heading() -> str:
    """What stands above the columns."""
    return _line(("What the client sends", "Through the bridge", "Through the tunnel"))


def family_lines(family: str) -> list[str]:
    """The line that begins a family of cases."""
    return [_RULE, family.upper(), _RULE]


def row_lines(result: CaseResult) -> list[str]:
    """A case as lines, and an empty one."""
    case = result.case
    mark = "" if not result.problems else "NOT AS REQUIRED"
    columns = (
        [*_wrapped(case.title, 0), case.requirement, *([mark] if mark else [])],
        _outcome(result.bridge, 1),
        _outcome(result.tunnel, 2) if result.tunnel else ["no tunnel: not TLS"],
    )
    height = max(len(column) for column in columns) + 1
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [_line((a, b, c)) for a, b, c in zip(*padded, strict=True)]


def _outcome(outcome: Outcome, column: int) -> list[str]:
    saw = _LONG.sub("...", outcome.saw)
    if outcome.audit.get("event") == "tunnel":
        saw = f"a name, {tunneled_bytes(outcome.audit):,} bytes"
    return [
        *_wrapped(f"{_WORDS[outcome.disposition]}: {outcome.client_got}", column),
        *_wrapped(f"saw {saw}", column),
    ]


def _line(cells: tuple[str, str, str]) -> str:
    return " | ".join(
        cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


def _wrapped(text: str, column: int) -> list[str]:
    return textwrap.wrap(text, _WIDTHS[column], subsequent_indent="  ", break_on_hyphens=False)
