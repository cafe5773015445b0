"""How much of a 206 may pass, by the ranges that were asked for."""

from __future__ import annotations

import re
from http import HTTPStatus

import h11

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.byte_ranges import ByteRanges

_RANGE_FIELD = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)")
"""Content-Range of a 206 (RFC 9110 §14.4)."""

_PART_FIELD = re.compile(rb"\ncontent-range:[ \t]*(%b)[ \t]*\r\n" % _RANGE_FIELD.pattern, re.I)

_FIRST_PART = 1_024
"""Bytes within which the fields of the first part are."""


class PartialBody:
    """How much of a 206 may pass. Sans-IO."""

    def __init__(self, asked: ByteRanges, end: int | None) -> None:
        self._asked = asked
        self._passed = 0
        self.most = asked.max_response(end)
        """Bytes."""
        # In the first part it says how long the file is.
        self._start: bytes | None = b"" if end is None and asked.open_from is not None else None

    def passing(self, piece: bytes) -> bytes:
        """As much of the next piece as may pass; what is less than the piece is the last of it."""
        if self._start is not None:
            self._look_for_length(piece)
        passing = piece[: self.most - self._passed]
        self._passed += len(passing)
        return passing

    def _look_for_length(self, piece: bytes) -> None:
        assert self._start is not None
        self._start += piece[: _FIRST_PART - len(self._start)]
        found = _PART_FIELD.search(self._start)
        if found is not None:
            self.most = self._asked.max_response(int(found[4] or 0))
        if found is not None or len(self._start) >= _FIRST_PART:
            self._start = None


def partial_body(asked: ByteRanges | None, response: h11.Response) -> PartialBody | Deny | None:
    """The bound of an answer; None where it has none, as a 200 with the whole file has not.

    A Deny where an open end could not be bounded: RFC 9110 §15.3.7 demands the field.
    """
    if asked is None or response.status_code != HTTPStatus.PARTIAL_CONTENT:
        return None
    codings, ranges, types = (
        [value for name, value in response.headers if name == wanted]
        for wanted in (b"content-encoding", b"content-range", b"content-type")
    )
    if any(b"peerdist" in value.lower() for value in codings):
        # Hashes of the file in the place of its bytes ([MS-PCCRTP] §3.2.5.1).
        return None
    if asked.open_from is None:
        return PartialBody(asked, None)
    if len(ranges) == 1 and (found := _RANGE_FIELD.fullmatch(ranges[0])) is not None:
        return PartialBody(asked, int(found[2]) + 1)
    if not ranges and len(types) == 1 and types[0].lower().startswith(b"multipart/byteranges"):
        return PartialBody(asked, None)
    detail = "a 206 to a range without a last byte, and no Content-Range that says how much it is"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_CONTENT_RANGE, detail)
