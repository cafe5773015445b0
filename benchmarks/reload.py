"""`python -m benchmarks.reload`: how long a reload stops the event loop of a bridge.

A bridge runs with the shipped policy, a file of own YARA rules, and one process. A client sends it
signed messages at a fixed rate, and opens a new connection for every twentieth. In each round the
bridge gets a reload (SIGHUP) with: the same files, a changed policy, changed rules, and both
changed. A timer in the event loop itself (`benchmarks.heartbeat`) shows how late the loop is, from
the signal to a second after "reload done". "no reload" is as much time without a signal: how late
the machine and the load alone make it.

`late` is the longest stop of each reload, by the clock. Other programs on the machine make it
longer. `caused` is the longest stop without the time in which no thread of the bridge computed, so
only the bridge can have caused it: the loop, or a thread that kept the interpreter lock.
"""

from __future__ import annotations

import argparse
import datetime
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import Bound, check_audit, prepared_bridge
from benchmarks.child import Child
from benchmarks.comparison import GUID, message_request, small_request
from benchmarks.heartbeat import Stop, stops
from benchmarks.open_load import OpenJob
from benchmarks.proxies import OpenLoadClient, SiteSystemProcess
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import BRIDGED

ROUNDS = 10
RULES = 200
MESSAGES_PER_SECOND = 100.0
LOAD_SECONDS = 5.0
BEFORE_SECONDS = 0.5
AFTER_SECONDS = 1.0
QUIET_SECONDS = 1.0
DEADLINE = 60.0

NOTHING, SAME, POLICY, RULE_FILE, BOTH = (
    "no reload",
    "the same files",
    "a changed policy",
    "changed rules",
    "both changed",
)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reload", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--rules", type=int, default=RULES, help="own rules (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=MESSAGES_PER_SECOND)
    options = parser.parse_args()
    if not hasattr(signal, "SIGHUP"):
        parser.error("this system has no SIGHUP")
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-reload-") as name:
        windows, beats = _measured(Path(name), options.rounds, options.rules, options.rate)
    print(f"{options.rules} own rules, {options.rate:g} messages/s, {options.rounds} rounds")
    late, caused = (
        f"{'late, ms: median':>18}{'longest':>9}",
        f"{'caused: median':>16}{'longest':>9}",
    )
    print(f"{'':18}{'took, s':>9}{late}{caused}")
    for kind in (NOTHING, SAME, POLICY, RULE_FILE, BOTH):
        print(_line(kind, [window for window in windows if window.kind == kind], beats))
    return 0


@dataclass(frozen=True)
class Window:
    """A reload, or the same time without one."""

    kind: str
    began: float
    done: float
    """By `time.monotonic`."""


def _line(kind: str, windows: list[Window], beats: list[Stop]) -> str:
    found = [
        [beat for beat in beats if window.began <= beat.began < window.done + AFTER_SECONDS]
        for window in windows
    ]
    took = statistics.median(window.done - window.began for window in windows)
    cells = ""
    for values, width in (
        ([max(beat.late for beat in each) for each in found], 18),
        ([max(beat.caused for beat in each) for each in found], 16),
    ):
        cells += f"{statistics.median(values) * 1e3:{width}.1f}{max(values) * 1e3:9.1f}"
    return f"{kind:18}{took:9.2f}{cells}"


def _measured(
    directory: Path, rounds: int, rules: int, rate: float
) -> tuple[list[Window], list[Stop]]:
    bound = Bound(GUID, generate_private_key(65537, 2048))
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    with SiteSystemProcess(pki, directory, 0) as site_system:
        bridge = prepared_bridge(directory, pki, site_system.port, bound)
        files = _Files(bridge.policy_file, rules)
        with _beating(bridge.policy_file, directory) as running:
            job = OpenJob(
                port=bridge.address[1],
                server_name=BRIDGED,
                message=message_request(bound.key).decode("latin-1"),
                small=small_request().decode("latin-1"),
                messages=rate,
                connections=rate / 20,
                seconds=0.0,
                kept=8,
            )
            with OpenLoadClient(directory / "bridge" / "pki") as client:
                windows = list(_windows(running, files, client, job, rounds))
        check_audit(bridge)
    return windows, stops(directory / "beats")


class _Files:
    """The policy and the own rules of the bridge, which each reload may change."""

    def __init__(self, policy: Path, rules: int) -> None:
        self._policy = policy
        self._rules = policy.parent / "own.yar"
        self._text = policy.read_text("utf-8") + "\nrules: [own.yar]\n"
        self._number = 0
        self._count = rules
        self._write_policy()
        self._write_rules()

    def change(self, kind: str) -> None:
        """Change what a reload of this kind finds changed."""
        self._number += 1
        if kind in (POLICY, BOTH):
            self._write_policy()
        if kind in (RULE_FILE, BOTH):
            self._write_rules()

    def _write_policy(self) -> None:
        self._policy.write_text(f"{self._text}# change {self._number}\n", "utf-8")

    def _write_rules(self) -> None:
        rules = (
            f'rule own_{number} {{ strings: $a = "malware {self._number} of {number}" '
            "condition: $a }\n"
            for number in range(self._count)
        )
        self._rules.write_text("".join(rules), "utf-8")


class _Beating:
    """The process of the bridge, and what it logs."""

    def __init__(self, process: Child, log: Path) -> None:
        self._process = process
        self._log = log

    def wait_for(self, text: str, count: int = 1) -> None:
        """Wait until the log has a text so often. RuntimeError if that does not happen."""
        deadline = time.monotonic() + DEADLINE
        while (written := self._log.read_text("utf-8")).count(text) < count:
            if self._process.ended or time.monotonic() > deadline:
                raise RuntimeError(f"the log has no {text!r}:\n{written}")
            time.sleep(0.005)

    def reload(self, number: int) -> None:
        """Reload, for the `number`th time, and wait for the end."""
        self._process.send_signal(signal.SIGHUP)
        self.wait_for("reload done", number)


@contextmanager
def _beating(policy: Path, directory: Path) -> Iterator[_Beating]:
    log = directory / "log"
    module = ("-m", "benchmarks.heartbeat", directory / "beats")
    with Child([sys.executable, *module, "run", "--config", policy], log) as process:
        running = _Beating(process, log)
        running.wait_for("listening on")
        yield running


def _windows(
    running: _Beating, files: _Files, client: OpenLoadClient, job: OpenJob, rounds: int
) -> Iterator[Window]:
    """Each kind once a round, each under its own load."""
    reloads = 0
    kinds = [NOTHING, SAME, POLICY, RULE_FILE, BOTH]
    for _ in range(rounds):
        for kind in kinds:
            client.begin(replace(job, seconds=LOAD_SECONDS))
            client.start()
            time.sleep(BEFORE_SECONDS)
            files.change(kind)
            began = time.monotonic()
            if kind == NOTHING:
                time.sleep(QUIET_SECONDS)
            else:
                running.reload(reloads := reloads + 1)
            yield Window(kind, began, time.monotonic())
            if (result := client.result()).errors:
                raise RuntimeError(f"{result.errors} requests failed during: {kind}")
        kinds.reverse()


if __name__ == "__main__":
    sys.exit(main())
