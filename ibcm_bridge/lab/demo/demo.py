"""`ibcm-bridge demo`: the same requests through a bridge and through a tunnel, side by side.

1. The demo creates certificates and simulated site systems, and starts `ibcm-bridge run` as a
   process with the shipped policy and the additions of `cases.policy`.
2. It sends each case twice, to the bridged and to the tunneled name (`comparison`).
3. The exit status is 1 if a case deviates from its requirement.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.lab.cases.table import FAMILIES
from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.demo.printed import Printed, PrintedJson, PrintedTable
from ibcm_bridge.lab.demo.report import write_report
from ibcm_bridge.lab.demo.table import Table
from ibcm_bridge.lab.demo.terminal import Progress, Terminal
from ibcm_bridge.lab.errors import LabError, error_message
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.os_errors import cannot_write


def run_demo(report: Path | None, *, as_json: bool = False, untested: bool = False) -> int:
    """Run all cases; print them, write the report, return the exit status.

    `untested`: also run with a mitmproxy version that is not tested.
    """
    if report is not None and (why := _why_unwritable(report)):
        # Fail before the cases run, not after.
        return _fail(why)
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
        for family, result in _results(untested, progress):
            progress.clear()
            printed.result(family, result)
            results.setdefault(family, []).append(result)
    except LabError as error:
        return _fail(str(error))
    finally:
        progress.clear()
    every = [result for family in results.values() for result in family]
    failed = [result for result in every if result.problems]
    printed.end(every, time.monotonic() - began)
    for result in failed:
        for problem in result.problems:
            print(f"  {result.case.id}: {problem}", file=sys.stderr)
    if report is not None:
        try:
            printed.report(write_report(report, results))
        except OSError as error:
            return _fail(_no_report(error, report))
    return 1 if failed else 0


def _why_unwritable(report: Path) -> str:
    """Return why no report can be written to this folder; empty if it can."""
    try:
        report.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=report):
            return ""
    except OSError as error:
        return _no_report(error, report)


def _fail(why: str) -> int:
    sys.stdout.flush()
    print(f"ibcm-bridge demo: {why}", file=sys.stderr)
    return 1


def _no_report(error: OSError, report: Path) -> str:
    return cannot_write(error, f"the report in {report}", "choose another folder: --report DIR")


def _results(untested: bool, progress: Progress) -> Iterator[tuple[str, CaseResult]]:
    """Yield each result. LabError if the lab cannot start."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ibcm-bridge-demo-") as name,
            Perimeter(Path(name), untested=untested) as perimeter,
        ):
            for family, cases in FAMILIES.items():
                for case in cases:
                    progress.begin(case.title)
                    yield family, perimeter.comparison.result(case)
    except (OSError, RuntimeError) as error:
        # None until the first temporary file.
        folder = tempfile.tempdir or "the temporary folder"
        raise LabError(error_message(error, folder, "set TMPDIR to another folder")) from error
