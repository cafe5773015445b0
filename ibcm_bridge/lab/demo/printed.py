"""What the demo prints: a table for people, or one JSON object per case for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ibcm_bridge.lab.comparison.outcomes import CaseResult
from ibcm_bridge.lab.demo.report import case_data
from ibcm_bridge.lab.demo.table import Table


class Printed(Protocol):
    """The output of one run, in the order of these methods."""

    def begin(self) -> None: ...

    def result(self, family: str, result: CaseResult) -> None: ...

    def end(self, results: Sequence[CaseResult], seconds: float) -> None: ...

    def report(self, page: Path) -> None: ...


class PrintedTable:
    """The table, the score, and the place of the report."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._family = ""

    def begin(self) -> None:
        """Print what this is, and the headings of the columns."""
        print("ibcm-bridge demo: a lab, not for production.", "", *self._table.heading(), sep="\n")

    def result(self, family: str, result: CaseResult) -> None:
        """Print a case; before the first of a family, its heading."""
        if family != self._family:
            self._family = family
            print(*self._table.family(family), sep="\n")
        print(*self._table.row(result), sep="\n", flush=True)

    def end(self, results: Sequence[CaseResult], seconds: float) -> None:
        """Print the score."""
        print(*self._table.score(results, seconds), sep="\n")

    def report(self, page: Path) -> None:
        """Print the path of the report."""
        print(f"Report: {page}")


class PrintedJson:
    """One object per case, as it completes, and nothing else."""

    def begin(self) -> None:
        pass

    def result(self, family: str, result: CaseResult) -> None:
        """Print a case."""
        print(json.dumps(case_data(family, result)), flush=True)

    def end(self, results: Sequence[CaseResult], seconds: float) -> None:
        pass

    def report(self, page: Path) -> None:
        pass
