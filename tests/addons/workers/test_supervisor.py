"""The parent waits for its workers, replaces them, and reports how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.workers import supervisor
from ibcm_bridge.addons.workers.supervisor import _Place

# In a process of its own, because it handles signals and forks.
PARENT = """
import json, os, signal, sys, time
from ibcm_bridge.addons.workers import supervisor
from ibcm_bridge.addons.workers.process import CUT_OFF, READY, STOP_AT_ONCE, STOP_SIGNALS, report

supervisor.WAIT_SECONDS = 0.01
supervisor.KILL_SECONDS = 0.5
supervisor.CHECK_SECONDS = 0.5
begun, seen = [0, 0], []
starts = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT | os.O_APPEND)

def work(number, stopping, parent):
    # The workers that were started before this one.
    earlier = os.pread(starts, 1000, 0).count(str(number).encode())
    os.write(starts, str(number).encode())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    return eval(sys.argv[1])(number, earlier, stopping, parent)

def serve(stopping, parent):
    report(parent, READY)
    os.read(stopping, 1)
    return 0

def drain(stopping, parent):
    ended = []
    signal.signal(STOP_AT_ONCE, lambda *_: ended.append(1))
    serve(stopping, parent)
    while not ended:
        time.sleep(0.01)
        os.kill(os.getppid(), signal.SIGTERM)
    return CUT_OFF

def end(status):
    os.kill(os.getpid(), signal.SIGKILL) if status < 0 else None
    return status

def fail(parent, text):
    report(parent, text)
    return 1

def hangs(number):
    # The first worker of place 0, until another is started.
    return "HANGS" in os.environ and number == 0 and os.pread(starts, 1000, 0).count(b"0") == 1

def ready():
    seen.append("ready")
    if len(sys.argv) > 3:
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[3]))

signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
try:
    seconds = lambda: 60.0 if "drain" in sys.argv[1] else 0.0
    stopping = lambda: seen.append("stop")
    if not supervisor.Supervisor(
        2, work, seen.append, stopping, hangs=hangs, drain_seconds=seconds
    ).run(ready):
        seen.append("cut off")
except Exception as error:
    seen.append(f"{type(error).__name__}: {error}")
print(json.dumps(seen))
try:
    os.waitpid(-1, os.WNOHANG)
    print("a worker is left")
except ChildProcessError:
    pass
"""


def supervised(
    work: str, tmp_path: Path, stop_after: float | None = None, *, hangs: bool = False
) -> list[Any]:
    """What the parent saw of two workers that do `work`. `hangs`: the first of worker 0 hangs."""
    more = [] if stop_after is None else [str(stop_after)]
    environment = os.environ | ({"HANGS": ""} if hangs else {})
    command = [sys.executable, "-P", "-c", PARENT, work, str(tmp_path / "starts"), *more]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    (line,) = done.stdout.splitlines()
    seen: list[Any] = json.loads(line)
    return seen


SLOW = "lambda number, earlier, stopping, parent: drain(stopping, parent)"
SERVE = "lambda number, earlier, stopping, parent: serve(stopping, parent)"


def test_the_parent_is_ready_once_and_stops_by_a_signal(tmp_path: Path) -> None:
    assert supervised(SERVE, tmp_path, 0.1) == ["ready", "stop"]


def test_a_second_signal_stops_workers_that_drain(tmp_path: Path) -> None:
    assert supervised(SLOW, tmp_path, 0.1) == ["ready", "stop", "cut off"]


def test_a_worker_that_cannot_start_ends_all(tmp_path: Path) -> None:
    work = (
        "lambda number, earlier, stopping, parent: "
        "fail(parent, b'no rule') if number else serve(stopping, parent)"
    )
    assert supervised(work, tmp_path) == ["stop", "StartError: no rule"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (-1, "a worker process was ended by SIGKILL"),
        (3, "a worker process ended with status 3"),
    ],
)
def test_a_worker_that_dies_before_it_is_ready_ends_all(
    tmp_path: Path, status: int, text: str
) -> None:
    work = f"lambda number, earlier, stopping, parent: end({status})"
    assert supervised(work, tmp_path) == ["stop", f"StartError: {text}"]


def test_a_worker_that_ends_is_replaced(tmp_path: Path) -> None:
    # The first of worker 1 serves, and ends; the second serves until the end.
    work = (
        "lambda number, earlier, stopping, parent: serve(stopping, parent) "
        "if number == 0 or earlier else (report(parent, READY), time.sleep(0.3), 4)[2]"
    )
    assert supervised(work, tmp_path, 3) == ["ready", 1, "stop"]
    assert sorted((tmp_path / "starts").read_text()) == ["0", "1", "1"]


def test_a_worker_that_hangs_is_replaced(tmp_path: Path) -> None:
    # The second of worker 0 ends the test.
    work = (
        "lambda number, earlier, stopping, parent: serve(stopping, parent) if not earlier else "
        "(report(parent, READY), os.kill(os.getppid(), signal.SIGTERM), 0)[2]"
    )
    assert supervised(work, tmp_path, hangs=True) == ["ready", 0, "stop"]
    assert sorted((tmp_path / "starts").read_text()) == ["0", "0", "1"]


def test_a_worker_that_ends_again_and_again_ends_all(tmp_path: Path) -> None:
    work = (
        "lambda number, earlier, stopping, parent: serve(stopping, parent) if number == 0 else "
        "(report(parent, READY), time.sleep(0.3), end(-1))[2] if not earlier else "
        "fail(parent, b'rules are broken')"
    )
    *ends, stop, last = supervised(work, tmp_path)
    assert ends == ["ready", *[1] * supervisor.MOST_ENDS]
    assert stop == "stop"
    assert last == (
        "WorkersError: worker 2 failed 5 times within 60 seconds; the last time: rules are broken"
    )


def test_a_worker_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    work = (
        "lambda number, earlier, stopping, parent: serve(stopping, parent) if number == 0 else "
        "(report(parent, READY), time.sleep(600))"
    )
    assert supervised(work, tmp_path, 0.1) == [
        "ready",
        "stop",
        "WorkersError: 1 of 2 workers did not stop, and were killed",
    ]


def test_each_end_within_a_minute_makes_the_next_start_later() -> None:
    place = _Place(0)
    assert [place.wait(now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.5, 1.0]
    assert place.wait(61.5) == 0.5
    assert place.wait(200.0) == 0.0


def test_the_parent_waits_no_longer_than_its_readers_do() -> None:
    class Signals:
        until: list[float | None]

        def wait(self, _files: list[int], until: float | None) -> list[int]:
            self.until.append(until)
            return []

    parent = supervisor.Supervisor(0, lambda *_: 0, lambda _: None, lambda: None)
    signals = Signals()
    signals.until = []
    for until in (None, 0.0):
        parent._wait(signals, until)  # type: ignore[arg-type]
    parent.readers.call_later(60.0, lambda: None)
    due = parent.readers.due
    assert due is not None
    for until in (None, due - 1.0, due + 1.0):
        parent._wait(signals, until)  # type: ignore[arg-type]
    assert signals.until == [None, 0.0, due, due - 1.0, due]
    os.close(parent._stop_reading)
    os.close(parent._stop_writing)
