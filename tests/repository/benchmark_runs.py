"""Runs benchmarks, in a process of its own: only from the project's folder can they be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def measured(module: str, *options: str, seconds: float = 120) -> str:
    """Run a benchmark; what it prints."""
    return _output("-m", f"benchmarks.{module}", *options, seconds=seconds)


def run_code(code: str, *arguments: str) -> str:
    """Run code that imports `benchmarks`; what it prints."""
    return _output("-c", code, *arguments, seconds=120)


def _output(*arguments: str, seconds: float) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
