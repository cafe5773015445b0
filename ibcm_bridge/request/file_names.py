"""Detects file names in a query that Windows, or software in front of it, can parse in two ways.

A distribution point finds a file by its query (protocol.md §7). A name is accepted if every parser
finds the same file. Four kinds of parsers are considered:

- a parser that decodes twice, `%2e` and IIS's `%u002e`;
- a parser that normalizes, or converts to a Windows code page ("best fit"): it treats a fullwidth
  solidus as a solidus, and ignores invisible characters;
- a parser that treats `+` as a space, or ends a segment at `;` or `#`;
- Windows, which drops trailing dots and spaces, and has device names and short (8.3) file names.

The checks do not change the forwarded query.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from ibcm_bridge.decisions import rules

LONGEST = 2_048
"""Characters of a name with characters beyond ASCII, as for rows of a policy
(`role_additions.LONGEST`). Normalization takes quadratic time for combining marks: here, 3 ms."""


class Ambiguity(NamedTuple):
    """The reason that a name is ambiguous."""

    rule: rules.Rule
    cause: str
    """A noun phrase; "the query has" can precede it."""


_NEVER = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?<>|"]')
"""Control characters, and those that Windows forbids in names: separators, streams, wildcards
(Microsoft, "Naming Files, Paths, and Namespaces")."""

_READ_AS = {
    "\u2044": "/",  # FRACTION SLASH
    "\u2215": "/",  # DIVISION SLASH
    "\u29f8": "/",  # BIG SOLIDUS
    "\u2216": "\\",  # SET MINUS
    "\u29f5": "\\",  # REVERSE SOLIDUS OPERATOR
    "\u29f9": "\\",  # BIG REVERSE SOLIDUS
    "\u00a5": "\\",  # YEN SIGN, in code page 932
    "\u20a9": "\\",  # WON SIGN, in code page 949
    "\u2236": ":",  # RATIO
    "\u0589": ":",  # ARMENIAN FULL STOP
}
"""Characters that look like a separator, or become one by best fit (bestfit1252.txt,
bestfit932.txt and bestfit949.txt of Unicode's Windows mappings), but not by NFKC."""

_FOLDED = str.maketrans({"\u02dc": "~", "\u0303": "~", "\u223c": "~", "\u221e": "8", "\u066a": "%"})
"""Also by best fit. They are refused only if they form a short name, a device or an escape.
COMBINING TILDE becomes "~" in code page 1252."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
"""Characters besides format characters (category Cf) that a parser may ignore (Unicode,
DerivedCoreProperties, Default_Ignorable_Code_Point)."""

_ESCAPE = re.compile("%(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
_PARAMETER = re.compile("[;#]")

# Microsoft, "Naming Files, Paths, and Namespaces": a device name may have any extension. CLOCK$ is
# from older Windows. Digits of any script: by best fit, code page 1256 makes them ASCII digits. A
# dotless i becomes "i" in code page 1252.
_DEVICE = re.compile(
    r"(?:CON|PRN|AUX|NUL|(?:COM|LPT)\d|CONIN\$|CONOUT\$|CLOCK\$) *(?:\.|\Z)", re.IGNORECASE
)
_SHORT = re.compile(r"~\d+\Z")


def find_name_ambiguity(name: str) -> Ambiguity | None:
    """Return the ambiguity of a file name, relative to a package and decoded once; None if it has
    none.

    `name` begins with a slash, which is not part of the name. It may end with a slash.
    """
    if (found := _NEVER.search(name)) is not None:
        return Ambiguity(
            rules.TARGET_QUERY,
            f"{character_text(found[0])}, which Windows does not allow in file names",
        )
    if not name.isascii():
        if len(name) > LONGEST:
            return Ambiguity(
                rules.TARGET_QUERY, f"a non-ASCII name of more than {LONGEST} characters"
            )
        for character in name:
            if (
                character > "\x7f"
                and (ambiguity := _find_character_ambiguity(character)) is not None
            ):
                return ambiguity
    for segment in segments_of(name):
        if (ambiguity := find_segment_ambiguity(segment, of_file=True)) is not None:
            return ambiguity
    return None


def segments_of(path: str) -> list[str]:
    """The segments of a path. A trailing slash adds no segment."""
    segments = path[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    return segments


def find_segment_ambiguity(segment: str, *, of_file: bool) -> Ambiguity | None:
    """Return the ambiguity of a segment of a path or a file name; None if it has none.

    Device names and remaining escapes are checked in file names only. No published path has device
    names, and escapes in a path are refused earlier.
    """
    plain = segment if segment.isascii() else _plain(segment)
    # Windows drops trailing dots and spaces, so "SMS_MP." would be another name for SMS_MP. Some
    # parsers treat "+" as a space, so "..+" would be another name for "..".
    if not plain.strip(".+ "):
        return Ambiguity(
            rules.TARGET_SEGMENT, "a segment that is empty or has only dots and spaces"
        )
    if plain.endswith((".", " ")):
        return Ambiguity(
            rules.TARGET_SEGMENT, f"{segment[-40:]!a}, which ends with a dot or a space"
        )
    first = _PARAMETER.split(plain, maxsplit=1)[0]
    if "." in first and not first.strip(".+ "):
        return Ambiguity(rules.TARGET_SEGMENT, f"{segment[:40]!a}, a dot segment for some parsers")
    spaced = plain.replace("+", " ")
    if is_short_name(spaced):
        return Ambiguity(rules.TARGET_SHORT_NAME, f"{segment[:40]!a}, an 8.3 name")
    if not of_file:
        return None
    if _DEVICE.match(spaced) is not None:
        return Ambiguity(rules.TARGET_DEVICE, f"{segment[:40]!a}, a device name")
    if (escape := _ESCAPE.search(plain)) is not None:
        return Ambiguity(rules.TARGET_QUERY, f'"{escape[0]}", an escape after decoding')
    return None


def is_short_name(plain: str) -> bool:
    """Return whether a name has the form of the short names that Windows generates (8.3)."""
    if "~" not in plain:
        return False
    base, _, extension = plain.partition(".")
    base = base.rstrip(" ")
    short = len(base) <= 8 and len(extension) <= 3 and "." not in extension
    return short and _SHORT.search(base) is not None


def character_text(character: str) -> str:
    """A character for the operator: itself if it is visible, otherwise its number and name."""
    if " " < character <= "~":
        return f'"{character}"'
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _find_character_ambiguity(character: str) -> Ambiguity | None:
    read_as = _READ_AS.get(character)
    if read_as is None:
        form = unicodedata.normalize("NFKC", character)
        read_as = next((character for character in form if character in "/\\.:"), None)
    if read_as is None:
        return None
    cause = f'{character_text(character)}, which some parsers read as "{read_as}"'
    return Ambiguity(rules.TARGET_QUERY, cause)


def _plain(segment: str) -> str:
    """A segment after normalization, without invisible characters."""
    folded = unicodedata.normalize("NFKC", segment.translate(_FOLDED))
    visible = (char for char in _INVISIBLE.sub("", folded) if unicodedata.category(char) != "Cf")
    return "".join(" " if char.isspace() else char for char in visible)
