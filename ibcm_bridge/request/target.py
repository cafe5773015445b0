"""Parses the request target as the site system's IIS parses it, or refuses it.

A proxy that parses a path differently from the server behind it can be bypassed. So the path and
the query are percent-decoded exactly once, and ambiguous targets are refused: dot segments, empty
segments, backslashes, encoded slashes, percent signs after decoding, control characters and bytes
outside ASCII.

File names of a distribution point are in the *query* (``/sccm?/dir/file``, protocol.md §7), so a
query that begins with a slash is split like a path. File names may contain characters that no path
of ConfigMgr contains: letters of any script in UTF-8, ``#``, ``;`` and ``%`` (`file_names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.file_names import (
    Ambiguity,
    character_text,
    find_name_ambiguity,
    find_segment_ambiguity,
    is_short_name,
    segments_of,
)

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SEPARATOR = re.compile(rb"%2f|%5c", re.IGNORECASE)

_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff%\\]")
"""After decoding once. A remaining percent sign would be a second encoding."""

_PATH_UNSAFE = re.compile(rb"[\x00-\x1f\x7f-\xff%\\:;*?<>|\"#]")
"""Also characters with a meaning for NTFS, IIS or a URL parser, which no path of ConfigMgr
contains: alternate data streams, path parameters, wildcards, an encoded query."""

_OTHER_NAME = re.compile(rb"(?:^|[/=&])[A-Za-z]:|(?:^|[=&])//")
"""In a query: drive letters, ``//host/share``."""

_MESSAGE_IN_LINES = re.compile(
    rb"operation=PKIOperation&message=[A-Z0-9+/]+(?:\r?\n[A-Z0-9+/]+)*={0,2}(?:\r?\n)?",
    re.IGNORECASE,
)
"""In a query: base64 with line ends, as libraries write it (RFC 8894 §4.1, RFC 2045 §6.8). Only
base64 may follow a line end, so no parser takes a line for a header field."""


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """An origin-form target: decoded path segments, and the query as sent (None if absent)."""

    segments: tuple[str, ...]
    query: bytes | None
    trailing_slash: bool = False
    """True if the path ends with a slash, which is path info to some handlers."""

    @property
    def has_line_ends(self) -> bool:
        """True if the query is a base64 message with line ends.

        Any other query with a line end is refused. Only the parser of the message accepts these.
        """
        return self.query is not None and b"\n" in unquote_to_bytes(self.query)

    @property
    def query_text(self) -> str | None:
        """The query, decoded once, for comparison with the rows of the table."""
        return None if self.query is None else unquote_to_bytes(self.query).decode("utf-8")

    @property
    def path(self) -> str:
        """The path in lower case, without its first slash."""
        return f"{self.directory}/{self.below}".lower()

    @property
    def below(self) -> str:
        """The path below the directory, with its trailing slash, if any."""
        path = "/".join(self.segments[1:])
        return f"{path}/" if path and self.trailing_slash else path

    @property
    def directory(self) -> str:
        """The first segment in lower case, as IIS ignores case."""
        return self.segments[0].lower() if self.segments else ""


@dataclass(frozen=True, slots=True)
class SentTarget:
    """A target as sent, and as parsed. Only `sent_target` makes one."""

    raw: bytes
    reading: RequestTarget | Deny
    """A refusal is reported after those of earlier checks of the request."""


REMEMBERED = 1_024
MAX_REMEMBERED = 64
"""Targets and their bytes. All messages have the same ones, and files have longer ones."""


def sent_target(raw: bytes) -> SentTarget:
    """Parse a target, once for all its users. The result depends on nothing else."""
    return _remembered(raw) if len(raw) <= MAX_REMEMBERED else _sent_target(raw)


def _sent_target(raw: bytes) -> SentTarget:
    return SentTarget(raw, read_request_target(raw))


_remembered = lru_cache(maxsize=REMEMBERED)(_sent_target)


def read_request_target(raw: bytes) -> RequestTarget | Deny:
    """Parse an origin-form target (RFC 9112 §3.2.1)."""
    if not raw.startswith(b"/"):
        return Deny(
            Reason.TARGET_FORM, rules.TARGET_ORIGIN_FORM, "the target is not in origin form"
        )
    if b"#" in raw:
        return _unsafe(rules.TARGET_FRAGMENT, "the target has a fragment")
    # RFC 3986 §2.1: a target contains bytes beyond ASCII only as escapes.
    if not raw.isascii():
        return _unsafe(rules.TARGET_ENCODING, "the target has an unescaped byte beyond ASCII")
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
        return _unsafe(rules.TARGET_SEPARATOR, "the path has an escaped separator")
    decoded = unquote_to_bytes(path)
    if (found := _PATH_UNSAFE.search(decoded)) is not None:
        return _unsafe(rules.TARGET_PATH, f"{_byte(found[0])} in the path is ambiguous")
    segments = segments_of(decoded.decode("ascii"))
    for segment in segments:
        if (ambiguity := find_segment_ambiguity(segment, of_file=False)) is not None:
            return _ambiguous(ambiguity, "path")
    return tuple(segments)


def _check_query(query: bytes) -> Deny | None:
    if (refusal := _check_escapes(query, "query")) is not None:
        return refusal
    decoded = unquote_to_bytes(query)
    if decoded.startswith(b"/"):
        # With a leading slash, escaped or not, it is a file name.
        return _check_file_name(query, decoded)
    has_line_ends = b"\n" in decoded and _MESSAGE_IN_LINES.fullmatch(decoded) is not None
    if not has_line_ends and (found := _UNSAFE.search(decoded)) is not None:
        return _unsafe(rules.TARGET_QUERY, f"{_byte(found[0])} in the query is ambiguous")
    if (alias := _file_alias(decoded)) is not None:
        return _unsafe(rules.TARGET_QUERY_NAME, f"the query has {alias}")
    return None


def _check_file_name(query: bytes, decoded: bytes) -> Deny | None:
    if _SEPARATOR.search(query):
        return _unsafe(rules.TARGET_SEPARATOR, "the query has an escaped separator")
    try:
        # Strict: overlong forms, surrogates and incomplete characters are not UTF-8 (RFC 3629 §3).
        name = decoded.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = _byte(decoded[error.start : error.start + 1])
        return _unsafe(rules.TARGET_ENCODING, f"{byte} in the query is not UTF-8")
    ambiguity = find_name_ambiguity(name)
    return None if ambiguity is None else _ambiguous(ambiguity, "query")


def _check_escapes(part: bytes, where: str) -> Deny | None:
    if _BROKEN_ESCAPE.search(part):
        return _unsafe(
            rules.TARGET_ESCAPE, f"the {where} has a percent sign without two hex digits"
        )
    return None


def _file_alias(query: bytes) -> str | None:
    """The part of a query that would be another name of a file if a server joined it to a path.

    The query does not begin with a slash. Dot segments, and trailing dots and spaces, which Windows
    drops, are refused. A slash or plus in the middle may be base64 (RFC 8894 §4.1). The query is
    split, because a pattern takes half a minute for 64 KB of dots.
    """
    if (found := _OTHER_NAME.search(query)) is not None:
        return "a host or share" if found[0].endswith(b"/") else "a drive letter"
    for piece in re.split(rb"[/&]", query):
        value = piece.rpartition(b"=")[2]
        if not value.strip(b".+ ") and value.strip(b"+"):
            return "a dot segment"
        if piece.endswith((b".", b" ")):
            return "a name that ends with a dot or a space"
    if b"~" in query:
        for name in re.split(r"[/&=]", query.decode("ascii")):
            if is_short_name(name.replace("+", " ")):
                return f"{name[:40]!a}, an 8.3 name"
    return None


def _byte(byte: bytes) -> str:
    """A byte for the operator: its character if it is ASCII, otherwise its value."""
    return character_text(byte.decode("ascii")) if byte.isascii() else f"byte 0x{byte[0]:02X}"


def _ambiguous(ambiguity: Ambiguity, where: str) -> Deny:
    return _unsafe(ambiguity.rule, f"the {where} has {ambiguity.cause}")


def _unsafe(rule: rules.Rule, detail: str) -> Deny:
    return Deny(Reason.TARGET_UNSAFE, rule, detail)
