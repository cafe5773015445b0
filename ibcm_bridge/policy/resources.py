"""Directories of a role, and what is published below each."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from ibcm_bridge.policy.bodies import ReplyReading

_WORDS = re.compile(r"[a-z0-9_$]+")

_LETTERS = {
    "a": "\u00c6\u00e6\u03b1",
    "b": "\u0180",
    "d": "\u00d0\u00f0\u0110\u0111\u0189\u03b4\u266a\u266b",
    "e": "\u03b5\u2107\u212e",
    "f": "\u0191\u0192\u03a6\u03c6",
    "i": "\u0131\u0197",
    "l": "\u00a3\u0141\u0142\u019a\u221f\u2514\u2558\u2559\u255a",
    "t": "\u00de\u00fe\u0166\u0167\u01ab\u01ae\u0398\u03c4\u252c\u2564\u2565\u2566",
}
"""Letters of the content library's names, and what becomes them by best fit alone (Unicode's
mappings for Windows)."""

_BEST_FIT = {ord(one): letter for letter, others in _LETTERS.items() for one in others}

_READINGS = (
    {ord("\u0131"): "i"},
    _BEST_FIT,
    _BEST_FIT | {ord("\u00f0"): "e"},  # in code pages 936 and 950; a "d" in 932
)


def _as_read(query: str) -> str:
    """A query in lower case, as readers have it that know no letters beyond ASCII ("best fit").

    Marks go, and what is compatible with an ASCII letter becomes one. What is only similar goes in
    the first reading, and becomes one in the others; a line each.
    """
    if query.isascii():
        return query.lower()
    plain = "\n".join(
        unicodedata.normalize("NFKD", query.translate(reading)) for reading in _READINGS
    )
    return plain.encode("ascii", "ignore").decode("ascii").lower()


@dataclass(frozen=True, slots=True)
class Resource:
    """What is published below a virtual directory, or refused with a requirement of its own."""

    path: re.Pattern[str]
    """What follows the directory and its slash, whole."""
    query: re.Pattern[str] | None
    """The query, decoded; None where there must be none."""
    methods: frozenset[bytes]
    refused: str
    """The requirement for which it is refused; empty where it is published."""
    longest: int = 65_536
    """Characters of a path or a query; what is longer is not what this row is about."""
    never_in_query: frozenset[str] = frozenset()
    """Words in lower case; a query that has one is not what this row is about."""
    reply: ReplyReading | None = None
    """How what answers it is read; None where it is passed on unread."""
    dots: bool = False
    """Whether its last name may have more dots than one, where the role has none of these."""
    acts: bool = False
    """Whether a request for it changes something, whatever its method says."""

    def has(self, path: str, query: str | None) -> bool:
        """Whether this row is about that path and query."""
        if len(path) > self.longest or len(query or "") > self.longest:
            return False
        if self.refused:
            return self._refuses(path, query)
        if not self.publishes(path):
            return False
        if self.query is None or query is None:
            return self.query is None and query is None
        if not self.never_in_query.isdisjoint(_WORDS.findall(_as_read(query))):
            return False
        return self.query.fullmatch(query) is not None

    def publishes(self, path: str) -> bool:
        """Whether this row publishes that path, with the right query."""
        return (
            not self.refused and len(path) <= self.longest and self.path.fullmatch(path) is not None
        )

    def _refuses(self, path: str, query: str | None) -> bool:
        """More than by the letter: with path info, and with whatever else is in the query.

        What is refused by name must not pass under a row that takes anything.
        """
        # With re's own cache; `match` would settle for the first alternative that is long enough.
        if not re.fullmatch(f"(?:{self.path.pattern})(?:/.*)?", path, self.path.flags | re.DOTALL):
            return False
        if self.query is None:
            return True
        return query is not None and self.query.search(query) is not None


@dataclass(frozen=True, slots=True)
class Directory:
    """A virtual directory: its name in lower case, and what is published below it."""

    name: str
    resources: tuple[Resource, ...]
    authenticates_users: bool = False
    """Whether Windows does (USER-WINDOWS-AUTH)."""
