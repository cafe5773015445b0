"""Byte ranges: parsing of Range, and the largest response that it allows.

BITS requests one range for each missing part of a file, up to 500 by default, and never the same
byte twice (policy MaxRangesPerFile; protocol.md §7). With overlapping ranges, a small request makes
a server send a file many times (RFC 9110 §17.15, CVE-2011-3192). Numbers near 2^64 broke HTTP.sys
(CVE-2015-1635).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

MAX_RANGES = 500
PART_BYTES = 180
"""Overhead of a part in bytes: BITS accepts no more than that for its other fields (Microsoft,
"HTTP Requirements for BITS Downloads")."""

_RANGE = rb"(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
_RANGES = re.compile(rb"bytes=%b(?:, ?%b)*" % (_RANGE, _RANGE))
"""RFC 9110 §14.1.2. Numbers of 18 digits are below 2^63."""


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Ranges that do not overlap. Only `read_byte_ranges` makes one."""

    count: int
    length: int
    """Bytes of the ranges with a known length, in total."""
    open_from: int | None
    """First byte of the open-ended range; None if there is none."""

    def max_response(self, end: int | None) -> int:
        """The largest body of a response, in bytes. `end`: the offset where its content ends."""
        rest = 0 if end is None or self.open_from is None else max(0, end - self.open_from)
        return self.length + rest + PART_BYTES * self.count


def read_byte_ranges(values: Sequence[bytes]) -> ByteRanges | Deny | None:
    """Parse the values of all Range fields; None if there is none."""
    if not values:
        return None
    if len(values) > 1:
        return _refused(f"{len(values)} Range fields")
    parts = values[0].removeprefix(b"bytes=").split(b",", MAX_RANGES)
    if len(parts) > MAX_RANGES:
        return _refused(f"Range has more than {MAX_RANGES} byte ranges")
    if not _RANGES.fullmatch(values[0]):
        return _refused("Range is not a list of byte ranges with numbers of up to 18 digits")
    bounds = [part.strip(b" ").split(b"-") for part in parts]
    suffixes = [int(last) for first, last in bounds if not first]
    ends = [(int(first), int(last) if last else None) for first, last in bounds if first]
    open_from = [first for first, last in ends if last is None]
    if len(suffixes) + len(open_from) > 1:
        return _refused("Range has more than one open-ended or suffix range")
    # An open end is above every possible end.
    closed = sorted((first, 10**18 if last is None else last) for first, last in ends)
    for first, last in closed:
        if last < first:
            return _refused(f"Range has {first}-{last}, which ends before it begins")
    for (_, last), (first, _) in pairwise(closed):
        if first <= last:
            return _refused(f"Range has byte ranges that overlap at {first}")
    length = sum(last - first + 1 for first, last in ends if last is not None) + sum(suffixes)
    return ByteRanges(len(bounds), length, open_from[0] if open_from else None)


def _refused(detail: str) -> Deny:
    return Deny(Reason.HEADER, rules.HEAD_RANGE, detail)
