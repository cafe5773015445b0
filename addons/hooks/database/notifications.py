"""Listens to the shared database for bindings that another machine changes or removes.

It also counts the bindings for the metrics. That takes the longer, the more there are, and on this
connection, no request waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache
from ibcm_bridge.addons.hooks.database.limit import limited
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql import LIMIT_SECONDS, cause, connection_parameters
from ibcm_bridge.storage.postgresql_statements import CHANNEL, COUNT_BINDINGS

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
"""The interval of a query on the connection: nothing else would show that it is broken."""

RETRY_SECONDS = 1.0

COUNT_SECONDS = 1.0
"""The limit of a count, by the server. A notification is late by as much."""


class Notifications:
    """Tells a cache what has changed, until it is cancelled."""

    def __init__(
        self,
        state: StateDatabase,
        cache: BindingCache,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        limit_seconds: float = LIMIT_SECONDS,
    ) -> None:
        self._parameters = connection_parameters(state)
        self._place = state.address
        self._cache = cache
        self._heartbeat = heartbeat_seconds
        self._limit = limit_seconds
        self._failing = False
        self._counts: list[asyncio.Future[int]] = []
        """Those that wait for the next heartbeat."""

    async def count(self) -> int:
        """Return the number of bindings at the next heartbeat. Raise RegistryError."""
        count: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._counts.append(count)
        return await count

    async def run(self) -> None:
        """Listen, and connect again after each failure. At once, if it was connected before."""
        while True:
            connected = False
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters) as connection:
                    async with limited(connection, self._limit):
                        await connection.execute(f"SET statement_timeout = '{COUNT_SECONDS:g}s'")
                        await connection.execute(f"LISTEN {CHANNEL}")
                    connected = True
                    await self._listen(connection)
            except psycopg.Error as error:
                if _is_cancelled():
                    return
                self._report(error)
                self._refuse_counts()
            finally:
                self._cache.end()
            if not connected:
                await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._failing = False
        self._cache.begin()
        while True:
            async for notified in connection.notifies(timeout=self._heartbeat):
                self._drop(notified.payload)
            async with limited(connection, self._limit):
                await self._beat(connection)

    async def _beat(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if not self._counts:
            await connection.execute("SELECT 1")
            return
        try:
            row = await (await connection.execute(COUNT_BINDINGS)).fetchone()
        except psycopg.Error:
            if connection.closed:
                raise
            # The server has ended only the count.
            self._refuse_counts()
            return
        assert row is not None
        for count in self._taken_counts():
            count.set_result(int(row[0]))

    def _refuse_counts(self) -> None:
        for count in self._taken_counts():
            count.set_exception(RegistryError(f"{self._place} cannot count the bindings now"))

    def _taken_counts(self) -> list[asyncio.Future[int]]:
        """Return the counts that are waited for, and forget all."""
        counts, self._counts = self._counts, []
        return [count for count in counts if not count.done()]

    def _drop(self, guid: str) -> None:
        if guid:
            self._cache.drop(guid)
        else:
            self._cache.begin()

    def _report(self, error: psycopg.Error) -> None:
        if not self._failing:
            self._failing = True
            logger.warning(
                "%s %s; bindings are read again for each request", self._place, cause(error)
            )


def _is_cancelled() -> bool:
    """Return whether the task of this is cancelled.

    psycopg asks the server to end the statement then. If the connection breaks meanwhile, psycopg
    3.2 raises that error instead of CancelledError.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
