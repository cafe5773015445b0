"""Compiles YARA rules in another process: `python -m ibcm_bridge.addons.engines.rule_compiler`.

YARA-X holds the interpreter lock while it compiles, also in a thread. A bridge that serves clients
would stop meanwhile. So another process compiles, and the bridge loads the result: only the sets of
rules that have changed, and one by one, so that it serves clients between two sets.

The process reads the sources from standard input as JSON. On standard output it writes one line of
JSON, `{"sets": [[digest, size], ...]}` or `{"error": ...}`, and then the bytes of the sets.
Compiled rules contain code. They are only read from a process that the bridge itself has started.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from ibcm_bridge.inspection.engines import (
    CompiledRules,
    CompiledSet,
    RuleError,
    RuleSource,
    loaded,
    saved,
)

# -P: do not import modules from the current folder.
COMMAND = (sys.executable, "-P", "-m", "ibcm_bridge.addons.engines.rule_compiler")

SECONDS = 50.0
"""The most for the process, less than a worker has for a reload. 2,000 rules need a second."""

PAUSE_SECONDS = 0.02
"""The event loop's time between two sets. It runs what has waited during the load of the first."""


def compiled_elsewhere(
    sources: Sequence[RuleSource],
    known: Sequence[CompiledSet] = (),
    command: Sequence[str] = COMMAND,
) -> CompiledRules:
    """Compile rules in another process, and wait for it. Raise RuleError, or OSError.

    Sets that are in `known` are used again.
    """
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
    sets = result["sets"]
    if len(data) != sum(size for _, size in sets):
        raise RuleError("the compiler of the rules ended before it had written everything")
    return CompiledRules(sources, list(_loaded(sets, data, known)))


def _loaded(
    sets: Sequence[tuple[str, int]], data: bytes, known: Sequence[CompiledSet]
) -> Iterator[CompiledSet]:
    """The sets, from `known` or from the data."""
    unchanged = {each.digest: each for each in known}
    begin = 0
    for digest, size in sets:
        if digest in unchanged:
            yield unchanged[digest]
        else:
            time.sleep(PAUSE_SECONDS)
            yield CompiledSet(digest, loaded(data[begin : begin + size]))
        begin += size


def main(received: BinaryIO, sent: BinaryIO) -> None:
    """Compile the rules on `received`."""
    try:
        sets = CompiledRules([(origin, text) for origin, text in json.load(received)]).sets
    except RuleError as error:
        sent.write(json.dumps({"error": str(error)}).encode() + b"\n")
        return
    parts = [saved(rules) for _, rules in sets]
    sizes = [(each.digest, len(data)) for each, data in zip(sets, parts, strict=True)]
    sent.write(json.dumps({"sets": sizes}).encode() + b"\n")
    for data in parts:
        sent.write(data)


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
