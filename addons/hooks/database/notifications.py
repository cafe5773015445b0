"""Listens to the shared database for bindings that another machine changes or removes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache
from ibcm_bridge.addons.hooks.database.limit import limited
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.postgresql import LIMIT_SECONDS, cause, connection_parameters
from ibcm_bridge.storage.postgresql_statements import CHANNEL

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 5.0
"""The interval of a query on the connection: nothing else would show that it is broken."""

RETRY_SECONDS = 1.0


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

    async def run(self) -> None:
        """Listen, and connect again after each failure. At once, if it was connected before."""
        while True:
            connected = False
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters) as connection:
                    async with limited(connection, self._limit):
                        await connection.execute(f"LISTEN {CHANNEL}")
                    connected = True
                    await self._listen(connection)
            except psycopg.Error as error:
                if _is_cancelled():
                    return
                self._report(error)
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
                await connection.execute("SELECT 1")

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
