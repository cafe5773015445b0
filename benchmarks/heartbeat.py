"""Runs the bridge with a heartbeat: `python -m benchmarks.heartbeat FILE run --config ...`.

A timer in the bridge's own event loop beats every two milliseconds. Each beat appends two doubles
to FILE: its time (`time.monotonic`, which all processes share), and the CPU time of the process.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ibcm_bridge.commands.main import main

PERIOD_SECONDS = 0.002

_AT_ONCE = 512
"""Doubles that are written at once."""


class Stop(NamedTuple):
    """The time between two beats, in seconds."""

    began: float
    """By `time.monotonic`."""
    late: float
    """Without the period."""
    cpu: float
    """What all threads of the bridge computed."""

    @property
    def caused(self) -> float:
        """The part of `late` that the bridge can have caused: it waited for no processor."""
        return min(self.late, self.cpu)


def stops(file: Path) -> list[Stop]:
    """Read the times between the beats of a bridge that has ended."""
    values = array("d")
    values.frombytes(file.read_bytes())
    beats = zip(values[::2], values[1::2], strict=True)
    return [
        Stop(began, max(0.0, ended - began - PERIOD_SECONDS), cpu - before)
        for (began, before), (ended, cpu) in pairwise(beats)
    ]


class _Heart:
    """Beats in an event loop as long as it runs."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._values = array("d")

    def watch(self) -> None:
        """Let the first event loop that runs beat."""
        run_forever = asyncio.BaseEventLoop.run_forever

        def run(self_: asyncio.BaseEventLoop) -> None:
            asyncio.BaseEventLoop.run_forever = run_forever  # type: ignore[method-assign]
            self_.call_soon(self._beat, self_)
            run_forever(self_)

        asyncio.BaseEventLoop.run_forever = run  # type: ignore[method-assign]

    def _beat(self, loop: asyncio.BaseEventLoop) -> None:
        self._values.extend((time.monotonic(), time.process_time()))
        if len(self._values) >= _AT_ONCE:
            self.flush()
        loop.call_later(PERIOD_SECONDS, self._beat, loop)

    def flush(self) -> None:
        """Write the beats since the last call."""
        self._file.write(self._values.tobytes())
        del self._values[:]


if __name__ == "__main__":
    with Path(sys.argv.pop(1)).open("wb", buffering=0) as file:
        heart = _Heart(file)
        heart.watch()
        status = main()
        heart.flush()
    sys.exit(status)
