"""The text of a view, and what may be spent on it.

A view is for people who look at traffic, of bytes that anybody may have sent. So its size is
bounded, and so is the work: what is left of each bound is kept here, for all parts of one view.
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
"""XML elements that are read for a view; more would hardly fit in it."""

MAX_INFLATED = 8_388_608
"""Bytes, of everything that is inflated for a view; as of a reply that the bridge reads."""

_UNUSUAL = re.compile(r"[^\t\x20-\x7e]")


class Page:
    """Lines, until there is no room."""

    def __init__(self, *, secrets: bool) -> None:
        self.secrets = secrets
        """Whether values are shown that are otherwise hidden."""
        self.hidden = 0
        """How many are not shown."""
        self.elements = MAX_ELEMENTS
        self.inflated = MAX_INFLATED
        self._lines: list[str] = []
        self._room = MAX_TEXT

    @property
    def full(self) -> bool:
        """Whether nothing more is taken; who makes many lines asks."""
        return self._room <= 0

    def line(self, text: str = "", depth: int = 0) -> None:
        """Add a line, two spaces further in for each step of depth."""
        if self.full:
            return
        line = "  " * depth + printable(text[: self._room])
        self._lines.append(line[: self._room])
        self._room -= len(line) + 1
        if self.full:
            self._lines.append(f"[cut here: a view ends after {MAX_TEXT:,} characters]")

    def value(self, text: str, kind: Kind = Kind.OPEN) -> str:
        """What is shown of a value."""
        length = len(text)
        if not self.secrets:
            concealed = conceal(text, kind)
            self.hidden += concealed.hidden
            text = concealed.text
        if len(text) > MAX_VALUE or (length > MAX_LOOKED_AT and kind is Kind.OPEN):
            return f"{text[:MAX_VALUE]} [cut: {length:,} characters in all]"
        return text

    def text(self, title: str, how_to_see: str) -> str:
        """All of it, with what is not shown said first."""
        beginning = [printable(title[:MAX_TITLE])]
        if self.hidden:
            values = "1 value is" if self.hidden == 1 else f"{self.hidden:,} values are"
            beginning.append(f"{values} not shown, in [brackets]; {how_to_see}")
        if self._lines:
            beginning.append("")
        return "\n".join((*beginning, *self._lines))


def printable(text: str) -> str:
    """Text that does nothing to a terminal: no control characters, no changes of direction."""
    return _UNUSUAL.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
