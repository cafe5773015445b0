"""The number of bindings and uploads. They are kept while a database cannot be read."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.readings import Reading, reading
from ibcm_bridge.addons.policy_generation import SharedState
from ibcm_bridge.storage.database import DatabaseError

_BINDINGS, _UPLOADS = "bindings", "uploads"

_UNREADABLE = (sqlite3.Error, DatabaseError)
"""The bridge reports the cause: `health`."""


class StoredCounts:
    """The numbers that were read last, and how old they are. `clock` in seconds, never back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, list[Reading]]] = {}
        """Store -> when it was read last, and its numbers; the first attempt, and none yet."""

    async def read(self, shared: SharedState) -> None:
        """Read all stores at the same time: none waits for one that does not respond."""
        await asyncio.gather(
            self._keep(_BINDINGS, lambda: _bindings(shared)),
            self._keep(_UPLOADS, lambda: _uploads(shared)),
        )

    def readings(self) -> Iterator[Reading]:
        """Yield the numbers, and the age of each store's."""
        now = self._clock()
        for store, (at, values) in self._kept.items():
            yield from values
            yield reading(metrics.STORE_AGE, now - at, store)

    async def _keep(self, store: str, read: Callable[[], Awaitable[list[Reading]]]) -> None:
        self._kept.setdefault(store, (self._clock(), []))
        try:
            values = await read()
        except _UNREADABLE:
            return
        if values:
            self._kept[store] = self._clock(), values
        else:
            del self._kept[store]


async def _bindings(shared: SharedState) -> list[Reading]:
    count = await shared.bindings.count()
    return [] if count is None else [reading(metrics.BINDINGS, count)]


async def _uploads(shared: SharedState) -> list[Reading]:
    uploads, size = await shared.uploads.totals()
    return [reading(metrics.UPLOADS, uploads), reading(metrics.UPLOAD_BYTES, size)]
