"""The bindings in the shared database, for the requests of one process.

1. A request gets its bindings from the cache, or waits for a query (`reads`).
2. A change waits in a thread with a connection of its own (`storage.binding_table`). One that has
   waited too long for the changes before it is refused.
3. After a failure the database is not asked for a while (`breaker`): a request then has only the
   cache, and the others are refused or observed as unavailable.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache
from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker, guarded
from ibcm_bridge.addons.hooks.database.notifications import Notifications
from ibcm_bridge.addons.hooks.database.reads import DatabaseReads
from ibcm_bridge.identity.approval import FoundBindings
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_rows import binding_of
from ibcm_bridge.storage.postgresql import LOCK_SECONDS
from ibcm_bridge.storage.postgresql_stores import SharedRegistry

QUEUE_SECONDS = LOCK_SECONDS
"""For how long a change waits for those before it.

Each of these can wait as long for a row that another transaction has locked, such as an import.
That is not a failure of the database, so the breaker does not refuse the others.
"""


class SharedBindings:
    """See `hooks.bindings.Bindings`."""

    waits = True

    def __init__(
        self,
        state: StateDatabase,
        clock: Callable[[], float] = time.monotonic,
        *,
        creates: bool = False,
    ) -> None:
        """Connect, and migrate the schema. Raise RegistryError.

        A database without tables is an error, unless this `creates` them.
        """
        self._place = state.address
        self._registry = SharedRegistry(state, creates=creates)
        self._thread = ThreadPoolExecutor(1, "bindings")
        self._breaker = DatabaseBreaker()
        # Of their own: a database that is full or read-only can still be read.
        self._changes = DatabaseBreaker()
        self._reads = DatabaseReads(state, self._breaker)
        self.cache = BindingCache(clock)
        self._notifications = Notifications(state, self.cache)

    def problem(self) -> str | None:
        """Return None: other machines have the same database."""
        return None

    def failure(self) -> str | None:
        """Return why the database cannot be used; None if it can."""
        return self._breaker.reported() or self._changes.reported()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read and listen until the exit."""
        listening = asyncio.create_task(self._notifications.run())
        try:
            yield
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            self._reads.close()

    def close(self) -> None:
        """Finish the changes under way, and close their connection."""
        self._thread.shutdown()
        self._registry.close()

    def find(
        self, guid: str, mentioned: Sequence[str]
    ) -> FoundBindings | Coroutine[Any, Any, FoundBindings]:
        """Return the bindings of a request, or the wait for them."""
        wanted = (guid, *mentioned) if guid else mentioned
        known = {name: binding for name in wanted if (binding := self.cache.find(name)) is not None}
        missing = [name for name in wanted if name not in known]
        return self._read(guid, known, missing) if missing else known

    def at_hand(self, guid: str) -> FoundBindings:
        """Return the binding of a client GUID if it was read before; the database is not asked."""
        binding = self.cache.find(guid)
        return {} if binding is None else {guid: binding}

    async def _read(
        self, guid: str, known: dict[str, Binding], missing: list[str]
    ) -> FoundBindings:
        stamp = self.cache.stamp
        try:
            found = [binding_of(row) for row in await self._reads.rows(missing)]
        except RegistryError:
            if guid and guid not in known:
                raise
            # Those that the message only mentions decide nothing.
            return known
        except ValueError as error:
            raise RegistryError(f"{self._place} is damaged: {error}") from error
        if not {binding.guid for binding in found}.issubset(missing):
            raise RegistryError(f"{self._place} returned a binding that was not asked for")
        self.cache.keep(found, stamp)
        unbound = dict.fromkeys(missing)
        return unbound | known | {binding.guid: binding for binding in found}

    async def add(self, binding: Binding) -> Binding:
        """See `storage.stores.BindingStore`."""
        return await self._change(lambda: self._registry.add(binding))

    async def replace(self, old: Binding, new: Binding) -> Binding | None:
        """See `storage.stores.BindingStore`."""
        try:
            return await self._change(lambda: self._registry.replace(old, new))
        finally:
            # The notification comes later than the next request of this client.
            self.cache.drop(old.guid)

    async def count(self) -> int:
        """Return the number of bindings. Raise RegistryError, which is not a failure of reads."""
        return await self._notifications.count()

    async def _change[Result](self, change: Callable[[], Result]) -> Result:
        latest = time.monotonic() + QUEUE_SECONDS

        def changed() -> Result:
            # Both in the thread, which has one change at a time: when it takes the next one, the
            # outcome of those before is known.
            if time.monotonic() > latest:
                problem = f"has had no time for this change for {QUEUE_SECONDS:g} s"
                raise RegistryError(f"{self._place} {problem}")
            return guarded(self._changes, change, RegistryError)

        return await asyncio.get_running_loop().run_in_executor(self._thread, changed)
