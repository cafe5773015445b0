"""Client GUIDs, in a canonical form for comparison (protocol.md §1.4, §2.3, §3.5).

A management point executed SQL from the text after `GUID:` (CVE-2024-43468), so only an exact GUID
is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PREFIX = "GUID:"
_DIGIT = "[0-9A-Fa-f]"
_DIGITS = rf"({_DIGIT}{{8}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{12}})"
_GUID = re.compile(rf"(?:[Gg][Uu][Ii][Dd]:)?{_DIGITS}")

_IN_LOWER_CASE = re.compile(f"guid:{_DIGITS}")

DENSE = 20_000, 64
"""Characters of a text, and per colon, from which looking at each colon is slower than a search."""


def read_guid(text: str) -> str | None:
    """Return a client GUID with the prefix `GUID:` and in upper case; None if it is malformed."""
    found = _GUID.fullmatch(text)
    return f"{_PREFIX}{found[1].upper()}" if found else None


def find_guids(text: str, most: int) -> tuple[str, ...]:
    """The first `most` distinct client GUIDs in a text that have the prefix `GUID:`.

    They are in the form of `read_guid`. Other GUIDs are ignored: messages have many of them, of
    hardware, products and messages.
    """
    size, per_colon = DENSE
    if len(text) > size and per_colon * text.count(":") > len(text):
        matches = _IN_LOWER_CASE.finditer(text.lower())
    else:
        matches = _after_colons(text)
    found: dict[str, None] = {}
    for match in matches:
        found[f"{_PREFIX}{match[1].upper()}"] = None
        if len(found) == most:
            break
    return tuple(found)


def _after_colons(text: str) -> Iterator[re.Match[str]]:
    """Python finds one character far faster than a text, and a message has few colons."""
    at = text.find(":")
    while at >= 0:
        # A client GUID has eight digits before its first hyphen.
        if text[at + 9 : at + 10] == "-" and text[at - 4 : at].lower() == "guid":
            match = _GUID.match(text, at - 4)
            if match is not None:
                yield match
        at = text.find(":", at + 1)
