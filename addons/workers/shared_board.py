"""The snapshots of all workers, in memory that outlives each of them.

Nothing is locked, so a worker that is stopped or killed blocks no other. Each worker writes to two
files in turn. A reader takes the newer one that is complete: a worker that is killed while it
writes loses only its last snapshot.
"""

from __future__ import annotations

import os
import struct
import zlib

from ibcm_bridge.addons.operations.numbers import Snapshot, decode

_HEADER = struct.Struct("<QQI")
"""The number of the snapshot, its length, and the CRC-32 of both and of its bytes."""


class SharedBoard:
    """Made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        self._places = [_Place() for _ in range(workers)]

    def of(self, worker: int) -> WorkerBoard:
        """Return the board as one worker sees it."""
        return WorkerBoard(self._places, worker)


class WorkerBoard:
    """See `operations.board.Board`."""

    def __init__(self, places: list[_Place], worker: int) -> None:
        self._places = places
        self._worker = worker

    def publish(self, snapshot: Snapshot) -> None:
        """Replace the snapshot of this worker."""
        self._places[self._worker].write(snapshot.encode())

    def all(self) -> list[Snapshot | None]:
        """Return the last snapshot of each worker."""
        return [_snapshot(place) for place in self._places]

    def before(self) -> Snapshot | None:
        """Return the last snapshot of the worker that this one replaces."""
        return _snapshot(self._places[self._worker])


class _Place:
    """The two files of a worker and its successors."""

    def __init__(self) -> None:
        self._files = [os.memfd_create("ibcm-bridge-snapshot") for _ in range(2)]

    def write(self, data: bytes) -> None:
        number = max((found[0] for found in self._complete()), default=0) + 1
        os.pwrite(self._files[number % 2], _header(number, data) + data, 0)

    def read(self) -> bytes | None:
        return max(self._complete(), default=(0, None))[1]

    def _complete(self) -> list[tuple[int, bytes]]:
        found = []
        for file in self._files:
            raw = os.pread(file, os.fstat(file).st_size, 0)
            if len(raw) < _HEADER.size:
                continue
            number, length, _ = _HEADER.unpack_from(raw)
            data = raw[_HEADER.size : _HEADER.size + length]
            if raw.startswith(_header(number, data)):
                found.append((number, data))
        return found


def _header(number: int, data: bytes) -> bytes:
    checked = struct.pack("<QQ", number, len(data)) + data
    return _HEADER.pack(number, len(data), zlib.crc32(checked))


def _snapshot(place: _Place) -> Snapshot | None:
    data = place.read()
    return None if data is None else decode(data)
