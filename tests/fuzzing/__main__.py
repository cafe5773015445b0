"""`python -m tests.fuzzing`: give a reader inputs that nobody would think of, for some time.

An input that breaks a promise is kept in the corpus folder, as `crash-...`, `timeout-...` or
`oom-...`; give it with --input to see what it does. Without --corpus nothing is kept.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

MAX_BYTES = 8_192
"""Of an input."""

TOO_SLOW = 10
"""Seconds for one input, with the machine busy and the code instrumented."""

MEMORY = 2_048
"""MB."""

TARGETS = (
    *("multipart", "header", "document", "plain", "xml", "request", "reply", "registration"),
    *("keys", "head", "response", "target", "claims", "report", "policy"),
    *("packet", "uploads", "uploaded", "soap", "propfind", "proxy_header"),
)
"""Names of `targets`; written here because importing those takes longer than saying what is wrong
with a command."""


def main() -> int:
    """0: nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="inputs, if the time is enough")
    parser.add_argument("--seed", type=int, default=0, help="for the same inputs again; 0: others")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="inputs kept between runs")
    parser.add_argument("--input", type=Path, metavar="FILE", help="only this, without atheris")
    options = parser.parse_args()
    if options.input:
        targets = importlib.import_module("tests.fuzzing.targets").TARGETS
        targets[options.target].run(options.input.read_bytes())
        return 0
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install -e '.[fuzz]' (Linux on x86-64 only)")
    with tempfile.TemporaryDirectory(prefix="ibcm-bridge-fuzzing-") as folder:
        corpus = options.corpus or Path(folder, "corpus")
        corpus.mkdir(parents=True, exist_ok=True)
        limits = (
            *(f"-max_total_time={options.seconds}", f"-max_len={MAX_BYTES}"),
            *(f"-runs={options.runs}", f"-seed={options.seed}"),
            *(f"-timeout={TOO_SLOW}", f"-rss_limit_mb={MEMORY}"),
        )
        # What libFuzzer finds it writes into the first of the folders it is given.
        arguments = [*limits, f"-artifact_prefix={corpus}/", "-print_final_stats=1", str(corpus)]
        command = [sys.executable, "-m", "tests.fuzzing.fuzz", options.target, folder, *arguments]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
