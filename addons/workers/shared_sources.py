"""What the workers have of each source, in memory that they share.

The sources are not known before, so a table has a fixed number of cells, and a source uses one in
each of `ROWS` rows: a count-min sketch (Cormode, Muthukrishnan: "An improved data stream summary",
2005). Other sources that use the same cell can only make it larger, so the least of the cells
counts. That is too large only if other sources use all of them: with 5,000 sources, in one
case of 30,000. The places depend on a secret, so nobody can choose addresses that collide.

A number of connections is written by one worker only. The times of handshakes are written by all,
without a lock: of two handshakes in the same moment, one may not count.
"""

from __future__ import annotations

import hashlib
import mmap
import secrets
import struct

from ibcm_bridge.shares import Holder

ROWS, COLUMNS = 4, 65_536
_CELLS = ROWS * COLUMNS
_PLACES = struct.Struct(f"<{ROWS}H")
"""A number below `COLUMNS` for each row."""
_COUNT, _TIME = struct.calcsize("I"), struct.calcsize("d")


class SharedSources:
    """The tables of all workers. The system provides the memory of a page when it is first used."""

    def __init__(self, workers: int) -> None:
        self._secret = secrets.token_bytes(16)
        # Anonymous and shared: the processes that are forked later see the same memory.
        self._tables = [mmap.mmap(-1, _CELLS * _COUNT) for _ in range(workers)]
        self._counts = [memoryview(table).cast("I") for table in self._tables]
        self._times = memoryview(mmap.mmap(-1, _CELLS * _TIME)).cast("d")

    def of(self, worker: int) -> OtherWorkers:
        """Return the sources as one worker sees them."""
        others = [counts for number, counts in enumerate(self._counts) if number != worker]
        return OtherWorkers(self._secret, self._counts[worker], others, self._times)

    def clear(self, worker: int) -> None:
        """Release the connections of a worker that has ended."""
        self._tables[worker][:] = bytes(_CELLS * _COUNT)


class OtherWorkers:
    """The sources as one worker sees them; see `sources.Elsewhere`."""

    def __init__(
        self,
        secret: bytes,
        own: memoryview[int],
        others: list[memoryview[int]],
        times: memoryview[float],
    ) -> None:
        self._secret = secret
        self._own = own
        self._others = others
        self._times = times

    def connections(self, source: Holder) -> int:
        """Return the number of its connections at the other workers."""
        return min(sum(counts[cell] for counts in self._others) for cell in self._cells(source))

    def count(self, source: Holder, more: int) -> None:
        """Tell the other workers of more connections, or fewer if negative."""
        for cell in self._cells(source):
            self._own[cell] += more

    def full_at(self, source: Holder) -> float:
        """Return when it may make all handshakes of a minute at once again."""
        return min(self._times[cell] for cell in self._cells(source))

    def set_full_at(self, source: Holder, when: float) -> None:
        """Set when it may make all handshakes of a minute at once again."""
        for cell in self._cells(source):
            self._times[cell] = max(when, self._times[cell])

    def _cells(self, source: Holder) -> list[int]:
        digest = hashlib.blake2b(
            repr(source).encode(), digest_size=_PLACES.size, key=self._secret
        ).digest()
        return [row * COLUMNS + place for row, place in enumerate(_PLACES.unpack(digest))]
