"""Parts of a file: what Range may ask for, and how much of an answer that can be.

BITS asks for as many ranges of a file as it lacks parts of, 500 by default, and never twice for a
byte (its policy MaxRangesPerFile; protocol.md §7). By ranges that overlap, a small request makes a
server send a file many times (RFC 9110 §17.15, CVE-2011-3192); numbers near 2^64 have broken
HTTP.sys (CVE-2015-1635).
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
"""What a part may have beside its bytes: BITS takes no more than that in other fields (Microsoft,
"HTTP Requirements for BITS Downloads")."""

_RANGE = rb"(?:[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18})"
_RANGES = re.compile(rb"bytes=%b(?:, ?%b)*" % (_RANGE, _RANGE))
"""RFC 9110 §14.1.2; numbers of 18 digits are below 2^63."""


@dataclass(frozen=True, slots=True)
class ByteRanges:
    """Ranges that do not overlap. Made by `read_byte_ranges` only."""

    count: int
    length: int
    """Bytes of those that say how long they are."""
    open_from: int | None
    """Where the one without a last byte begins; None where there is none."""

    def most(self, end: int | None) -> int:
        """Bytes of an answer at most. `end`: where the file ends, or what there is of it."""
        rest = 0 if end is None or self.open_from is None else max(0, end - self.open_from)
        return self.length + rest + PART_BYTES * self.count


def read_byte_ranges(values: Sequence[bytes]) -> ByteRanges | Deny | None:
    """Read the values of all Range fields; None where there is none."""
    if not values:
        return None
    if len(values) > 1:
        return _refused(f"{len(values)} Range fields")
    asked = values[0].removeprefix(b"bytes=").split(b",", MAX_RANGES)
    if len(asked) > MAX_RANGES:
        return _refused(f"a Range of more than {MAX_RANGES} byte ranges")
    if not _RANGES.fullmatch(values[0]):
        return _refused("a Range that is no list of byte ranges, of numbers up to 18 digits")
    bounds = [one.strip(b" ").split(b"-") for one in asked]
    suffixes = [int(last) for first, last in bounds if not first]
    ends = [(int(first), int(last) if last else None) for first, last in bounds if first]
    open_from = [first for first, last in ends if last is None]
    if len(suffixes) + len(open_from) > 1:
        return _refused("a Range with more than one open-ended or suffix range")
    # An open end is the highest there can be.
    closed = sorted((first, 10**18 if last is None else last) for first, last in ends)
    for first, last in closed:
        if last < first:
            return _refused(f"a Range whose {first}-{last} ends before it begins")
    for (_, last), (first, _) in pairwise(closed):
        if first <= last:
            return _refused(f"a Range whose byte ranges overlap, at {first}")
    length = sum(last - first + 1 for first, last in ends if last is not None) + sum(suffixes)
    return ByteRanges(len(bounds), length, open_from[0] if open_from else None)


def _refused(detail: str) -> Deny:
    return Deny(Reason.HEADER, rules.HEAD_RANGE, detail)
