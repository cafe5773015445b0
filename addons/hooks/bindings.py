"""The bindings of client GUIDs, as the requests of one process use them.

A file is read in the event loop, because a reader never waits (`storage.database`). A change of it
waits in a thread (`binding_writes`). In memory, nothing waits. `database.shared_bindings` is the
third kind, in a database that several machines share.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

from ibcm_bridge.addons.hooks.binding_writes import BindingWrites
from ibcm_bridge.identity.approval import FoundBindings
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from ibcm_bridge.storage.database import row_count


class Bindings(Protocol):
    """The bindings. What reads or changes them raises RegistryError."""

    waits: bool
    """False if `find` never waits, and `add` and `replace` return at once."""

    def find(
        self, guid: str, mentioned: Sequence[str]
    ) -> FoundBindings | Coroutine[Any, Any, FoundBindings]:
        """Return the bindings of a request, or the wait for them.

        `guid` is the client GUID of the sender, or empty. The message only mentions the others.
        """

    def at_hand(self, guid: str) -> FoundBindings:
        """Return the binding of a client GUID; nothing if that would wait, or fails."""

    async def add(self, binding: Binding) -> Binding:
        """See `storage.stores.BindingStore`."""

    async def replace(self, old: Binding, new: Binding) -> Binding | None:
        """See `storage.stores.BindingStore`."""

    async def count(self) -> int | None:
        """Return the number of bindings; None if they are in memory."""

    def problem(self) -> str | None:
        """Return why bindings would be lost on restart; None if they would not."""

    def failure(self) -> str | None:
        """Return why they could not be used or changed just now; None if they could."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Use them in this event loop until the exit."""

    def close(self) -> None:
        """Close them. Changes under way are finished."""


class LocalBindings:
    """The bindings in a file of this machine, or in memory; see `Bindings`."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or create it. Raise RegistryError."""
        self.path = path
        self.waits = path is not None
        self.registry = Registry(path)
        try:
            self._writes = None if path is None else BindingWrites(path)
        except BaseException:
            self.registry.close()
            raise

    def find(self, guid: str, mentioned: Sequence[str]) -> FoundBindings:
        """Read the bindings of a request."""
        wanted = (guid, *mentioned) if guid else mentioned
        return {name: self.registry.find(name) for name in wanted}

    def at_hand(self, guid: str) -> FoundBindings:
        """Read the binding of a client GUID. Return nothing if it cannot be read."""
        try:
            return {guid: self.registry.find(guid)}
        except RegistryError:
            return {}

    async def add(self, binding: Binding) -> Binding:
        """See `storage.stores.BindingStore`."""
        if self._writes is None:
            return self.registry.add(binding)
        return await self._writes.do(lambda registry: registry.add(binding))

    async def replace(self, old: Binding, new: Binding) -> Binding | None:
        """See `storage.stores.BindingStore`."""
        if self._writes is None:
            return self.registry.replace(old, new)
        return await self._writes.do(lambda registry: registry.replace(old, new))

    async def count(self) -> int | None:
        """Return the number of bindings in the file. Raise sqlite3.Error."""
        if self.path is None:
            return None
        (count,) = await asyncio.to_thread(row_count, self.path, "SELECT count(*) FROM bindings")
        return int(count)

    def problem(self) -> str | None:
        """Return why bindings would be lost on restart; None if they would not."""
        return self.registry.problem()

    def failure(self) -> str | None:
        """Return why the last change failed, for ten minutes; None if it did not."""
        return None if self._writes is None else self._writes.failure()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Do nothing."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """Finish the changes under way, and close the file."""
        if self._writes is not None:
            self._writes.close()
        self.registry.close()
