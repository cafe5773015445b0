"""The demo as a table of three columns, 80 characters wide."""

from __future__ import annotations

import re
import textwrap

from ibcm_bridge.lab.comparison.outcomes import CaseResult, Outcome, tunneled_bytes
from ibcm_bridge.lab.comparison.verdicts import NO_TUNNEL, judge

_WIDTHS = (21, 33, 20)
_RULE = "-+-".join("-" * width for width in _WIDTHS)

_LONG = re.compile(r"(?<=Content_)[0-9a-f-]{30,}[.0-9]*|(?<=GUID:[0-9A-F]{4})[0-9A-F-]{32}")
"""The GUID of a content, or most of a client GUID. The report has the complete values."""


def heading() -> str:
    """Return the headings of the columns."""
    return _line(("Case", "Through the bridge", "Through the tunnel"))


def family_lines(family: str) -> list[str]:
    """Return the heading of a family of cases."""
    return [_RULE, family.upper(), _RULE]


def row_lines(result: CaseResult) -> list[str]:
    """Return a case as lines, and an empty line."""
    case = result.case
    mark = "" if not result.problems else "NOT AS REQUIRED"
    columns = (
        [*_wrapped(case.title, 0), case.requirement, *([mark] if mark else [])],
        _outcome(result, result.bridge, 1),
        _outcome(result, result.tunnel, 2) if result.tunnel else [f"- {NO_TUNNEL}: not TLS"],
    )
    height = max(len(column) for column in columns) + 1
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [_line((a, b, c)) for a, b, c in zip(*padded, strict=True)]


def _outcome(result: CaseResult, outcome: Outcome, column: int) -> list[str]:
    saw = _LONG.sub("...", outcome.proxy_saw)
    if outcome.audit.get("event") == "tunnel" and outcome.audit.get("verdict") == "allow":
        saw = f"a name, {tunneled_bytes(outcome.audit):,} bytes"
    return [
        *_wrapped(f"{judge(result, outcome).label}: {outcome.client_received}", column),
        *_wrapped(f"saw {saw}", column),
    ]


def _line(cells: tuple[str, str, str]) -> str:
    return " | ".join(
        cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


def _wrapped(text: str, column: int) -> list[str]:
    return textwrap.wrap(text, _WIDTHS[column], subsequent_indent="  ", break_on_hyphens=False)
