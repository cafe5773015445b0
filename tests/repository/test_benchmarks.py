"""The benchmarks run. Their results are not tested."""

import signal
import subprocess
import sys

import pytest

from tests.repository.benchmark_runs import ROOT, measured, run_code

SCAN_THE_SLOW_PAYLOAD = """
from benchmarks.slow_payloads import slow_subject
from ibcm_bridge.inspection.scan import read_and_scan

print(type(read_and_scan(slow_subject(), [])).__name__)
"""


def test_the_steps_of_an_inspection_can_be_measured() -> None:
    assert "inspect" in measured("steps", "--rounds", "1")


def test_the_slow_payload_is_accepted() -> None:
    # A process of its own: only from the project's folder can `benchmarks` be imported.
    command = [sys.executable, "-c", SCAN_THE_SLOW_PAYLOAD]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("CleanBody\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_many_connections_can_be_measured() -> None:
    options = ("--count", "8", "--polls", "1", "--at-once", "4", "--starts", "1")
    printed = measured("crowd", *options)
    for text in ("until its page is available", "poll 1, through the bridge", "without it"):
        assert text in printed


@pytest.mark.needs("postgresql")
def test_bindings_in_postgresql_can_be_measured() -> None:
    printed = measured("shared_state", "--rounds", "1", "--seconds", "0.2", seconds=240)
    kinds = ["SQLite file", "PostgreSQL, cached", "PostgreSQL, not cached"]
    starts = ["", *kinds, "", "search for a binding", *kinds]
    assert [line[:22].strip() for line in printed.splitlines()] == starts


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a reload is asked for by SIGHUP")
def test_the_stops_of_a_reload_can_be_measured() -> None:
    printed = measured("reload", "--rounds", "1", "--rules", "2", "--rate", "5", seconds=240)
    for text in ("no reload", "a changed policy", "changed rules", "both changed"):
        assert text in printed


COUNT_WITHOUT_CALLGRIND = """
from contextlib import contextmanager
from ibcm_bridge.policy_file import load_policy
from benchmarks import database_instructions as counted
from benchmarks.instructions import Cost

@contextmanager
def counting(policy, directory, module):
    state = load_policy(policy).state
    print(module[0], None if state is None else state.address.partition("?")[0])
    yield lambda job, requests: Cost(1.0, {})

counted.counting = counting
counted.count()
"""


@pytest.mark.needs("postgresql")
def test_the_instructions_with_a_database_can_be_counted() -> None:
    """Without callgrind, which takes minutes."""
    assert run_code(COUNT_WITHOUT_CALLGRIND).splitlines() == [
        "benchmarks.without_checks None",
        "benchmarks.without_checks postgresql:///state",
        "benchmarks.uncached postgresql:///state",
    ]


@pytest.mark.needs("haproxy", "postgresql")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="CPU time is read from /proc")
def test_three_bridges_can_be_measured() -> None:
    printed = measured("several", "--rounds", "1", "--seconds", "0.5", seconds=600)
    ratios = [line.split() for line in printed.splitlines() if " / " in line]
    assert len(ratios) == 3
    assert all(float(each[-1]) > 0 for each in ratios)
