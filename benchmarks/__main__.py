"""`python -m benchmarks`: compares the bridge with other proxies."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.beside import LOADS, measure_beside
from benchmarks.beside_report import text
from benchmarks.comparison import FULL, MEBIBYTE, QUICK, Plan, compare
from benchmarks.page import write_page
from benchmarks.report import as_json, conditions, table

WAVES = 6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare the bridge with mitmdump, nginx, HAProxy, Apache and Envoy. "
        "It measures those that are installed, and installs nothing.",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only mitmdump, under 20 seconds, less precise"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every value of every round to FILE"
    )
    parser.add_argument(
        "--download",
        type=int,
        default=FULL.download_bytes // MEBIBYTE,
        metavar="MIB",
        help="size of a download (default: %(default)s)",
    )
    parser.add_argument(
        "--clients",
        type=int,
        default=2000,
        metavar="N",
        help="clients that are connected at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=30,
        metavar="S",
        help="how long the highest rate is held; the goal is for 300 (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        choices=LOADS,
        metavar="LOAD",
        help=f"only these loads: {', '.join(LOADS)}",
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="write the tables of docs/benchmarks.md, and keep the run (benchmarks/measured.json)",
    )
    options = parser.parse_args()
    if options.page and (options.quick or options.only):
        parser.error("--page needs all loads: leave out --quick and --only")
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: processor time and memory are read from /proc")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as directory:
        if options.quick:
            measured = _quick(Path(directory))
        else:
            plan = replace(FULL, download_bytes=options.download * MEBIBYTE)
            seconds, only = options.seconds, options.only or LOADS
            measured = _full(plan, Path(directory), options.clients, seconds, only)
    print(f"\n{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(measured, "utf-8")
    if options.page:
        write_page(measured)
    return 0


def _quick(directory: Path) -> str:
    measures = compare(QUICK, directory)
    print("; ".join(f"{name} {value}" for name, value in conditions().items()))
    print("median (lowest-highest) of the rounds; ratio: bridge / mitmdump, within a round")
    print()
    print(table(measures))
    return as_json(measures, QUICK)


def _full(plan: Plan, directory: Path, clients: int, seconds: float, only: Sequence[str]) -> str:
    document = measure_beside(plan, directory, clients, WAVES, seconds, only=only)
    print(text(document))
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
