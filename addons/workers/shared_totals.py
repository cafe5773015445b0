"""What the workers hold of the limits of the bridge, in memory that they share.

Each number is written by one process only and read by all: an aligned store of eight bytes, which
no reader sees half. Nothing is locked.
"""

from __future__ import annotations

import mmap

from ibcm_bridge.addons.connections import Totals

_BYTES = 8


class SharedTotals:
    """One number per worker for each field of `Totals`."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        size = len(Totals._fields) * workers * _BYTES
        # Anonymous and shared: the processes that are forked later see the same memory.
        self._numbers = memoryview(mmap.mmap(-1, size)).cast("q")

    def of(self, worker: int) -> Totals:
        """Return the totals as one worker sees them."""
        return Totals(*(_Total(self._part(field), worker) for field in range(len(Totals._fields))))

    def clear(self, worker: int) -> None:
        """Release what a worker held that has ended."""
        for field in range(len(Totals._fields)):
            self._part(field)[worker] = 0

    def _part(self, field: int) -> memoryview[int]:
        return self._numbers[field * self._workers : (field + 1) * self._workers]


class _Total:
    """The numbers of all workers for one capacity; see `shares.Total`."""

    def __init__(self, numbers: memoryview[int], worker: int) -> None:
        self.processes = len(numbers)
        self._numbers = numbers
        self._worker = worker

    def elsewhere(self, at_least: int) -> int:
        numbers = self._numbers.tolist()
        del numbers[self._worker]
        return sum([at_least if number < at_least else number for number in numbers])

    def publish(self, held: int) -> None:
        self._numbers[self._worker] = held
