"""Byte ranges: the allowed requests, and the limit of their responses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol.content import VALIDATORS, ServerResponse, part
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.byte_ranges import MAX_RANGES, PART_BYTES, ByteRanges, read_byte_ranges
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.partial_body import PartialBody, partial_body
from tests.site_system_leg.responses import received

DOWNLOAD = "/SMS_DP_SMSPKG$/XYZ0004A/sccm?/a.exe"


def many(count: int) -> str:
    return ",".join(f"{4 * at}-{4 * at + 1}" for at in range(count))


@pytest.mark.parametrize(
    ("requested", "ranges"),
    [
        ("0-99", ByteRanges(1, 100, None)),
        ("0-0", ByteRanges(1, 1, None)),
        ("100-", ByteRanges(1, 0, 100)),
        ("-100", ByteRanges(1, 100, None)),
        ("0-1,5-6, 9-10", ByteRanges(3, 6, None)),
        ("9-10,0-1", ByteRanges(2, 4, None)),
        ("0-1,2-3", ByteRanges(2, 4, None)),
        ("0-1,2-", ByteRanges(2, 2, 2)),
        ("5-,0-1", ByteRanges(2, 2, 5)),
        ("0-1,-5", ByteRanges(2, 7, None)),
        ("0-999999999999999998,999999999999999999-", ByteRanges(2, 10**18 - 1, 10**18 - 1)),
        (many(17), ByteRanges(17, 34, None)),
        (many(MAX_RANGES), ByteRanges(500, 1000, None)),
    ],
)
def test_ranges_that_do_not_overlap_are_parsed(requested: str, ranges: ByteRanges) -> None:
    assert read_byte_ranges([f"bytes={requested}".encode()]) == ranges


def test_without_a_range_field_there_are_no_ranges() -> None:
    assert read_byte_ranges([]) is None


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (["bytes=0-1", "bytes=2-3"], "2 Range fields"),
        ([f"bytes={many(MAX_RANGES + 1)}"], "more than 500 byte ranges"),
        (["bytes=" + "," * 9_000], "more than 500 byte ranges"),
        (["bytes=0-99,50-149"], "overlap at 50"),
        (["bytes=50-149,0-99"], "overlap at 50"),
        (["bytes=0-1,1-2"], "overlap at 1"),
        (["bytes=0-1,0-1"], "overlap at 0"),
        (["bytes=0-9,2-3"], "overlap at 2"),
        (["bytes=0-,5-6"], "overlap at 5"),
        (["bytes=5-6,6-"], "overlap at 6"),
        (["bytes=0-1,5-,9-"], "more than one open-ended or suffix"),
        (["bytes=0-1,5-,-9"], "more than one open-ended or suffix"),
        (["bytes=-1,-9"], "more than one open-ended or suffix"),
        (["bytes=9-5"], "9-5, which ends before it begins"),
        (["bytes=0-1,9-5"], "9-5, which ends before it begins"),
        (["bytes=0-18446744073709551615"], "not a list of byte ranges"),
        (["bytes=1000000000000000000-"], "not a list of byte ranges"),
        (["bytes="], "not a list of byte ranges"),
        (["bytes=-"], "not a list of byte ranges"),
        (["bytes=0-1,"], "not a list of byte ranges"),
        (["bytes=0-1,,2-3"], "not a list of byte ranges"),
        (["bytes=0-1;2-3"], "not a list of byte ranges"),
        (["bytes=0-1,  2-3"], "not a list of byte ranges"),
        (["bytes= 0-1"], "not a list of byte ranges"),
        (["0-1"], "not a list of byte ranges"),
        (["items=0-1"], "not a list of byte ranges"),
        ([""], "not a list of byte ranges"),
    ],
)
def test_a_range_that_costs_a_site_system_more_is_refused(values: list[str], text: str) -> None:
    denial = read_byte_ranges([value.encode() for value in values])
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.HEADER, "head.range")
    assert text in denial.detail


PAIRS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted), min_size=1, max_size=6
)


@given(PAIRS)
def test_ranges_are_refused_only_if_a_byte_is_requested_twice(pairs: list[list[int]]) -> None:
    offsets = [at for first, last in pairs for at in range(first, last + 1)]
    text = ",".join(f"{first}-{last}" for first, last in pairs)
    read = read_byte_ranges([f"bytes={text}".encode()])
    assert isinstance(read, Deny) == (len(offsets) > len(set(offsets)))
    if isinstance(read, ByteRanges):
        assert read.length == len(offsets)


def test_the_decision_has_the_ranges_only_if_the_field_is_forwarded(
    decide: Callable[[RequestHead], Authorized | Deny],
    decide_role: Callable[[str], Callable[[RequestHead], Authorized | Deny]],
    request_head: Callable[..., RequestHead],
) -> None:
    allowed = decide(request_head("GET", DOWNLOAD, "Range: bytes=0-9,20-"))
    assert isinstance(allowed, Authorized)
    assert allowed.ranges == ByteRanges(2, 10, 20)
    whole = decide(request_head("GET", DOWNLOAD))
    assert isinstance(whole, Authorized)
    assert whole.ranges is None
    # HEADER-DP lists Range; the software update point does not.
    update = decide_role("software-update-point")
    dropped = update(request_head("GET", "/SelfUpdate/wuident.cab", "Range: bytes=0-9"))
    assert isinstance(dropped, Authorized)
    assert (dropped.dropped, dropped.ranges) == (("Range",), None)


# Responses


def ranges(requested: str) -> ByteRanges:
    read = read_byte_ranges([f"bytes={requested}".encode()])
    assert isinstance(read, ByteRanges)
    return read


def bound(requested: str, *fields: tuple[str, str]) -> PartialBody:
    partial = partial_body(ranges(requested), received(206, *fields))
    assert isinstance(partial, PartialBody), partial
    return partial


SEVERAL = ("Content-Type", "multipart/byteranges; boundary=x")


@pytest.mark.parametrize(
    ("requested", "fields", "limit"),
    [
        ("0-99", [], 100 + PART_BYTES),
        ("0-99", [("Content-Range", "bytes 0-999/1000")], 100 + PART_BYTES),
        ("0-9,20-29", [SEVERAL], 20 + 2 * PART_BYTES),
        ("-7", [("Content-Range", "bytes 93-99/100")], 7 + PART_BYTES),
        ("90-", [("Content-Range", "bytes 90-99/100")], 10 + PART_BYTES),
        ("90-", [("Content-Range", "bytes 90-99/*")], 10 + PART_BYTES),
        # The response may end earlier, but not begin earlier.
        ("90-", [("Content-Range", "bytes 90-94/100")], 5 + PART_BYTES),
        ("90-", [("Content-Range", "bytes 0-99/100")], 10 + PART_BYTES),
        ("90-", [("Content-Range", "bytes 0-9/100")], PART_BYTES),
        ("0-9,90-", [("Content-Range", "bytes 0-99/100")], 20 + 2 * PART_BYTES),
    ],
)
def test_the_requested_ranges_limit_a_206(
    requested: str, fields: list[tuple[str, str]], limit: int
) -> None:
    partial = bound(requested, *fields)
    assert partial.limit == limit
    assert partial.within_limit(b"x" * (limit - 1)) == b"x" * (limit - 1)
    assert partial.within_limit(b"yz") == b"y"
    assert partial.within_limit(b"z") == b""


@pytest.mark.parametrize("status", [200, 304, 416, 500])
def test_another_response_has_no_limit(status: int) -> None:
    assert partial_body(ranges("0-9"), received(status)) is None


def test_a_206_without_requested_ranges_has_no_limit() -> None:
    assert partial_body(None, received(206)) is None


def test_a_206_with_branchcache_hashes_has_no_limit() -> None:
    fields = ("Content-Encoding", "peerdist")
    assert partial_body(ranges("0-9"), received(206, fields)) is None
    assert partial_body(ranges("0-9"), received(206, ("Content-Encoding", "gzip"))) is not None


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Content-Range", "bytes */100")],
        [("Content-Range", "bytes 0-9")],
        [("Content-Range", "bytes 0-99999999999999999999/*")],
        [("Content-Range", "bytes 0-9/10"), ("Content-Range", "bytes 0-9/10")],
        [("Content-Type", "text/html")],
        [SEVERAL, ("Content-Range", "x")],
    ],
)
def test_an_open_end_without_content_range_is_refused(fields: list[tuple[str, str]]) -> None:
    denial = partial_body(ranges("5-"), received(206, *fields))
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.SITE_SYSTEM_RESPONSE
    assert denial.rule == "site_system.content-range"


def several(total: str, *lengths: int) -> bytes:
    parts = b"".join(
        f"\r\n--x\r\nContent-Type: a/b\r\nContent-Range: bytes 0-0/{total}\r\n\r\n".encode()
        + bytes(length)
        for length in lengths
    )
    return parts + b"\r\n--x--\r\n"


@pytest.mark.parametrize("size", [1, 7, 200, 10_000])
def test_the_first_of_several_parts_limits_an_open_range(size: int) -> None:
    whole = several("5000", 10, 4_000)
    partial = bound("0-9,1000-", SEVERAL)
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert b"".join(map(partial.within_limit, pieces)) == whole
    assert partial.limit == 10 + 4_000 + 2 * PART_BYTES
    more = several("5000", 10, 5_000)
    partial = bound("0-9,1000-", SEVERAL)
    pieces = [more[at : at + size] for at in range(0, len(more), size)]
    assert b"".join(map(partial.within_limit, pieces)) == more[: 10 + 4_000 + 2 * PART_BYTES]


@pytest.mark.parametrize(
    "whole", [bytes(9_000), several("*", 10, 4_000), b"x" * 2_000 + several("5000", 10, 4_000)]
)
def test_nothing_of_an_open_range_passes_if_the_first_part_has_no_size(whole: bytes) -> None:
    partial = bound("0-9,1000-", SEVERAL)
    passed = b"".join(partial.within_limit(whole[at : at + 50]) for at in range(0, len(whole), 50))
    assert passed == whole[: 10 + 2 * PART_BYTES]


@given(st.lists(st.integers(1, 400), min_size=2, max_size=12), st.booleans())
def test_the_response_of_the_simulated_site_system_is_allowed_completely(
    steps: list[int], open_end: bool
) -> None:
    ends, at = [], 0
    for step in steps:
        ends.append((at, at + step - 1))
        at += 2 * step
    requested = ",".join(f"{first}-{last}" for first, last in ends) + (
        f",{at}-" if open_end else ""
    )
    made = stand_in(requested, at + 1_000)
    partial = bound(requested, *made[0])
    assert partial.within_limit(made[1]) == made[1]


def stand_in(requested: str, size: int) -> tuple[list[tuple[str, str]], bytes]:
    """The response of the lab's distribution point, for a file of that size."""
    made = part(
        ServerResponse(200, range(size), VALIDATORS), HTTPHeaders({"Range": f"bytes={requested}"})
    )
    assert made.status == 206
    assert isinstance(made.body, bytes)
    return list(made.fields.items()), made.body
