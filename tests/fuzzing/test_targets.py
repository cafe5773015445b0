"""Every reader keeps its promises: for what the targets begin with, and for a few seconds of more.

Longer runs: `python -m tests.fuzzing` (CONTRIBUTING.md).
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from . import __main__ as command_line
from .targets import TARGETS

ROOT = Path(__file__).parents[2]
SECONDS = 10
RUNS = 3_000
SEED = 1
"""The same inputs every time: what is found by chance must not stop who changed something else. All
targets together are to take less than 90 seconds."""


def test_the_command_line_knows_every_target() -> None:
    assert set(command_line.TARGETS) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seed_inputs_of_a_target_keep_its_properties(name: str) -> None:
    seeds = list(TARGETS[name].seeds())
    assert seeds
    for seed in seeds:
        TARGETS[name].run(seed)
        for length in range(0, len(seed), 7):
            TARGETS[name].run(seed[:length])


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: make fuzz (it is made for Linux on x86-64 only)",
)
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_for_seconds_finds_no_defect(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzzing", name]
    options = ["--seconds", str(SECONDS), "--runs", str(RUNS), "--seed", str(SEED)]
    options += ["--corpus", str(tmp_path)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert "number_of_executed_units" in done.stderr
