"""Writes bindings in a thread: a disk, or another process that writes, may take a second.

The event loop serves other connections meanwhile. It reads with a connection of its own, which
never waits (`storage.database`). A request that waits for a write is one of a connection, so the
number of writes is bounded by `limits.connections`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ibcm_bridge.addons.hooks.database.breaker import guarded, of_a_file
from ibcm_bridge.storage.binding_registry import Registry, RegistryError


class BindingWrites:
    """Changes of the bindings in a file, one after the other."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raise RegistryError."""
        self._registry = Registry(path)
        self._breaker = of_a_file()
        self._thread = ThreadPoolExecutor(1, "bindings")

    async def do[Result](self, change: Callable[[Registry], Result]) -> Result:
        """Return the result of a change, when it is stored. Raise RegistryError."""
        loop = asyncio.get_running_loop()
        work = partial(change, self._registry)
        return await loop.run_in_executor(self._thread, guarded, self._breaker, work, RegistryError)

    def failure(self) -> str | None:
        """Return why the last change failed, for ten minutes; None if it did not."""
        return self._breaker.reported()

    def close(self) -> None:
        """Finish the changes under way, and close the file."""
        self._thread.shutdown()
        self._registry.close()
