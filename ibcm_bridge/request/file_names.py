"""Names of files in a query, as Windows and what stands before its file system may read them.

A distribution point finds a file by its query (protocol.md §7). A name passes where every reader
finds the same file by it. Four kinds of readers are thought of:

- one that decodes a second time, `%2e` and IIS's `%u002e`;
- one that normalizes, or converts to a code page of Windows ("best fit"): to it a fullwidth
  solidus is a solidus, and characters that nobody sees are not there;
- one that takes `+` for a blank, or ends a segment at `;` or `#`;
- Windows itself, which drops dots and blanks at the end of a name, knows devices by name, and
  files by a second, short name.

The characters are those of the name; nothing here changes what is sent on.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from ibcm_bridge.decisions import rules

LONGEST = 2_048
"""Characters of a name beyond ASCII. No row of a policy looks at more (`role_additions.LONGEST`);
to normalize costs the square of a run of combining marks: 3 ms for these."""


class Misreading(NamedTuple):
    """Why a name can be read in two ways."""

    rule: rules.Rule
    what: str
    """What was found; "in the query" can follow it."""


_NEVER = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?<>|"]')
"""Controls, and what no name in Windows can have: separators, streams, wildcards ("Naming Files,
Paths, and Namespaces")."""

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
"""What looks like a separator, or becomes one by best fit (bestfit1252.txt, bestfit932.txt
and bestfit949.txt of Unicode's mappings for Windows), though NFKC keeps it."""

_FOLDED = str.maketrans({"\u02dc": "~", "\u0303": "~", "\u223c": "~", "\u221e": "8", "\u066a": "%"})
"""By best fit as well; they are harmless but where they make a short name, a device or an escape.
A COMBINING TILDE is "~" in code page 1252."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\ufff0-\ufff8"
    "\U000e0000-\U000e0fff]"
)
"""Beside the format characters (category Cf), those that a reader may ignore (Unicode,
DerivedCoreProperties, Default_Ignorable_Code_Point)."""

_ESCAPE = re.compile("%(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})")
_PARAMETER = re.compile("[;#]")

# "Naming Files, Paths, and Namespaces": with any extension, too. CLOCK$ is that of older Windows.
# Of any script: by best fit digits become ASCII's in code page 1256, a dotless i an "i" in 1252.
_DEVICE = re.compile(
    r"(?:CON|PRN|AUX|NUL|(?:COM|LPT)\d|CONIN\$|CONOUT\$|CLOCK\$) *(?:\.|\Z)", re.IGNORECASE
)
_SHORT = re.compile(r"~\d+\Z")


def misread_name(name: str) -> Misreading | None:
    """Why a file name, relative to a package and decoded once, can be read in two ways.

    `name` begins with a slash, which is no part of it; slashes divide it, and one may end it.
    """
    if (found := _NEVER.search(name)) is not None:
        return Misreading(
            rules.TARGET_QUERY, f"{named(found[0])}, which no file of Windows has in its name,"
        )
    if not name.isascii():
        if len(name) > LONGEST:
            return Misreading(
                rules.TARGET_QUERY, f"a name beyond ASCII of over {LONGEST} characters"
            )
        for character in name:
            if character > "\x7f" and (misreading := _misread_character(character)) is not None:
                return misreading
    for segment in segments_of(name):
        if (misreading := misread_segment(segment, of_file=True)) is not None:
            return misreading
    return None


def segments_of(path: str) -> list[str]:
    """What the slashes of a path divide; one that ends it divides nothing."""
    segments = path[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    return segments


def misread_segment(segment: str, *, of_file: bool) -> Misreading | None:
    """Why one segment of a path or of a file's name can be read in two ways.

    Devices and left-over escapes are only looked for in names of files: in a path no published row
    has the first, and the second are refused before.
    """
    plain = segment if segment.isascii() else _plain(segment)
    # Windows drops trailing dots and blanks, so "SMS_MP." would be another name for SMS_MP. To some
    # readers "+" is a blank, so "..+" would be another name for "..".
    if not plain.strip(".+ "):
        return Misreading(
            rules.TARGET_SEGMENT, "a segment of nothing, or of nothing but dots and blanks"
        )
    if plain.endswith((".", " ")):
        return Misreading(
            rules.TARGET_SEGMENT, f"{segment[-40:]!a}, which ends in a dot or a blank,"
        )
    first = _PARAMETER.split(plain, maxsplit=1)[0]
    if "." in first and not first.strip(".+ "):
        return Misreading(rules.TARGET_SEGMENT, f"{segment[:40]!a}, to some readers a dot segment,")
    spaced = plain.replace("+", " ")
    if is_short_name(spaced):
        return Misreading(rules.TARGET_SHORT_NAME, f"{segment[:40]!a}, an 8.3 name,")
    if not of_file:
        return None
    if _DEVICE.match(spaced) is not None:
        return Misreading(rules.TARGET_DEVICE, f"{segment[:40]!a}, the name of a device,")
    if (escape := _ESCAPE.search(plain)) is not None:
        return Misreading(rules.TARGET_QUERY, f'"{escape[0]}", which is left after decoding,')
    return None


def is_short_name(plain: str) -> bool:
    """Whether this is, as a whole, a name that Windows gives a longer one (8.3)."""
    if "~" not in plain:
        return False
    base, _, extension = plain.partition(".")
    base = base.rstrip(" ")
    short = len(base) <= 8 and len(extension) <= 3 and "." not in extension
    return short and _SHORT.search(base) is not None


def named(character: str) -> str:
    """A character, for the operator: itself where it can be seen, else by number and name."""
    if " " < character <= "~":
        return f'"{character}"'
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def _misread_character(character: str) -> Misreading | None:
    read_as = _READ_AS.get(character)
    if read_as is None:
        form = unicodedata.normalize("NFKC", character)
        read_as = next((one for one in form if one in "/\\.:"), None)
    if read_as is None:
        return None
    return Misreading(rules.TARGET_QUERY, f'{named(character)}, to some readers "{read_as}",')


def _plain(segment: str) -> str:
    """A segment as a reader has it that normalizes, and ignores what nobody sees."""
    folded = unicodedata.normalize("NFKC", segment.translate(_FOLDED))
    seen = (one for one in _INVISIBLE.sub("", folded) if unicodedata.category(one) != "Cf")
    return "".join(" " if one.isspace() else one for one in seen)
