"""`python -m benchmarks.crowd`: a thousand clients of a lab, with and without its bridge.

`lab up` and its bridge run as separate processes; the clients run in this one. They register, stay
connected, and request policy: first through the bridge, then from the intranet, directly from the
stand-ins. The output shows response times, responses per second, the processor time and memory of
the bridge, and the time that `lab up` takes until its page is available.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from urllib.request import urlopen

from benchmarks.processes import children, memory, settled_processor_seconds
from ibcm_bridge.lab.perimeter.runtime import running_state, runtime_folder
from ibcm_bridge.lab.simulated.client import SimulatedClient
from ibcm_bridge.lab.simulated.fleet import Fleet, Phase
from ibcm_bridge.lab.simulated.installation import Mode
from ibcm_bridge.lab.simulated.running_lab import RunningLab
from ibcm_bridge.storage.open_files import raise_open_file_limit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--polls", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--starts", type=int, default=5, help="timed starts of `lab up`")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: memory is read from /proc")
    raise_open_file_limit()
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        seconds = sorted(_start() for _ in range(options.starts))
        print(f"lab up, until its page is available: {seconds[len(seconds) // 2]:.1f} s", end=" ")
        print(f"({seconds[0]:.1f} to {seconds[-1]:.1f})\n")
        with _lab() as process:
            lab = RunningLab.read(running_state(runtime_folder()), runtime_folder() / "lab")
            (bridge,) = children(process.pid)
            print(f"{options.count:,} clients, {options.at_once} at a time")
            print(f"{'':32}{'median':>10}{'90 %':>10}{'99 %':>10}{'max':>10}{'per s':>10}")
            _live("first", lab, min(options.count, options.at_once), 1, options.at_once)
            before, _ = memory(bridge)  # with its workers, which have started by now
            worked = settled_processor_seconds(bridge)
            _measure("through the bridge", lab, options, inside=False)
            worked = settled_processor_seconds(bridge) - worked
            after, peak = memory(bridge)
            _measure("without it", lab, options, inside=True)
    requests = options.count * (1 + options.polls)
    print(f"\nbridge: {1000 * worked / requests:.1f} ms of processor time per request; ", end="")
    print(f"{before >> 20} MiB before, {after >> 20} MiB after, peak {peak >> 20} MiB")


def _start() -> float:
    began = time.perf_counter()
    with _lab():
        return time.perf_counter() - began


@contextmanager
def _lab() -> Iterator[subprocess.Popen[str]]:
    """A running lab; its page has responded."""
    command = [sys.executable, "-m", "ibcm_bridge", "lab", "up", "--no-browser", "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        with urlopen(json.loads(process.stdout.readline())["page"], timeout=10) as page:
            assert page.status == 200
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _measure(way: str, lab: RunningLab, options: argparse.Namespace, *, inside: bool) -> None:
    name = "in" if inside else "out"
    for phase in _live(name, lab, options.count, options.polls, options.at_once, inside=inside):
        _print(way, phase)


def _live(
    names: str, lab: RunningLab, count: int, polls: int, at_once: int, *, inside: bool = False
) -> list[Phase]:
    """Let `count` clients register and request policy `polls` times."""

    def make(number: int) -> SimulatedClient:
        client = lab.client(
            f"pc{number:04}-{names}.corp.example", Mode.BOTH, Random(number), own_key=False
        )
        if inside:
            client.move(lab.intranet)
        return client

    fleet = Fleet(make, count, at_once, lambda _phase, _done: None)
    try:
        _, *phases = fleet.run(polls)
    finally:
        fleet.close()
    return phases


def _print(way: str, phase: Phase) -> None:
    if phase.failures:
        raise SystemExit(f"{phase.name} {way}: {dict(phase.failures)}")
    waits = "".join(f"{1000 * phase.percentile(rank):7.0f} ms" for rank in (50, 90, 99, 100))
    print(f"{phase.name}, {way}"[:32].ljust(32) + waits + f"{phase.clients / phase.seconds:10.0f}")


if __name__ == "__main__":
    main()
