"""When the event loop of each worker last turned, in memory that their parent sees.

A worker whose loop does not turn gets connections and serves none of them.
"""

from __future__ import annotations

import asyncio
import mmap
import time
from collections.abc import Callable

BEAT_SECONDS = 1.0

HUNG_SECONDS = 60.0
"""Much longer than any step of a loop takes, also on a busy machine."""

_BYTES = 8


class Heartbeats:
    """One time per worker, which only that worker writes."""

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        """All processes of a system must have the same `clock`."""
        self._times = memoryview(mmap.mmap(-1, workers * _BYTES)).cast("d")
        self._clock = clock

    def begin(self, worker: int) -> None:
        """Note the time now and again, in the running event loop of this worker."""
        self._times[worker] = self._clock()
        asyncio.get_running_loop().call_later(BEAT_SECONDS, self.begin, worker)

    def hangs(self, worker: int) -> bool:
        """Return whether the loop of a worker that has begun no longer turns."""
        return self._clock() - self._times[worker] > HUNG_SECONDS
