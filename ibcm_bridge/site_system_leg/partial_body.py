"""Limits the body of a 206 response by the requested ranges."""

from __future__ import annotations

import re
from http import HTTPStatus

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.byte_ranges import ByteRanges
from ibcm_bridge.site_system_leg.received_head import ReceivedHead

_RANGE_FIELD = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)")
"""Content-Range of a 206 (RFC 9110 §14.4)."""

_PART_FIELD = re.compile(rb"\ncontent-range:[ \t]*(%b)[ \t]*\r\n" % _RANGE_FIELD.pattern, re.I)

_FIRST_PART = 1_024
"""The fields of the first part are within this number of bytes."""


class PartialBody:
    """The allowed size of the body of a 206. Sans-IO."""

    def __init__(self, requested: ByteRanges, end: int | None) -> None:
        self._requested = requested
        self._forwarded = 0
        self.limit = requested.max_response(end)
        """Bytes."""
        # The size of the file is then in the fields of the first part.
        self._start: bytes | None = b"" if end is None and requested.open_from is not None else None

    def within_limit(self, piece: bytes) -> bytes:
        """The part of the next piece within the limit. Nothing may follow an incomplete piece."""
        if self._start is not None:
            self._find_length(piece)
        allowed = piece[: self.limit - self._forwarded]
        self._forwarded += len(allowed)
        return allowed

    def _find_length(self, piece: bytes) -> None:
        assert self._start is not None
        self._start += piece[: _FIRST_PART - len(self._start)]
        found = _PART_FIELD.search(self._start)
        if found is not None:
            self.limit = self._requested.max_response(int(found[4] or 0))
        if found is not None or len(self._start) >= _FIRST_PART:
            self._start = None


def partial_body(requested: ByteRanges | None, response: ReceivedHead) -> PartialBody | Deny | None:
    """Return the limit of a response body; None for no limit, as for a 200 with the whole file.

    A 206 without Content-Range is refused if the range is open-ended. RFC 9110 §15.3.7 requires it.
    """
    if requested is None or response.status != HTTPStatus.PARTIAL_CONTENT:
        return None
    names = (b"content-encoding", b"content-range", b"content-type")
    codings, ranges, types = map(response.values, names)
    if any(b"peerdist" in value.lower() for value in codings):
        # Hashes of the file instead of its content ([MS-PCCRTP] §3.2.5.1).
        return None
    if requested.open_from is None:
        return PartialBody(requested, None)
    if len(ranges) == 1 and (found := _RANGE_FIELD.fullmatch(ranges[0])) is not None:
        return PartialBody(requested, int(found[2]) + 1)
    if not ranges and len(types) == 1 and types[0].lower().startswith(b"multipart/byteranges"):
        return PartialBody(requested, None)
    detail = "a 206 for an open-ended range without a valid Content-Range"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM_CONTENT_RANGE, detail)
