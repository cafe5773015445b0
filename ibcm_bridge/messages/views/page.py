"""The text of a view, and its limits.

Anyone may have sent the bytes of a view, so its size and the work for it are limited. A `Page`
counts the remaining allowance for all parts of a view.
"""

from __future__ import annotations

import re

from ibcm_bridge.messages.views.concealing import MAX_TEXT as MAX_LOOKED_AT
from ibcm_bridge.messages.views.concealing import Kind, conceal

MAX_TEXT = 262_144
"""Characters of a view."""

MAX_TITLE = 256

MAX_VALUE = 4_096
"""Characters of one value."""

MAX_ELEMENTS = 20_000
"""XML elements that are parsed for a view; more would not fit in it."""

MAX_INFLATED = 8_388_608
"""Bytes that are inflated for a view: the same limit as for a reply."""

_UNUSUAL = re.compile(r"[^\t\x20-\x7e]")


class Page:
    """The lines of a view, up to its limits."""

    def __init__(self, *, secrets: bool) -> None:
        self.secrets = secrets
        """Whether secrets are shown."""
        self.hidden = 0
        """The number of hidden values."""
        self.elements = MAX_ELEMENTS
        self.inflated = MAX_INFLATED
        self._lines: list[str] = []
        self._room = MAX_TEXT

    @property
    def full(self) -> bool:
        """True if no more lines fit."""
        return self._room <= 0

    def line(self, text: str = "", depth: int = 0) -> None:
        """Add a line, indented by two spaces for each level of depth."""
        if self.full:
            return
        line = "  " * depth + printable(text[: self._room])
        self._lines.append(line[: self._room])
        self._room -= len(line) + 1
        if self.full:
            self._lines.append(f"[cut here: a view has at most {MAX_TEXT:,} characters]")

    def value(self, text: str, kind: Kind = Kind.OPEN) -> str:
        """A value as shown: secrets hidden, and cut to `MAX_VALUE` characters."""
        length = len(text)
        if not self.secrets:
            concealed = conceal(text, kind)
            self.hidden += concealed.hidden
            text = concealed.text
        if len(text) > MAX_VALUE or (length > MAX_LOOKED_AT and kind is Kind.OPEN):
            return f"{text[:MAX_VALUE]} [cut: {length:,} characters in total]"
        return text

    def text(self, title: str, how_to_see: str) -> str:
        """The title, the number of hidden values, and the lines."""
        beginning = [printable(title[:MAX_TITLE])]
        if self.hidden:
            values = "1 value is" if self.hidden == 1 else f"{self.hidden:,} values are"
            beginning.append(f"{values} not shown, in [brackets]; {how_to_see}")
        if self._lines:
            beginning.append("")
        return "\n".join((*beginning, *self._lines))


def printable(text: str) -> str:
    """Escape characters that affect a terminal: control characters and changes of direction."""
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
