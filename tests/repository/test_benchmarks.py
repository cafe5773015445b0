"""The benchmarks run. Their results are not tested."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCAN_THE_SLOW_PAYLOAD = """
from benchmarks.slow_payloads import slow_subject
from ibcm_bridge.inspection.scan import read_and_scan

print(type(read_and_scan(slow_subject(), [])).__name__)
"""


def test_the_steps_of_an_inspection_can_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.steps", "--rounds", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "inspect" in done.stdout


def test_the_slow_payload_is_accepted() -> None:
    # A process of its own: only from the project's folder can `benchmarks` be imported.
    command = [sys.executable, "-c", SCAN_THE_SLOW_PAYLOAD]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("CleanBody\n", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_many_connections_can_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.crowd"]
    done = subprocess.run(
        [*command, "--count", "8", "--polls", "1", "--at-once", "4", "--starts", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for text in ("until its page is available", "poll 1, through the bridge", "without it"):
        assert text in done.stdout
