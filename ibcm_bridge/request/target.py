"""The request target, read the way the site system's IIS will read it, or refused.

A front that reads a path differently from the server behind it can be talked past. So the path
and the query are percent-decoded exactly once, and whatever could be read in two ways is refused
rather than interpreted: dot segments, empty segments, backslashes, encoded slashes, percent signs
that survive decoding, controls and bytes outside ASCII.

A distribution point's file names travel in the *query* (``/sccm?/dir/file``, protocol.md §7), so
a query that begins with a slash is divided as a path is. But names of files may have what no path
of ConfigMgr's has: letters of any script in UTF-8, ``#``, ``;`` and ``%`` (`file_names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.file_names import (
    Misreading,
    is_short_name,
    misread_name,
    misread_segment,
    named,
    segments_of,
)

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SEPARATOR = re.compile(rb"%2f|%5c", re.IGNORECASE)

_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff%\\]")
"""After one decoding. A percent sign left over would be a second encoding."""

_PATH_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff%\\:;*?<>|\"#]")
"""And what is meaningful to NTFS, to IIS or to a URL parser, and in no path ConfigMgr uses:
alternate data streams, path parameters, wildcards, a query that was encoded into the path."""

_OTHER_NAME = re.compile(rb"(?:^|[/=&])[A-Za-z]:|(?:^|[=&])//")
"""In a query: drive letters, ``//host/share``."""

_MESSAGE_IN_LINES = re.compile(
    rb"operation=PKIOperation&message=[A-Z0-9+/]+(?:\r?\n[A-Z0-9+/]+)*={0,2}(?:\r?\n)?",
    re.IGNORECASE,
)
"""In a query: base64 as libraries write it, in lines (RFC 8894 §4.1, RFC 2045 §6.8). Nothing stands
behind a line end but more of it, so nobody takes a line for a field."""


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """An origin-form target: decoded path segments, and the query as sent (None when absent)."""

    segments: tuple[str, ...]
    query: bytes | None
    trailing_slash: bool = False
    """Whether the path ends in one; to some handlers that is path info."""

    @property
    def in_lines(self) -> bool:
        """Whether the query is a message in base64 with line ends, which only its own reader takes.

        No other query that has a line end is read at all.
        """
        return self.query is not None and b"\n" in unquote_to_bytes(self.query)

    @property
    def query_text(self) -> str | None:
        """The query, decoded once: what rows of the table are asked about."""
        return None if self.query is None else unquote_to_bytes(self.query).decode("utf-8")

    @property
    def path(self) -> str:
        """The path in lower case, without the slash it begins with."""
        return f"{self.directory}/{self.below}".lower()

    @property
    def below(self) -> str:
        """What follows the directory: the other segments, and a slash where one ends them."""
        path = "/".join(self.segments[1:])
        return f"{path}/" if path and self.trailing_slash else path

    @property
    def directory(self) -> str:
        """The whole first segment in lower case: IIS compares names without case."""
        return self.segments[0].lower() if self.segments else ""


@dataclass(frozen=True, slots=True)
class SentTarget:
    """A target as it was sent, and how it was read. Made by `sent_target` only."""

    raw: bytes
    reading: RequestTarget | Deny
    """A refusal is the request's: it is told in its turn, after what comes before the target."""


def sent_target(raw: bytes) -> SentTarget:
    """Read a target once, for all that asks about it."""
    return SentTarget(raw, read_request_target(raw))


def read_request_target(raw: bytes) -> RequestTarget | Deny:
    """Read an origin-form target (RFC 9112 §3.2.1)."""
    if not raw.startswith(b"/"):
        return Deny(Reason.TARGET_FORM, rules.TARGET_ORIGIN_FORM, "the target is not origin-form")
    if b"#" in raw:
        return _unsafe(rules.TARGET_FRAGMENT, "a fragment in the target")
    # RFC 3986 §2.1: a byte beyond ASCII stands in a target as an escape only.
    if not raw.isascii():
        return _unsafe(
            rules.TARGET_ENCODING, "a byte beyond ASCII in the target that is not an escape"
        )
    path, question_mark, query = raw.partition(b"?")
    segments = _path_segments(path)
    if isinstance(segments, Deny):
        return segments
    if not question_mark:
        return RequestTarget(segments, None, path.endswith(b"/"))
    if (refusal := _check_query(query)) is not None:
        return refusal
    return RequestTarget(segments, query, path.endswith(b"/"))


def _path_segments(path: bytes) -> tuple[str, ...] | Deny:
    if (refusal := _check_escapes(path, "path")) is not None:
        return refusal
    if _SEPARATOR.search(path):
        return _unsafe(rules.TARGET_SEPARATOR, "an encoded separator in the path")
    decoded = unquote_to_bytes(path)
    if (found := _PATH_UNSAFE.search(decoded)) is not None:
        return _unsafe(rules.TARGET_PATH, f"{_byte(found[0])} in the path can be read in two ways")
    segments = segments_of(decoded.decode("ascii"))
    for segment in segments:
        if (misreading := misread_segment(segment, of_file=False)) is not None:
            return _misread(misreading, "path")
    return tuple(segments)


def _check_query(query: bytes) -> Deny | None:
    if (refusal := _check_escapes(query, "query")) is not None:
        return refusal
    decoded = unquote_to_bytes(query)
    if decoded.startswith(b"/"):
        # With a leading slash it is a file name, whichever way the slash was written.
        return _check_file_name(query, decoded)
    in_lines = b"\n" in decoded and _MESSAGE_IN_LINES.fullmatch(decoded) is not None
    if not in_lines and (found := _UNSAFE.search(decoded)) is not None:
        return _unsafe(
            rules.TARGET_QUERY, f"{_byte(found[0])} in the query can be read in two ways"
        )
    if (what := _another_name(decoded)) is not None:
        return _unsafe(rules.TARGET_QUERY_NAME, f"{what} in the query")
    return None


def _check_file_name(query: bytes, decoded: bytes) -> Deny | None:
    if _SEPARATOR.search(query):
        return _unsafe(rules.TARGET_SEPARATOR, "an encoded separator in the query")
    try:
        # Strict: an overlong form, a surrogate or half a character is not UTF-8 (RFC 3629 §3).
        name = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = _byte(decoded[error.start : error.start + 1])
        return _unsafe(rules.TARGET_ENCODING, f"{byte} in the query is not part of UTF-8")
    misreading = misread_name(name)
    return None if misreading is None else _misread(misreading, "query")


def _check_escapes(part: bytes, where: str) -> Deny | None:
    if _BROKEN_ESCAPE.search(part):
        return _unsafe(rules.TARGET_ESCAPE, f"a percent sign in the {where} that is not an escape")
    return None


def _another_name(query: bytes) -> str | None:
    """By what a query that does not begin like a file name would be another name of a file.

    It may be joined to a path all the same: dot segments, and trailing dots and spaces, which
    Windows drops. A slash or a plus in the middle may be base64 (RFC 8894 §4.1). Taken apart and
    not searched with a pattern: clients choose the text, and 64 KB of dots took half a minute.
    """
    if (found := _OTHER_NAME.search(query)) is not None:
        return "a host or share" if found[0].endswith(b"/") else "a drive letter"
    for piece in re.split(rb"[/&]", query):
        value = piece.rpartition(b"=")[2]
        if not value.strip(b".+ ") and value.strip(b"+"):
            return "a dot segment"
        if piece.endswith((b".", b" ")):
            return "a name that ends in a dot or a blank"
    if b"~" in query:
        for name in re.split(r"[/&=]", query.decode("ascii")):
            if is_short_name(name.replace("+", " ")):
                return f"{name[:40]!a}, an 8.3 name,"
    return None


def _byte(one: bytes) -> str:
    """A byte, for the operator: the character that it is, or its value where it is none."""
    return named(one.decode("ascii")) if one.isascii() else f"byte 0x{one[0]:02X}"


def _misread(misreading: Misreading, where: str) -> Deny:
    return _unsafe(misreading.rule, f"{misreading.what} in the {where}")


def _unsafe(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.TARGET_UNSAFE, rule, detail)
