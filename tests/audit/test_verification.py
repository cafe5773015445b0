"""Every kind of manipulation of an audit is found, and no accident is taken for one."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.audit import verification as verification_module
from ibcm_bridge.audit.chain import Point
from ibcm_bridge.audit.record import Event
from tests.audit.chains import FIRST, SECOND, Writer, problems, verified


def test_an_intact_chain_has_a_clean_end() -> None:
    writer = Writer()
    found = verified(writer.lines(5))
    (one,) = found.writers
    assert problems(found) == []
    assert (one.name, one.first, one.last, one.records) == (FIRST, 1, writer.chain.point, 7)
    assert one.ended


def test_a_chain_of_a_killed_writer_has_no_end() -> None:
    found = verified(Writer().lines(5, ended=False))
    assert problems(found) == []
    assert not found.writers[0].ended


@given(st.data())
def test_the_lines_of_writers_may_be_mixed_and_spread_over_files_in_any_order(
    data: st.DataObject,
) -> None:
    writers = [Writer(FIRST), Writer(SECOND)]
    queues = [writer.lines(data.draw(st.integers(0, 6))) for writer in writers]
    mixed = []
    while any(queues):
        mixed.append(data.draw(st.sampled_from([queue for queue in queues if queue])).pop(0))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(mixed)), max_size=3)))
    files = [mixed[a:b] for a, b in itertools.pairwise([0, *cuts, len(mixed)])]
    found = verified(*data.draw(st.permutations(files)))
    assert problems(found) == []
    assert [writer.last for writer in found.writers] == [writer.chain.point for writer in writers]


def _with_another_previous(line: bytes) -> bytes:
    digest = line[-67:-3]
    assert line.endswith(b'"previous":"' + digest + b'"}\n')
    return line.replace(digest, digest[::-1])


MANIPULATIONS: dict[str, tuple[Callable[[list[bytes]], object], list[str]]] = {
    "deleted line": (lambda lines: lines.pop(3), ["1:4: missing: record 4"]),
    "deleted lines": (
        lambda lines: lines.__delitem__(slice(2, 5)),
        ["1:3: missing: records 3 to 5"],
    ),
    "changed byte": (
        lambda lines: lines.__setitem__(3, lines[3].replace(b"allow", b"allov")),
        ["1:5: record 4 (1:4) or record 5 was changed"],
    ),
    "changed link": (
        lambda lines: lines.__setitem__(3, _with_another_previous(lines[3])),
        [
            "1:4: record 3 (1:3) or record 4 was changed",
            "1:5: record 4 (1:4) or record 5 was changed",
        ],
    ),
    "swapped lines": (
        lambda lines: lines.__setitem__(slice(3, 5), [lines[4], lines[3]]),
        ["1:4: record 5 is before record 4 (1:5)"],
    ),
    "duplicated line": (
        lambda lines: lines.insert(4, lines[3]),
        ["1:5: more than once: record 4"],
    ),
    "duplicated line at the end": (
        lambda lines: lines.append(lines[3]),
        ["1:9: more than once: record 4"],
    ),
    "a line of no writer": (
        lambda lines: lines.insert(
            4, b'{"time":"2026-01-02T03:04:05.678+00:00","event":"request"}\n'
        ),
        ["1:5: not a record of a writer"],
    ),
    "another text": (lambda lines: lines.insert(4, b"hello\n"), ["1:5: not a record of a writer"]),
    "deleted beginning, renumbered": (
        lambda lines: lines.__setitem__(
            slice(2), [lines[1].replace(b'"sequence":2', b'"sequence":1')]
        ),
        [
            "1:1: record 1 is not one that a writer makes",
            "1:2: missing: record 2",
        ],
    ),
}


@pytest.mark.parametrize("manipulation", MANIPULATIONS)
def test_a_manipulation_is_found(manipulation: str) -> None:
    lines = Writer().lines(6)
    change, expected = MANIPULATIONS[manipulation]
    change(lines)
    assert problems(verified(lines)) == expected


def test_any_changed_byte_is_found_except_in_the_last_record() -> None:
    lines = Writer().lines(3)
    text = b"".join(lines)
    choose = random.Random(1)
    for at in range(len(text) - len(lines[-1]) - 1):
        other = choose.choice([byte for byte in b'09az"}{,\n' if byte != text[at]])
        changed = text[:at] + bytes([other]) + text[at + 1 :]
        found = verified(changed.splitlines(keepends=True))
        # Without its first record, a chain is one whose earliest file is missing.
        without_first = at < len(lines[0]) and any(writer.first == 2 for writer in found.writers)
        assert problems(found) or without_first, (at, changed)


def test_a_missing_file_in_the_middle_is_found() -> None:
    lines = Writer().lines(6)
    assert problems(verified(lines[:3], lines[5:])) == ["2:1: missing: records 4 to 5"]


def test_the_earliest_files_may_be_missing() -> None:
    found = verified(Writer().lines(6)[3:])
    assert problems(found) == []
    assert found.writers[0].first == 4


def test_a_truncated_end_is_found_with_a_point_only() -> None:
    writer = Writer()
    lines = writer.lines(6)
    assert problems(verified(lines[:5])) == []
    assert problems(verified(lines[:5], points=[writer.chain.point])) == [
        "the end is missing: records 6 to 8, according to an expected point"
    ]
    found = verified(lines, points=[writer.chain.point])
    assert problems(found) == []
    assert found.writers[0].points == 1


def test_a_forged_chain_is_found_with_a_point_only() -> None:
    writer = Writer()
    writer.lines(6)
    forged = Writer().lines(5)
    point = Point(FIRST, 5, writer.chain.digest)
    assert problems(verified(forged)) == []
    assert problems(verified(forged, points=[point])) == [
        "record 5 is not the expected one: it was replaced, or a record before it was"
    ]


def test_an_expected_record_that_is_absent_is_found() -> None:
    writer = Writer()
    lines = writer.lines(6)
    points = [Point(FIRST, 2, 64 * "0"), Point(SECOND, 2, 64 * "0")]
    assert problems(verified(lines[3:], points=points)) == [
        "record 2 is expected and missing",
        f"writer {SECOND} is expected and has no records",
    ]


def test_records_after_the_end_are_found() -> None:
    writer = Writer()
    lines = [*writer.lines(1), writer.line(Event.REQUEST)]
    assert problems(verified(lines)) == ["1:4: record 4 is after the end of the chain"]


def test_files_without_records_are_not_intact() -> None:
    assert problems(verified([])) == ["these files have no records"]


def test_a_line_that_a_kill_or_a_full_disk_cut_short_is_not_a_manipulation() -> None:
    writer = Writer()
    lines = writer.lines(2, ended=False)
    torn = writer.line(Event.REQUEST)
    for cut in range(1, len(torn) - 2):
        found = verified([*lines, torn[:cut]])
        assert (problems(found), len(found.incomplete)) == ([], 1)
    whole = verified([*lines, torn.removesuffix(b"\n")])
    assert (problems(whole), whole.incomplete, whole.writers[0].records) == ([], (), 4)


def test_a_full_disk_leaves_no_gap() -> None:
    writer = Writer()
    lines = writer.lines(2, ended=False)
    cut = Writer()
    cut.chain = writer.chain
    lines.append(cut.line(Event.REQUEST)[:40] + b"\n")
    lines.append(writer.line(Event.RECORDS_LOST, lost_records=3))
    lines.append(writer.line(Event.WRITER_ENDED))
    found = verified(lines)
    assert (problems(found), [*map(str, found.incomplete)]) == ([], ["1:4"])
    assert (found.writers[0].lost, found.writers[0].ended) == (3, True)


def test_another_bridge_may_continue_an_incomplete_line() -> None:
    first, second = Writer(FIRST).lines(2), Writer(SECOND).lines(2)
    found = verified([*first[:3], first[3][:50] + second[0], *second[1:]])
    assert (problems(found), [*map(str, found.incomplete)]) == ([], ["1:4"])
    assert [writer.records for writer in found.writers] == [3, 4]


def test_the_same_file_twice_is_found() -> None:
    lines = Writer().lines(2)
    assert problems(verified(lines, lines)) == ["2:1: more than once: records 1 to 4"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_module, "MAX_RUNS", 3)
    monkeypatch.setattr(verification_module, "MAX_PLACES", 2)
    lines = Writer().lines(20)
    found = verified([*lines[::2], *(4 * [b"other\n"])])
    assert problems(found)[-4:] == [
        "1:12: not a record of a writer",
        "1:13: not a record of a writer",
        "4 lines in total are not records of a writer",
        "the chains have 3 gaps; the others are not listed",
    ]
