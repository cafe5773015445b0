"""The demonstration in a terminal: three columns, whatever the terminal."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from ibcm_bridge.lab.cases import Far

if TYPE_CHECKING:
    from ibcm_bridge.lab.demo import Outcome, Result

_WIDTHS = (23, 36, 34)
_RULE = "-+-".join("-" * width for width in _WIDTHS)

_LONG = re.compile(r"(?<=Content_)[0-9a-f-]{30,}[.0-9]*")
"""A content name's GUID; the report has it whole."""

_WORDS = {
    Far.ANSWERED: "PASSED",
    Far.REFUSED_THERE: "REACHED the site system",
    Far.REFUSED_BY_PROXY: "REFUSED at the perimeter",
}


def _line(cells: tuple[str, str, str]) -> str:
    return " | ".join(
        cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)
    ).rstrip()


HEADING = (
    _line(("What the client sends", "Through the bridge", "Through the tunnel")) + "\n" + _RULE
)


def row_lines(result: Result) -> list[str]:
    """A case as lines, with the rule that ends it."""
    case = result.case
    mark = "" if not result.problems else "NOT AS REQUIRED"
    columns = (
        [*_wrapped(case.title, 0), case.requirement, *([mark] if mark else [])],
        _outcome(result.bridge),
        _outcome(result.tunnel),
    )
    height = max(len(column) for column in columns)
    padded = [column + [""] * (height - len(column)) for column in columns]
    return [*(_line((a, b, c)) for a, b, c in zip(*padded, strict=True)), _RULE]


def _outcome(outcome: Outcome) -> list[str]:
    return [
        *_wrapped(f"{_WORDS[outcome.far]}: {outcome.answered}", 1),
        *_wrapped(f"saw {_LONG.sub('...', outcome.saw)}", 1),
    ]


def _wrapped(text: str, column: int) -> list[str]:
    return textwrap.wrap(text, _WIDTHS[column], subsequent_indent="  ", break_on_hyphens=False)
