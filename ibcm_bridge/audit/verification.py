"""Verifies the chains of audit files, which are read once and in any order.

Each file has one or more runs of consecutive records per writer. At the end, the runs of a writer
are put in the order of their numbers, so that no name or date of a file is trusted. Memory grows
with the number of files, writers and problems only.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ibcm_bridge.audit.chain import BEGIN, Link, Point, read_link
from ibcm_bridge.audit.record import LOST_RECORDS, Event

MAX_RUNS = 100_000
"""Runs of all writers. More are not intact files."""

MAX_PLACES = 1_000
"""Listed lines that are not records."""

_LOST = re.compile(rf'"{LOST_RECORDS}":([0-9]{{1,18}})[,}}]'.encode())


class Place(NamedTuple):
    """A line of a file, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True)
class _Run:
    """Consecutive records of a writer in one file."""

    first: Link
    begin: Place
    last: Link
    end: Place


@dataclass(slots=True)
class _Writer:
    runs: list[_Run] = field(default_factory=list)
    records: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that an intact audit does not have."""

    text: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class VerifiedWriter:
    """The chain of one writer."""

    name: str
    first: int
    """The number of its first record; above 1 if earlier ones are not in these files."""
    last: Point
    first_time: str
    last_time: str
    records: int
    lost: int
    """Records that could not be written, as the writer has recorded."""
    ended: bool
    """Whether its last record says that it has ended. If not, it runs, or was killed."""
    points: int
    """The number of expected points that it has."""
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """The result."""

    writers: tuple[VerifiedWriter, ...]
    problems: tuple[Problem, ...]
    """Problems that belong to no writer in these files."""
    incomplete: tuple[Place, ...]
    """Beginnings of records that a killed process or a full disk left."""

    @property
    def all_problems(self) -> Iterator[Problem]:
        """The problems of all writers, and the others."""
        yield from itertools.chain(*(writer.problems for writer in self.writers), self.problems)


class Verification:
    """Takes the lines of each file, and judges them at the end."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        """`points` are records that must be in the files."""
        self._expected = dict[str, dict[int, str]]()
        self._points = list(dict.fromkeys(points))
        for point in self._points:
            self._expected.setdefault(point.writer, {})[point.sequence] = point.digest
        self._found = dict[tuple[str, int], set[str]]()
        self._writers = dict[str, _Writer]()
        self._current = dict[str, _Run]()
        self._runs = 0
        self._file = ""
        self._line = 0
        self._problems: list[Problem] = []
        self._others = 0
        self._incomplete: list[Place] = []

    def begin_file(self, name: str) -> None:
        """The next lines are those of another file."""
        self._file, self._line = name, 0
        self._current.clear()

    def add(self, line: bytes) -> None:
        """Add the next line of the file, with or without its newline."""
        self._line += 1
        line = line.removesuffix(b"\n")
        # Another bridge, which writes the same file, may have continued an incomplete line.
        begin = max(0, line.rfind(BEGIN))
        link = read_link(line[begin:] if begin else line)
        if link is None:
            self._not_a_record(line)
            return
        if begin:
            self._not_a_record(line[:begin])
        self._take(link, line)

    def result(self) -> Verified:
        """Judge all lines."""
        writers = tuple(self._writer(name) for name in sorted(self._writers))
        problems = [*self._problems, *self._absent_points()]
        if not writers:
            problems.append(Problem("these files have no records"))
        if self._others > len(self._problems):
            problems.append(Problem(f"{self._others} lines in total are not records of a writer"))
        if self._runs >= MAX_RUNS:
            problems.append(Problem(f"the chains have {MAX_RUNS} gaps; the others are not listed"))
        return Verified(writers, tuple(problems), tuple(self._incomplete))

    def _place(self) -> Place:
        return Place(self._file, self._line)

    def _not_a_record(self, text: bytes) -> None:
        if not text:
            return
        # The chain goes on without it: its number is used again.
        if _is_cut_short(text):
            if len(self._incomplete) < MAX_PLACES:
                self._incomplete.append(self._place())
            return
        self._others += 1
        if len(self._problems) < MAX_PLACES:
            self._problems.append(Problem("not a record of a writer", self._place()))

    def _take(self, link: Link, line: bytes) -> None:
        writer = self._writers.setdefault(link.writer, _Writer())
        writer.records += 1
        if link.event == Event.RECORDS_LOST and (lost := _LOST.search(line)) is not None:
            writer.lost += int(lost[1])
        if link.sequence in self._expected.get(link.writer, ()):
            self._found.setdefault((link.writer, link.sequence), set()).add(link.digest)
        run = self._current.get(link.writer)
        if run is not None and _follows(run.last, link):
            run.last, run.end = link, self._place()
        elif self._runs < MAX_RUNS:
            self._runs += 1
            self._current[link.writer] = run = _Run(link, self._place(), link, self._place())
            writer.runs.append(run)

    def _writer(self, name: str) -> VerifiedWriter:
        writer = self._writers[name]
        runs = sorted(writer.runs, key=lambda run: (run.first.sequence, run.last.sequence))
        last = max((run.last for run in runs), key=lambda link: link.sequence)
        points = self._expected.get(name, {})
        problems = [*_begin_problems(runs[0]), *_problems(runs), *self._other_records(name, last)]
        return VerifiedWriter(
            name,
            runs[0].first.sequence,
            Point(name, last.sequence, last.digest),
            runs[0].first.time,
            last.time,
            writer.records,
            writer.lost,
            last.event == Event.WRITER_ENDED,
            sum(digest in self._found.get((name, number), ()) for number, digest in points.items()),
            tuple(problems),
        )

    def _other_records(self, name: str, last: Link) -> Iterator[Problem]:
        """Yield the expected points that a writer does not have."""
        for number, digest in sorted(self._expected.get(name, {}).items()):
            found = self._found.get((name, number), ())
            if not found and number > last.sequence:
                missing = _records(last.sequence + 1, number)
                yield Problem(f"the end is missing: {missing}, according to an expected point")
            elif not found:
                yield Problem(f"record {number} is expected and missing")
            elif digest not in found:
                yield Problem(
                    f"record {number} is not the expected one: it was replaced, or a record before "
                    "it was"
                )

    def _absent_points(self) -> Iterator[Problem]:
        absent = {point.writer for point in self._points} - self._writers.keys()
        for name in sorted(absent):
            yield Problem(f"writer {name} is expected and has no records")


def _follows(last: Link, link: Link) -> bool:
    return (
        link.sequence == last.sequence + 1
        and link.previous == last.digest
        and last.event != Event.WRITER_ENDED
    )


def _begin_problems(run: _Run) -> Iterator[Problem]:
    """Yield the problems of the first record of a chain."""
    first = run.first
    if (first.sequence == 1) != (not first.previous) or (
        (first.sequence == 1) != (first.event == Event.WRITER_STARTED)
    ):
        yield Problem(f"record {first.sequence} is not one that a writer makes", run.begin)


def _problems(runs: list[_Run]) -> Iterator[Problem]:
    """Yield the problems between runs, which are in the order of their numbers."""
    before = runs[0]
    for run in runs[1:]:
        last, first = before.last, run.first
        if first.sequence <= last.sequence:
            twice = _records(first.sequence, min(last.sequence, run.last.sequence))
            yield Problem(f"more than once: {twice}", run.begin)
            if run.last.sequence <= last.sequence:
                continue
        elif first.sequence > last.sequence + 1:
            yield Problem(f"missing: {_records(last.sequence + 1, first.sequence - 1)}", run.begin)
        elif first.previous != last.digest:
            yield Problem(
                f"record {last.sequence} ({before.end}) or record {first.sequence} was changed",
                run.begin,
            )
        elif last.event == Event.WRITER_ENDED:
            yield Problem(f"record {first.sequence} is after the end of the chain", run.begin)
        elif run.begin.file == before.end.file and run.begin.line < before.end.line:
            yield Problem(
                f"record {first.sequence} is before record {last.sequence} ({before.end})",
                run.begin,
            )
        before = run


def _records(first: int, last: int) -> str:
    return f"record {first}" if first == last else f"records {first} to {last}"


_ESCAPE = 6
"""Characters of the longest token, besides strings, that can be cut short: `\\u0000`."""


def _is_cut_short(text: bytes) -> bool:
    """Whether a text is the beginning of a record."""
    if not text.startswith(BEGIN):
        return BEGIN.startswith(text)
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Unterminated string") or error.pos >= len(text) - _ESCAPE
    except (ValueError, RecursionError):
        pass
    return False
