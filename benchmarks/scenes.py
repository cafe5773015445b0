"""`python -m benchmarks.scenes [NAME ...]`: how long each scene of the lab takes, and `lab up`.

It starts a lab, and plays each scene in a process of its own, as `ibcm-bridge lab client --scene`
does. The goals are for an idle machine: the first action within 2 seconds, which is later than the
first line of text, and the end within 20. With `--beside PROGRAM`, the `ibcm-bridge` of another
version starts its lab in turn, and `lab up` of this one may take 1.1 times as long: its rounds
differ by as much.

The exit status is 1 if a goal is not reached or if a scene fails.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ibcm_bridge.lab.scenes.table import SCENES

FIRST, END = 2.0, 20.0
"""The goals of a scene, in seconds."""
RATIO = 1.1
"""The goal of `lab up`, to that of the other version."""
SECONDS = 120
"""The most that a scene, or the end of a lab, may take before the benchmark gives up."""

THIS = (sys.executable, "-m", "ibcm_bridge")


@dataclass(frozen=True)
class Played:
    """Seconds from the start of the process."""

    first: float
    end: float
    failed: bool
    why_not: str
    """Why this lab does not show the scene; empty if it does."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scenes", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these scenes")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--beside", type=Path, metavar="PROGRAM", help="the ibcm-bridge of another version"
    )
    parser.add_argument("--netns", action="store_true", help="with the firewall: Linux, as root")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in SCENES]:
        parser.error(f"no scene {', '.join(unknown)}")
    print(f"load average {os.getloadavg()[0]:.1f}; median of {options.rounds} rounds, in seconds")
    lab = ("--netns",) * options.netns
    others = {} if options.beside is None else {"beside": (str(options.beside.absolute()),)}
    starts = _starts({"this": THIS, **others}, lab, options.rounds)
    with _folder() as environment, _lab(THIS, lab, environment):
        names = options.names or list(SCENES)
        played: dict[str, list[Played]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                played[name].append(_play(name, environment))
    lines, good = report(starts, played)
    print("\n".join(lines))
    return 0 if good else 1


def report(
    starts: Mapping[str, Sequence[float]], played: Mapping[str, Sequence[Played]]
) -> tuple[list[str], bool]:
    """Return the lines of the table, and whether all goals are reached."""
    lines, good = [f"{'':26}{'first action':>14}{'end':>9}"], True
    for name, rounds in played.items():
        if rounds[0].why_not:
            lines.append(f"{name:26}  not shown: {rounds[0].why_not}")
            continue
        first = statistics.median(play.first for play in rounds)
        end = statistics.median(play.end for play in rounds)
        marks = ["failed"] * any(play.failed or play.why_not for play in rounds)
        marks += ["not reached"] * (first > FIRST or end > END)
        good = good and not marks
        lines.append(f"{name:26}{first:14.1f}{end:9.1f}  {', '.join(marks)}".rstrip())
    lines.append(f"{'goal':26}{FIRST:14.1f}{END:9.1f}")
    this = statistics.median(starts["this"])
    text = f"lab up: {this:.1f}"
    if "beside" in starts:
        # A ratio within each round: the load of the machine changes between them.
        pairs = zip(starts["this"], starts["beside"], strict=True)
        ratio = statistics.median(here / there for here, there in pairs)
        reached = ratio <= RATIO
        good = good and reached
        text += f"; beside: {statistics.median(starts['beside']):.1f}; ratio {ratio:.2f}"
        text += f", goal {RATIO}{'' if reached else ': not reached'}"
    return [*lines, text], good


def _starts(
    programs: Mapping[str, Sequence[str]], options: Sequence[str], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds until the first line of each `lab up`, the address of its page."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(rounds):
        # Each is the first one in every other round.
        for name in list(programs)[:: -1 if number % 2 else 1]:
            began = time.perf_counter()
            with _folder() as environment, _lab(programs[name], options, environment):
                seconds[name].append(time.perf_counter() - began)
    return seconds


@contextmanager
def _folder() -> Iterator[dict[str, str]]:
    """The environment of a lab of its own."""
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as folder:
        yield {**os.environ, "XDG_RUNTIME_DIR": folder}


@contextmanager
def _lab(
    program: Sequence[str], options: Sequence[str], environment: Mapping[str, str]
) -> Iterator[None]:
    """A running lab. RuntimeError if it does not start."""
    command = [*program, "lab", "up", "--no-browser", "--json", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        if not process.stdout.readline():
            raise RuntimeError(f"the lab did not start: {process.stderr.read()}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=SECONDS)


def _play(name: str, environment: Mapping[str, str]) -> Played:
    """Play a scene. subprocess.TimeoutExpired if it does not end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [*THIS, "lab", "client", "--scene", name, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    first = time.perf_counter() - began
    _, errors = process.communicate(timeout=SECONDS)
    end = time.perf_counter() - began
    # A line of JSON is an action; without one, the scene is not shown, or it failed before.
    shown = bool(line) and json.loads(line)["scene"] == name
    why = " ".join(errors.split()).partition(" is not shown: ")[2]
    return Played(first, end, failed=process.returncode != 0, why_not="" if shown else why)


if __name__ == "__main__":
    sys.exit(main())
