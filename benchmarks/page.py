"""`python -m benchmarks.page FILE`: writes the measured part of docs/benchmarks.md.

It also writes the figures of `ibcm-bridge capacity`, and its outputs in docs/scale.md.

FILE is what `python -m benchmarks --json FILE` wrote. It is kept beside this file, so that a test
can compare the page with it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from benchmarks import beside_report, capacity
from benchmarks.child import ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
MEASURED = ROOT / "benchmarks" / "measured.json"
_BETWEEN = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- /measured -->)", re.DOTALL)


def main() -> int:
    """Write the page and the kept run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    file: Path = parser.parse_args().file
    write_page(file.read_text("utf-8"))
    return 0


def write_page(measured: str) -> None:
    """Write the page, the figures of `capacity` and their outputs on the page of scale, and keep
    the run. ValueError if a page has no place for them, or the run lacks a figure.
    """
    page = written(PAGE.read_text("utf-8"), measured)
    figures = capacity.shipped(json.loads(measured))
    MEASURED.write_text(measured, "utf-8")
    PAGE.write_text(page, "utf-8")
    capacity.SHIPPED.write_text(figures, "utf-8")
    capacity.write_scale_page()


def written(page: str, measured: str) -> str:
    """The page with the tables of a run. ValueError if the page has no place for them."""
    tables = "\n" + beside_report.page(json.loads(measured)) + "\n"
    page, places = _BETWEEN.subn(lambda _: tables, page)
    if places != 1:
        raise ValueError("the page has no place for the tables")
    return page


if __name__ == "__main__":
    sys.exit(main())
