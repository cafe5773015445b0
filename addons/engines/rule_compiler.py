"""Compiles YARA rules in another process: `python -m ibcm_bridge.addons.engines.rule_compiler`.

YARA-X holds the interpreter lock while it compiles, also in a thread. A bridge that serves clients
would stop meanwhile. So another process compiles, and the bridge loads the result, which takes a
fifth of the time for the shipped rules, and half of it for thousands of rules.

The process reads the sources from standard input as JSON. On standard output it writes one line of
JSON, `{"sizes": [...]}` or `{"error": ...}`, and the bytes of the two sets of rules after sizes.
Compiled rules contain code. They are only read from a process that the bridge itself has started.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

from ibcm_bridge.inspection.engines import CompiledRules, RuleError, RuleSource, SavedRules

# -P: do not import modules from the current folder.
COMMAND = (sys.executable, "-P", "-m", "ibcm_bridge.addons.engines.rule_compiler")

SECONDS = 50.0
"""The most for the process, less than a worker has for a reload. 2,000 rules need a second."""


def compiled_elsewhere(
    sources: Sequence[RuleSource], command: Sequence[str] = COMMAND
) -> CompiledRules:
    """Compile rules in another process, and wait for it. Raise RuleError, or OSError."""
    try:
        done = subprocess.run(  # noqa: S603 - this module, by default
            command,
            input=json.dumps(sources).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise RuleError(f"the rules were not compiled within {SECONDS:g} s") from error
    head, _, data = done.stdout.partition(b"\n")
    if done.returncode or not head:
        raise RuleError(f"the compiler of the rules ended with status {done.returncode}")
    result = json.loads(head)
    if "error" in result:
        raise RuleError(result["error"])
    rules, repetitive = result["sizes"]
    if len(data) != rules + repetitive:
        raise RuleError("the compiler of the rules ended before it had written everything")
    return CompiledRules(sources, SavedRules(data[:rules], data[rules:]))


def main(received: BinaryIO, sent: BinaryIO) -> None:
    """Compile the rules on `received`."""
    try:
        saved = CompiledRules([(origin, text) for origin, text in json.load(received)]).save()
    except RuleError as error:
        sent.write(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    sent.write(json.dumps({"sizes": [*map(len, saved)]}).encode() + b"\n")
    for data in saved:
        sent.write(data)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
