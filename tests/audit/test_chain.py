"""The chain of a writer, and the form of its records."""

from __future__ import annotations

import hashlib
import json

import pytest

from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.chain import Chain, Point, logged_point, read_link, read_point
from tests.audit.chains import FIRST, NOW, Writer

POINT = f"{FIRST}:7:{64 * 'a'}"


def test_each_record_has_the_digest_of_the_line_before() -> None:
    lines = Writer().lines(2)
    records = [json.loads(line) for line in lines]
    assert [record["sequence"] for record in records] == [1, 2, 3, 4]
    assert {record["writer"] for record in records} == {FIRST}
    assert "previous" not in records[0]
    for before, record in zip(lines, records[1:], strict=False):
        assert record["previous"] == hashlib.sha256(before.removesuffix(b"\n")).hexdigest()


def test_a_link_is_read_from_a_line() -> None:
    first, second, third = (line.removesuffix(b"\n") for line in Writer().lines(1))
    assert read_link(first) == (
        FIRST,
        1,
        "",
        hashlib.sha256(first).hexdigest(),
        "writer-started",
        NOW,
    )
    link = read_link(second)
    assert link is not None
    assert (link.sequence, link.previous, link.event) == (
        2,
        hashlib.sha256(first).hexdigest(),
        "request",
    )
    assert read_link(third + b" ") is None


def test_no_text_of_a_client_is_read_as_a_link() -> None:
    hostile = f'","writer":"{FIRST}","sequence":9,"previous":"{64 * "b"}"}}'
    line = audit.line({"time": NOW, "event": "request", "target": hostile}, Chain(FIRST).members())
    link = read_link(line.removesuffix("\n").encode())
    assert link is not None
    assert link.sequence == 1
    unlinked = audit.line({"time": NOW, "event": "request", "target": hostile})
    assert read_link(unlinked.removesuffix("\n").encode()) is None


def test_a_point_is_read_as_it_is_logged() -> None:
    point = Point(FIRST, 7, 64 * "a")
    assert str(point) == POINT
    assert read_point(POINT) == point
    assert logged_point(f"2026-12-01T00:00:00+00:00 INFO x: audit point {POINT}\n") == point
    assert logged_point(f'{{"message":"audit point {POINT}"}}') == point
    assert logged_point(f"audit point {POINT}a") is None


@pytest.mark.parametrize(
    "text", ["", POINT[1:], f"{POINT}0", POINT.upper(), f"{FIRST}:0:{64 * 'a'}"]
)
def test_other_texts_are_not_points(text: str) -> None:
    assert read_point(text) is None
