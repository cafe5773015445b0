"""Patterns for decoded text -> patterns for the text as sent, with escapes (RFC 3986 2.1).

Other proxies match a target before they decode it, or decode it in their own way. The result
matches each text whose decoded form the pattern matches, except unusual spellings: an unreserved
character (RFC 3986 2.3) is never escaped, a slash neither, and there is no backslash. It uses only
syntax that PCRE and RE2 share.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from typing import Any

from ibcm_bridge.policy_file.patterns import characters, parsed

_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_RAW = frozenset(map(chr, range(0x21, 0x7F))) - frozenset('"#%<>?\\^`|')
"""The characters that may be sent without an escape; clients send braces so, too."""
_NEVER = frozenset("\0\\")
_NEVER_ESCAPED = _UNRESERVED | frozenset("/\\\0")
_CONTROLS = frozenset(map(chr, (*range(32), 127)))
"""No spelling of these matches `.` or a negated class."""
_UTF_8 = "[c-f][0-9a-f](?:%[89ab][0-9a-f]){1,3}"
"""The escapes of one character beyond ASCII, without the first percent sign."""
_SETS = frozenset(("ANY", "IN", "LITERAL", "NOT_LITERAL"))
"""Items that match one character."""
_BEYOND_ASCII = "\x80"
"""As in `patterns`: it represents all characters beyond ASCII."""

MOST = 255
"""Longer repetitions become unlimited: RE2 and PCRE limit them. The size of the request head is
limited too."""


def raw_pattern(pattern: re.Pattern[str]) -> str:
    """Return a pattern for the text as sent. It ignores case, and has no anchors."""
    return _sequence(parsed(pattern.pattern))


def raw_literal(text: str) -> str:
    """Return a pattern for a text as sent."""
    return _sequence(parsed(re.escape(text)))


def _sequence(items: Any) -> str:
    return "".join(_item(str(op), value) for op, value in items)


def _item(op: str, value: Any) -> str:
    if op == "AT":  # ^ and $ have no effect: the whole text must match
        return ""
    if op == "SUBPATTERN":
        return f"(?:{_sequence(value[3])})"
    if op == "BRANCH":
        return f"(?:{'|'.join(_sequence(branch) for branch in value[1])})"
    if op in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, body = value
        taken = _only_set(body)
        if int(most) > MOST and taken is not None:
            return _unlimited(taken, int(least))
        # A sequence of one item is one atom, because `_set` returns a class or a group.
        return f"{_atom(body)}{_count(int(least), int(most))}"
    return _set(_taken(op, value))


def _taken(op: str, value: Any) -> frozenset[str]:
    """Return the characters that an item matches."""
    taken = frozenset(characters(op, value))
    if op in ("ANY", "NOT_LITERAL") or (op == "IN" and str(value[0][0]) == "NEGATE"):
        taken -= _CONTROLS
    return taken


def _only_set(body: Any) -> frozenset[str] | None:
    """Return the characters of a sequence of one set; of another sequence, None."""
    if len(body) != 1:
        return None
    op, value = str(body[0][0]), body[0][1]
    if op == "SUBPATTERN":
        return _only_set(value[3])
    return _taken(op, value) if op in _SETS else None


def _unlimited(taken: frozenset[str], least: int) -> str:
    """Return an unlimited repetition of a set.

    A group is repeated for escapes only, because PCRE2 in HAProxy has a stack of 32 KB. A class
    does not use it, and about 1,300 rounds of a group fill it: then nothing matches.
    """
    sent, escaped = _spellings(taken)
    if not sent or not escaped:
        return f"{_set(taken)}{_count(least, MOST + 1)}"
    first = "" if not least else f"{_set(taken)}{_count(least, least)}"
    return f"{first}{sent}*(?:{escaped}{sent}*)*"


def _atom(body: Any) -> str:
    text = _sequence(body)
    return text if len(body) == 1 and text else f"(?:{text})"


def _count(least: int, most: int) -> str:
    if most > MOST:
        return ("*", "+")[least] if least < 2 else f"{{{least},}}"
    if (least, most) in ((0, 1), (1, 1)):
        return "?" if least == 0 else ""
    return f"{{{least}}}" if least == most else f"{{{least},{most}}}"


def _set(taken: frozenset[str]) -> str:
    """Return a class, or a group with a class and escapes."""
    options = [text for text in _spellings(taken) if text]
    if not options:
        # A set that no spelling matches.
        return "[^\\x00-\\xff]"
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"


def _spellings(taken: frozenset[str]) -> tuple[str, str]:
    """Return a class for the characters as sent, and a pattern for their escapes."""
    taken -= _NEVER
    sent = _class(c for c in taken if c in _RAW)
    return sent, _escapes(c for c in taken if c not in _NEVER_ESCAPED)


def _class(members: Iterable[str]) -> str:
    codes = sorted({ord(member.lower()) for member in members})
    if not codes:
        return ""
    if len(codes) == 1:
        return _quoted(codes[0])
    return f"[{''.join(_runs(codes))}]"


def _runs(codes: list[int]) -> Iterable[str]:
    start = 0
    for index, code in enumerate(codes):
        if index + 1 < len(codes) and codes[index + 1] == code + 1:
            continue
        first = codes[start]
        if code - first > 1:
            yield f"{_quoted(first)}-{_quoted(code)}"
        else:
            yield "".join(map(_quoted, range(first, code + 1)))
        start = index + 1


def _quoted(code: int) -> str:
    character = chr(code)
    return character if character.isalnum() or character in "/_%=&,;:'!@~" else f"\\{character}"


def _escapes(members: Iterable[str]) -> str:
    """Return a pattern for the escapes of these characters."""
    found = frozenset(members)
    low: dict[str, list[str]] = {}
    for member in sorted(found):
        if member == _BEYOND_ASCII:
            continue
        digits = f"{ord(member):02x}"
        low.setdefault(digits[0], []).append(digits[1])
    # Digits with the same second half share a class.
    highs: dict[str, list[str]] = {}
    for high, second in low.items():
        highs.setdefault("".join(second), []).append(high)
    parts = [_hex("".join(first)) + _hex(second) for second, first in highs.items()]
    if _BEYOND_ASCII in found:
        parts.append(_UTF_8)
    if not parts:
        return ""
    return f"%{parts[0]}" if len(parts) == 1 else f"%(?:{'|'.join(parts)})"


def _hex(digits: str) -> str:
    if len(digits) == 1:
        return digits
    return f"[{''.join(_runs([ord(digit) for digit in digits]))}]"
