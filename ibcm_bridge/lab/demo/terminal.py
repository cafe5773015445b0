"""The output of the demo on a terminal, or in a file: its width, its colors, and its progress."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from ibcm_bridge.lab.comparison.verdicts import Grade

MAX_WIDTH = 160
MIN_WIDTH = 40

_COLORS = {Grade.RIGHT: 32, Grade.LATE: 33, Grade.WRONG: 31, Grade.OUTAGE: 35}
"""ECMA-48, SGR: green, yellow, red and magenta of the terminal's own palette."""

_CLEAR = "\r\x1b[K"


@dataclass(frozen=True)
class Terminal:
    """How to print the table. Marks and words say the same without color."""

    width: int
    colored: bool = False

    @classmethod
    def found(cls, out: TextIO, environment: Mapping[str, str] = os.environ) -> Terminal:
        """Return the terminal of this output. A pipe or a file has 80 columns and no color."""
        # It knows COLUMNS, and the size of the terminal of standard output.
        width = shutil.get_terminal_size().columns
        return cls(min(max(width, MIN_WIDTH), MAX_WIDTH), _has_colors(out, environment))

    def paint(self, text: str, grade: Grade) -> str:
        """Return the text in the color of the grade."""
        return f"\x1b[{_COLORS[grade]}m{text}\x1b[0m" if self.colored else text

    def bold(self, text: str) -> str:
        """Return the text in bold, as a heading."""
        return f"\x1b[1m{text}\x1b[0m" if self.colored else text


def _has_colors(out: TextIO, environment: Mapping[str, str]) -> bool:
    # https://no-color.org: any value but an empty one.
    if not out.isatty() or environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return False
    # Older consoles of Windows print the sequences.
    return os.name == "posix" or "WT_SESSION" in environment


class Progress:
    """The case that runs, on the last line of a terminal. Nothing is printed elsewhere."""

    def __init__(self, total: int, width: int, err: TextIO = sys.stderr) -> None:
        self._total, self._width = total, width
        self._err = err
        self._shown = _has_colors(err, {})
        self._count = 0

    def begin(self, title: str) -> None:
        """Show the case that is sent now."""
        self._count += 1
        if self._shown:
            text = f"{self._count}/{self._total} {title} ..."
            self._err.write(f"{_CLEAR}{text[: self._width - 1]}")
            self._err.flush()

    def clear(self) -> None:
        """Remove the line, before other output."""
        if self._shown:
            self._err.write(_CLEAR)
            self._err.flush()
