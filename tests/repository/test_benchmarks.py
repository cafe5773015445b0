"""The benchmarks run; what they measure is looked at by people."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_steps_of_an_inspection_can_be_measured() -> None:
    command = [sys.executable, "-m", "benchmarks.steps", "--rounds", "1"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "inspect" in done.stdout
