"""`ibcm-bridge demo`: the same requests through a bridge and through a tunnel, side by side.

1. The lab's certificates and stand-ins are made; `ibcm-bridge run` is started as its own process,
   on the shipped policy and what `cases.policy` adds.
2. Each case is sent twice, to the bridged and to the tunneled name (`comparison`).
3. A case that does not go as its requirement says makes the exit status 1.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ibcm_bridge.lab.cases.table import FAMILIES
from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.demo.report import case_data, write_report
from ibcm_bridge.lab.demo.table import family_lines, heading, row_lines
from ibcm_bridge.lab.errors import LabError, in_one_sentence
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.os_errors import cannot_write


def run_demo(report: Path | None, *, as_json: bool = False, untested: bool = False) -> int:
    """Run all cases; print them, write the report, return the exit status.

    `untested`: on whatever mitmproxy there is.
    """
    if report is not None:
        # Said at once, and not after all cases.
        try:
            report.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=report):
                pass
        except OSError as error:
            return _complain(_no_report(error, report))
    began = time.monotonic()
    tell = _print_json if as_json else _print_row
    if not as_json:
        print("ibcm-bridge demo: a lab, not for production. What can be tunneled is sent twice.\n")
        print(heading())
    results: dict[str, list[CaseResult]] = {}
    try:
        for family, result in _results(untested):
            tell(family, result, family not in results)
            results.setdefault(family, []).append(result)
    except LabError as error:
        return _complain(str(error))
    every = [result for family in results.values() for result in family]
    failed = [result for result in every if result.problems]
    seconds = time.monotonic() - began
    if not as_json:
        good = len(every) - len(failed)
        print(f"{good} of {len(every)} cases went as required, {seconds:.1f} s.")
    for result in failed:
        for problem in result.problems:
            print(f"  {result.case.id}: {problem}", file=sys.stderr)
    if report is not None:
        try:
            page = write_report(report, results)
        except OSError as error:
            return _complain(_no_report(error, report))
        if not as_json:
            print(f"Report: {page}")
    return 1 if failed else 0


def _complain(why: str) -> int:
    sys.stdout.flush()
    print(f"ibcm-bridge demo: {why}", file=sys.stderr)
    return 1


def _no_report(error: OSError, report: Path) -> str:
    return cannot_write(error, f"the report in {report}", "name another folder: --report DIR")


def _print_row(family: str, result: CaseResult, begins: bool) -> None:
    if begins:
        print("\n".join(family_lines(family)))
    print("\n".join(row_lines(result)), flush=True)


def _print_json(family: str, result: CaseResult, _begins: bool) -> None:
    print(json.dumps(case_data(family, result)), flush=True)


def _results(untested: bool) -> Iterator[tuple[str, CaseResult]]:
    """Each result. LabError where there can be none."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ibcm-bridge-demo-") as name,
            Perimeter(Path(name), untested=untested) as perimeter,
        ):
            for family, cases in FAMILIES.items():
                for case in cases:
                    yield family, perimeter.comparison.result(case)
    except (OSError, RuntimeError) as error:
        # Where it is, once one has been found.
        folder = tempfile.tempdir or "the folder for temporary files"
        raise LabError(in_one_sentence(error, folder, "name another folder in TMPDIR")) from error
