"""`ibcm-bridge audit verify`: finds missing and changed records."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ibcm_bridge.audit.chain import Point, logged_point, read_point
from ibcm_bridge.audit.verification import Problem, Verification, Verified, VerifiedWriter
from ibcm_bridge.commands.audit.files import add_files, audit_files, complain, seconds
from ibcm_bridge.commands.common import EXIT_PROBLEM, Subcommands, counted
from ibcm_bridge.storage.audit_files import AuditFileError, read_lines

_MAX_LISTED = 20
"""Problems of a writer in the text; JSON has all."""


def add(actions: Subcommands) -> None:
    parser = actions.add_parser(
        "verify",
        help="find missing and changed records",
        description="Verify the chain of each writer, which is one process from its start to its "
        "end. Without --expect or --points, records that are missing at the end of a chain, and a "
        "chain that was replaced as a whole, are not found. Exit status: 0 intact, 1 at least one "
        "problem or a file cannot be read, 2 usage error.",
    )
    add_files(parser)
    parser.add_argument(
        "--expect",
        type=_point,
        action="append",
        default=[],
        metavar="WRITER:SEQUENCE:DIGEST",
        help="a record that must be in the files; this proves it and all records before it",
    )
    parser.add_argument(
        "--points",
        type=Path,
        metavar="LOG",
        help="the log of the bridge: expect each audit point in it",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_run)


def _point(text: str) -> Point:
    point = read_point(text)
    if point is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a point; copy it from the log")
    return point


def _run(options: argparse.Namespace) -> int:
    points = list(options.expect)
    try:
        if options.points is not None:
            logged = map(logged_point, _texts(options.points))
            points += [point for point in logged if point is not None]
            if not points:
                complain(f"{options.points} has no audit point")
                return EXIT_PROBLEM
        paths = audit_files(options)
        verification = Verification(points)
        for path, name in zip(paths, _names(paths), strict=True):
            verification.begin_file(name)
            for line in read_lines(path):
                verification.add(line)
    except AuditFileError as error:
        complain(str(error))
        return EXIT_PROBLEM
    found, count = verification.result(), len(set(points))
    if options.json:
        print(json.dumps(_as_json(found, paths, count)))
    else:
        for text in _lines(found, len(paths), count):
            print(text)
    return EXIT_PROBLEM if any(found.all_problems) else 0


def _texts(path: Path) -> Iterator[str]:
    for line in read_lines(path):
        yield line.decode("utf-8", "replace")


def _names(paths: Sequence[Path]) -> list[str]:
    in_one_folder = len({path.parent for path in paths}) == 1
    return [path.name if in_one_folder else str(path) for path in paths]


def _lines(found: Verified, files: int, points: int) -> Iterator[str]:
    records = sum(writer.records for writer in found.writers)
    writers = counted(len(found.writers), "writer")
    yield f"{records:,} records of {writers} in {counted(files, 'file')}"
    if found.writers:
        yield ""
        yield _row("WRITER", "RECORDS", "LAST TIME (UTC)", "RESULT")
        yield from map(_writer_line, found.writers)
        yield ""
    for writer in found.writers:
        yield from _listed(writer.problems, f"writer {writer.name}: ")
    yield from _listed(found.problems, "")
    yield from _notes(found, points)
    problems = sum(1 for _ in found.all_problems)
    yield counted(problems, "problem") if problems else "intact"


def _row(writer: str, records: str, time: str, result: str) -> str:
    return f"{writer:<16}  {records:<21}  {time:<19}  {result}".rstrip()


def _writer_line(writer: VerifiedWriter) -> str:
    intact = "intact, ended" if writer.ended else "intact, no end"
    problems = len(writer.problems)
    result = counted(problems, "PROBLEM") if problems else intact
    records = f"{writer.first}-{writer.last.sequence}"
    return _row(writer.name, records, seconds(writer.last_time), result)


def _listed(problems: Sequence[Problem], whose: str) -> Iterator[str]:
    for problem in problems[:_MAX_LISTED]:
        place = f"{problem.place}: " if problem.place is not None else ""
        yield f"{place}{whose}{problem.text}"
    if len(problems) > _MAX_LISTED:
        yield f"{whose}{counted(len(problems) - _MAX_LISTED, 'more problem')}"


def _notes(found: Verified, points: int) -> Iterator[str]:
    if not all(writer.ended for writer in found.writers):
        yield "no end: the process is running, or it was killed"
    if not all(writer.first == 1 for writer in found.writers):
        yield "a chain that begins after record 1: the earlier records are not in these files"
    if lost := sum(writer.lost for writer in found.writers):
        yield f"{counted(lost, 'record')} could not be written, as recorded by the writers"
    for place in found.incomplete[:_MAX_LISTED]:
        yield f"{place}: an incomplete line, of a killed process or a full disk"
    if points:
        proved = sum(writer.points for writer in found.writers)
        yield f"{proved} of {counted(points, 'expected point')} found"
    else:
        yield "the ends are not proved: neither --expect nor --points was given"


def _as_json(found: Verified, paths: Sequence[Path], points: int) -> dict[str, object]:
    return {
        "files": [str(path) for path in paths],
        "intact": not any(found.all_problems),
        "writers": [
            {
                "writer": writer.name,
                "first": writer.first,
                "last": writer.last.sequence,
                "digest": writer.last.digest,
                "first_time": writer.first_time,
                "last_time": writer.last_time,
                "records": writer.records,
                "lost_records": writer.lost,
                "ended": writer.ended,
                "points": writer.points,
                "problems": _problems_as_json(writer.problems),
            }
            for writer in found.writers
        ],
        "problems": _problems_as_json(found.problems),
        "incomplete_lines": [str(place) for place in found.incomplete],
        "expected_points": points,
    }


def _problems_as_json(problems: Sequence[Problem]) -> list[dict[str, str]]:
    return [
        {"text": problem.text, "place": str(problem.place) if problem.place is not None else ""}
        for problem in problems
    ]
