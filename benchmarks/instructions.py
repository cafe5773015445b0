"""`python -m benchmarks.instructions`: instructions of the bridge for a message and a connection.

The bridge runs under callgrind, with the load client and the site system outside it. Each load runs
with N and with 2N requests, and the difference is that of N requests: opening the kept connection
and reading the counters cost the same in both. The result is the median of three differences, so
that a timer or a garbage collection in one of them does not change it. Other processes do not
change a count, and PYTHONHASHSEED=0 makes hashes equal, so that counts of two versions can be
compared on a busy machine. The bridge makes no periodic checks meanwhile
(`benchmarks.without_checks`). Instructions of the kernel and of inspection workers are not counted.

- message: the CCM_POST of `benchmarks.beside`, signed and enforced, on a kept connection
- connection: a new mTLS connection, a leg that resumes its TLS session, and one GET

`--libraries` also prints how many of them are in each library.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import Bound, prepared_bridge
from benchmarks.child import Child
from benchmarks.comparison import GUID, message_request, small_request
from benchmarks.libraries import by_library, profile
from benchmarks.load import Job
from benchmarks.proxies import LoadClient, SiteSystemProcess
from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import BRIDGED

MESSAGES = 20
CONNECTIONS = 10
DIFFERENCES = 3
START_SECONDS = 300.0
"""The bridge starts about twenty times slower under callgrind."""
CONTROL_SECONDS = 120.0

WITHOUT_CHECKS = ("benchmarks.without_checks",)
"""The module that runs the bridge."""

_TOTAL = re.compile(r"^(?:summary|totals): ([0-9]+)", re.MULTILINE)


def main() -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--metrics", action="store_true", help="also count with the metrics on")
    parser.add_argument("--libraries", action="store_true", help="print those of each library")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to FILE")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        parser.error("valgrind is not here: apt-get install valgrind")
    counts = count()
    for work, cost in counts.items():
        print(f"{work:12}{cost.total:14,.0f} instructions")
        if options.libraries:
            print("\n".join(profile(cost.libraries)))
    if options.metrics:
        for work, cost in count(metrics=True).items():
            more = cost.total / counts[work].total - 1
            print(f"{work:12}{cost.total:14,.0f} with metrics: {more:+.1%}")
    if options.json:
        totals = {work: cost.total for work, cost in counts.items()}
        options.json.write_text(json.dumps(totals, indent=1) + "\n", "utf-8")
    return 0


@dataclass(frozen=True, slots=True)
class Cost:
    """The instructions of one request."""

    total: float
    libraries: Mapping[str, float]
    """The name of a library -> those in it."""


def count(*, metrics: bool = False) -> dict[str, Cost]:
    """`message` and `connection` -> instructions for one. Raises RuntimeError."""
    with bridge_to_count() as (directory, bridge, bound):
        port, policy = bridge.address[1], bridge.policy_file
        if metrics:
            with policy.open("a", encoding="utf-8") as text:
                text.write(f'\noperations: {{listen: "127.0.0.1:{free_port()}"}}\n')
        works = {
            "message": message_job(port, bound),
            "connection": Job("connections", port, BRIDGED, _text(small_request())),
        }
        counts = {"message": MESSAGES, "connection": CONNECTIONS}
        with counting(policy, directory) as each:
            return {work: each(works[work], counts[work]) for work in works}


def message_job(port: int, bound: Bound) -> Job:
    """The load of messages."""
    return Job("messages", port, BRIDGED, _text(message_request(bound.key)))


@contextmanager
def bridge_to_count() -> Iterator[tuple[Path, RunningBridge, Bound]]:
    """A bridge that is not started yet, with its folder and client. The site system runs."""
    bound = Bound(GUID, generate_private_key(65537, 2048))
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-instructions-") as name:
        directory = Path(name)
        pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
        with SiteSystemProcess(pki, directory, 0) as site_system:
            yield directory, prepared_bridge(directory, pki, site_system.port, bound), bound


@contextmanager
def counting(
    policy: Path, directory: Path, module: Sequence[str] = WITHOUT_CHECKS
) -> Iterator[Callable[[Job, int], Cost]]:
    """Run the bridge under callgrind. Yield the function that counts one request of a job.

    Raises RuntimeError.
    """
    with (
        _counted_bridge(module, policy, directory) as counter,
        LoadClient(directory / "bridge" / "pki") as client,
    ):
        yield lambda job, requests: counter.each(client, job, requests)


class _Counter:
    """Reads the counter of a process under callgrind."""

    def __init__(self, pid: int, output: Path) -> None:
        self._pid = pid
        self._output = output

    def each(self, client: LoadClient, job: Job, requests: int) -> Cost:
        """Instructions for one of the requests of a job."""
        # The first run fills caches, and lets callgrind translate the code.
        self._run(client, replace(job, count=requests))
        pairs = [
            [self._run(client, replace(job, count=times * requests)) for times in (1, 2)]
            for _ in range(DIFFERENCES)
        ]
        parts = [[by_library(dump) for dump in pair] for pair in pairs]
        names = {name for pair in parts for part in pair for name in part}
        return Cost(
            statistics.median(total(twice) - total(once) for once, twice in pairs) / requests,
            {
                name: statistics.median(twice[name] - once[name] for once, twice in parts)
                / requests
                for name in names
            },
        )

    def control(self, option: str) -> None:
        """Send a command to callgrind, and wait until it is done."""
        command = ["callgrind_control", option, str(self._pid)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CONTROL_SECONDS, check=False
        )
        if done.returncode:
            raise RuntimeError(f"callgrind_control failed: {done.stdout}{done.stderr}")

    def _run(self, client: LoadClient, job: Job) -> str:
        """The dump of the instructions since the last one."""
        client.begin(job)
        client.finish()
        before = set(self._dumps())
        self.control("--dump")
        (dump,) = set(self._dumps()) - before
        return dump.read_text("utf-8")

    def _dumps(self) -> Iterator[Path]:
        return self._output.parent.glob(f"{self._output.name}.*")


def total(dump: str) -> int:
    """The instructions of a dump of callgrind. ValueError if it has no total."""
    if (found := _TOTAL.search(dump)) is None:
        raise ValueError("no total in callgrind's output")
    return int(found[1])


@contextmanager
def _counted_bridge(module: Sequence[str], policy: Path, directory: Path) -> Iterator[_Counter]:
    output, log = directory / "callgrind", directory / "log"
    command: list[str | Path] = [
        *("valgrind", "--tool=callgrind", "--instr-atstart=no"),
        f"--callgrind-out-file={output}",
        *(sys.executable, "-m", *module, "run", "--config", policy),
    ]
    os.environ["PYTHONHASHSEED"] = "0"
    with Child(command, log) as bridge:
        deadline = time.monotonic() + START_SECONDS
        while "listening on" not in (written := log.read_text("utf-8")):
            if bridge.ended or time.monotonic() > deadline:
                raise RuntimeError(f"the bridge did not start under callgrind:\n{written}")
            time.sleep(0.1)
        counter = _Counter(bridge.pid, output)
        counter.control("--instr=on")
        yield counter


def _text(request: bytes) -> str:
    return request.decode("latin-1")


if __name__ == "__main__":
    sys.exit(main())
