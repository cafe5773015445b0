"""`ibcm-bridge demo`: the same requests through a bridge and through a tunnel, side by side.

1. The demo creates certificates and simulated site systems, and starts `ibcm-bridge run` as a
   process with the shipped policy and the additions of `cases.policy`.
2. It sends each case to the bridged and to the tunneled name (`comparison`), and through nginx with
   the same policy (`plain_proxy`).
3. The exit status is 1 if a case deviates from its requirement.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ibcm_bridge.lab.cases.table import FAMILIES
from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.comparison.plain_proxy import plain_path
from ibcm_bridge.lab.demo.captures import write_captures
from ibcm_bridge.lab.demo.printed import Printed, PrintedJson, PrintedTable
from ibcm_bridge.lab.demo.report import write_report
from ibcm_bridge.lab.demo.table import Table
from ibcm_bridge.lab.demo.terminal import Progress, Terminal
from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.os_errors import cannot_write


@dataclass(frozen=True)
class Folders:
    """Where the demo writes files; None: nowhere."""

    report: Path | None = None
    captures: Path | None = None


def run_demo(folders: Folders, *, as_json: bool = False, untested: bool = False) -> int:
    """Run all cases; print them, write the report, return the exit status.

    `untested`: also run with a mitmproxy version that is not tested.
    """
    try:
        # Fail before the cases run, not after.
        _check_writable(folders)
        return _run(folders, as_json=as_json, untested=untested)
    except LabError as error:
        sys.stdout.flush()
        print(f"ibcm-bridge demo: {error}", file=sys.stderr)
        return 1


def _run(folders: Folders, *, as_json: bool, untested: bool) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A code page without these marks must not end the demo; the words say the same.
        sys.stdout.reconfigure(errors="replace")
    terminal = Terminal.found(sys.stdout)
    printed: Printed = PrintedJson() if as_json else PrintedTable(Table(terminal))
    progress = Progress(sum(map(len, FAMILIES.values())), terminal.width)
    began = time.monotonic()
    printed.begin()
    results: dict[str, list[CaseResult]] = {}
    try:
        recorded = folders.captures is not None
        for family, result in _results(progress, untested=untested, recorded=recorded):
            progress.clear()
            printed.result(family, result)
            results.setdefault(family, []).append(result)
            if folders.captures is not None:
                with _writing(folders.captures, *_CAPTURES):
                    write_captures(folders.captures, result)
    finally:
        progress.clear()
    every = [result for family in results.values() for result in family]
    failed = [result for result in every if result.problems]
    printed.end(every, time.monotonic() - began)
    for result in failed:
        for problem in result.problems:
            print(f"  {result.case.id}: {problem}", file=sys.stderr)
    if folders.report is not None:
        with _writing(folders.report, *_REPORT):
            printed.report(write_report(folders.report, results))
    return 1 if failed else 0


_REPORT = ("the report", "--report")
_CAPTURES = ("the captures", "--pcap")
"""The files, and the option that names their folder."""


def _check_writable(folders: Folders) -> None:
    for folder, files in ((folders.report, _REPORT), (folders.captures, _CAPTURES)):
        if folder is not None:
            with _writing(folder, *files):
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    pass


@contextlib.contextmanager
def _writing(folder: Path, files: str, option: str) -> Iterator[None]:
    """Write files to a folder. LabError if that is not possible."""
    try:
        yield
    except OSError as error:
        what = f"{files} in {folder}"
        raise LabError(cannot_write(error, what, f"choose another folder: {option} DIR")) from error


def _results(
    progress: Progress, *, untested: bool, recorded: bool
) -> Iterator[tuple[str, CaseResult]]:
    """Yield each result. LabError if the lab cannot start."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ibcm-bridge-demo-") as name,
            Perimeter(Path(name), untested=untested, recorded=recorded) as perimeter,
            plain_path(Path(name), perimeter.pki.root, perimeter.clients, perimeter.site) as plain,
        ):
            for family, cases in FAMILIES.items():
                for case in cases:
                    progress.begin(case.title)
                    result = perimeter.comparison.result(case)
                    yield family, replace(result, plain=plain.result(case))
    except (OSError, RuntimeError) as error:
        # None until the first temporary file.
        folder = tempfile.tempdir or "the temporary folder"
        raise LabError(error_message(error, folder, "set TMPDIR to another folder")) from error
