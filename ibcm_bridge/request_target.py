"""The request target, read the way the site system's IIS will read it, or refused.

A front that reads a path differently from the server behind it can be talked past. So the path
and the query are percent-decoded exactly once, and whatever could be read in two ways is refused
rather than interpreted: dot segments, empty segments, backslashes, encoded slashes, percent signs
that survive decoding, controls and bytes outside ASCII.

A distribution point's file names travel in the *query* (``/sccm?/dir/file``, protocol.md §7), so
a query that begins with a slash is held to the rules of a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ibcm_bridge.decisions import Deny, Reason

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff%\\]")
"""After one decoding. A percent sign left over would be a second encoding."""

_PATH_UNSAFE = re.compile(rb"[:;*?<>|\"#]")
"""Meaningful to NTFS, to IIS or to a URL parser, and in no name ConfigMgr uses: alternate data
streams, path parameters, wildcards, a query that was encoded into the path."""

_SHORT_NAME = re.compile(rb"~[0-9]")
"""8.3 names: another spelling of a longer name."""

_OTHER_NAME = re.compile(rb"(?:^|[/=&])[A-Za-z]:|(?:^|[=&])//|~[0-9]")
"""In a query: drive letters, ``//host/share``, short names."""

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
    in_lines: bool = False
    """Whether the query is a message in base64 with line ends, which only its own reader takes."""

    @property
    def below(self) -> str:
        """What follows the directory: the other segments, and a slash where one ends them."""
        path = "/".join(self.segments[1:])
        return f"{path}/" if path and self.trailing_slash else path

    @property
    def directory(self) -> str:
        """The whole first segment in lower case: IIS compares names without case."""
        return self.segments[0].lower() if self.segments else ""


def read_request_target(raw: bytes) -> RequestTarget | Deny:
    """Read an origin-form target (RFC 9112 §3.2.1)."""
    if not raw.startswith(b"/"):
        return Deny(Reason.TARGET_FORM, "target.origin-form", "the target is not origin-form")
    if b"#" in raw:
        return _unsafe("fragment", "a fragment in the target")
    path, question_mark, query = raw.partition(b"?")
    segments = _segments(path, "path")
    if isinstance(segments, Deny):
        return segments
    if not question_mark:
        return RequestTarget(segments, None, path.endswith(b"/"))
    if _BROKEN_ESCAPE.search(query):
        return _unsafe("escape", "a percent sign in the query that is not an escape")
    decoded = unquote_to_bytes(query)
    in_lines = b"\n" in decoded and _MESSAGE_IN_LINES.fullmatch(decoded) is not None
    if not in_lines and _UNSAFE.search(decoded):
        return _unsafe("query", "a query with a control, a backslash or a second encoding")
    if decoded.startswith(b"/"):
        # With a leading slash it is a file name, whichever way the slash was written.
        named = _segments(query, "query")
        if isinstance(named, Deny):
            return named
    elif _is_another_name(decoded):
        return _unsafe("query-name", "a dot segment, a drive or another spelling in the query")
    return RequestTarget(segments, query, path.endswith(b"/"), in_lines)


def _segments(path: bytes, where: str) -> tuple[str, ...] | Deny:
    if _BROKEN_ESCAPE.search(path):
        return _unsafe("escape", f"a percent sign in the {where} that is not an escape")
    if re.search(rb"%2f|%5c", path, re.IGNORECASE):
        return _unsafe("separator", f"an encoded separator in the {where}")
    decoded = unquote_to_bytes(path)
    if _UNSAFE.search(decoded) or _PATH_UNSAFE.search(decoded) or _SHORT_NAME.search(decoded):
        return _unsafe(where, f"a character in the {where} that can be read in two ways")
    segments = decoded[1:].split(b"/")
    if segments[-1] == b"":
        segments.pop()
    for segment in segments:
        # Windows drops trailing dots and spaces, so "SMS_MP." would be another name for SMS_MP.
        # A query's "+" is a space to some readers, so "..+" would be another name for "..".
        if segment.rstrip(b". ") != segment or not segment.strip(b".+ "):
            return _unsafe("segment", f"an empty or dotted segment in the {where}")
    return tuple(segment.decode("ascii") for segment in segments)


def _is_another_name(query: bytes) -> bool:
    """Whether a query that does not begin like a file name would be another name of a file.

    It may be joined to a path all the same: dot segments, and trailing dots and spaces, which
    Windows drops. A slash or a plus in the middle may be base64 (RFC 8894 §4.1). Taken apart and
    not searched with a pattern: clients choose the text, and 64 KB of dots took half a minute.
    """
    if _OTHER_NAME.search(query):
        return True
    for piece in re.split(rb"[/&]", query):
        value = piece.rpartition(b"=")[2]
        only_dots = not value.strip(b".+ ") and value.strip(b"+")
        if only_dots or piece.endswith((b".", b" ")):
            return True
    return False


def _unsafe(part: str, detail: str) -> Deny:
    return Deny(Reason.TARGET_UNSAFE, f"target.{part}", detail)
