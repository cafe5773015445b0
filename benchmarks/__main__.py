"""`python -m benchmarks`: compares the bridge with mitmdump."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.comparison import FULL, QUICK, compare
from benchmarks.report import as_json, conditions, table


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Compare the bridge with mitmdump."
    )
    parser.add_argument("--quick", action="store_true", help="under 20 seconds, less precise")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write every value of every round to FILE"
    )
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: processor time and memory are read from /proc")
    plan = QUICK if options.quick else FULL
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as directory:
        measures = compare(plan, Path(directory))
    print("; ".join(f"{name} {value}" for name, value in conditions().items()))
    print("median (lowest-highest) of the rounds; ratio: bridge / mitmdump, within a round")
    print()
    print(table(measures))
    print(f"\n{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(as_json(measures, plan), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
