"""The directories of a role, and their resources."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

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
"""The letters in the names of the content library, and the characters that become them by best fit
(Unicode's mappings for Windows), but not by NFKD."""

_BEST_FIT = {ord(other): letter for letter, others in _LETTERS.items() for other in others}

_READINGS = (
    {ord("\u0131"): "i"},
    _BEST_FIT,
    _BEST_FIT | {ord("\u00f0"): "e"},  # in code pages 936 and 950; a "d" in 932
)


def _as_read(query: str) -> str:
    """A query in lower case, as converted to ASCII in three ways ("best fit"), one a line.

    All three drop marks, and convert characters that are compatible with an ASCII letter. The first
    drops characters that are only similar to a letter, and the others convert them.
    """
    if query.isascii():
        return query.lower()
    plain = "\n".join(
        unicodedata.normalize("NFKD", query.translate(reading)) for reading in _READINGS
    )
    return plain.encode("ascii", "ignore").decode("ascii").lower()


@dataclass(frozen=True, slots=True)
class Resource:
    """A row of a directory: resources that are published, or refused by a requirement."""

    path: re.Pattern[str]
    """The complete path below the directory."""
    query: re.Pattern[str] | None
    """The decoded query; None: the request must not have a query."""
    methods: frozenset[bytes]
    refused: str
    """The requirement by which it is refused; empty if it is published."""
    max_length: int = 65_536
    """Characters of a path or a query. The row does not match longer ones."""
    never_in_query: frozenset[str] = frozenset()
    """Words in lower case. The row does not match a query with one of them."""
    reply: ReplyReading | None = None
    """How the response is inspected; None if it is forwarded without inspection."""
    dots: bool = False
    """True if the last segment may have several dots, even if the role has no `dots_in_path`."""
    acts: bool = False
    """True if a request for it changes state, even if its method is safe."""
    _with_path_info: re.Pattern[str] | None = field(init=False, repr=False, compare=False)
    """`path`, also with path info; None if the row is published."""

    def __post_init__(self) -> None:
        """Compile the pattern of a refused row once."""
        pattern = f"(?:{self.path.pattern})(?:/.*)?"
        found = re.compile(pattern, self.path.flags | re.DOTALL) if self.refused else None
        object.__setattr__(self, "_with_path_info", found)

    def matches(self, path: str, query: str | None) -> bool:
        """Return whether the row matches this path and query."""
        if len(path) > self.max_length or len(query or "") > self.max_length:
            return False
        if self._with_path_info is not None:
            return self._refuses(self._with_path_info, path, query)
        if not self.publishes(path):
            return False
        if self.query is None or query is None:
            return self.query is None and query is None
        if not self.never_in_query.isdisjoint(_WORDS.findall(_as_read(query))):
            return False
        return self.query.fullmatch(query) is not None

    def publishes(self, path: str) -> bool:
        """Return whether the row publishes this path, with some query."""
        if self.refused or len(path) > self.max_length:
            return False
        return self.path.fullmatch(path) is not None

    def _refuses(self, with_path_info: re.Pattern[str], path: str, query: str | None) -> bool:
        """Return whether the row refuses this path and query, also with path info, or with more in
        the query: a row that matches everything must not publish what another row refuses.
        """
        # `fullmatch`, because `match` would stop at the first alternative.
        if not with_path_info.fullmatch(path):
            return False
        if self.query is None:
            return True
        return query is not None and self.query.search(query) is not None


@dataclass(frozen=True, slots=True)
class Directory:
    """A virtual directory: its name in lower case, and its resources."""

    name: str
    resources: tuple[Resource, ...]
    authenticates_users: bool = False
    """True if the site system uses Windows authentication (USER-WINDOWS-AUTH)."""
