"""Reads bindings from the shared database while requests wait, in the event loop.

A read has a hard time limit. At its end the request goes on without a result, and the connection is
closed. One connection is enough: the next query does not wait for the result of the one before it
(`pipeline`), and PostgreSQL takes a tenth of a millisecond for each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker
from ibcm_bridge.addons.hooks.database.limit import limited
from ibcm_bridge.addons.hooks.database.pipeline import ConnectionLost, Pipeline, Rows
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql import (
    LIMIT_SECONDS,
    SESSION,
    Unresponsive,
    cause,
    connection_parameters,
)
from ibcm_bridge.storage.postgresql_statements import PREPARE_READ, READ, READ_SEPARATOR

_STOPS = "is not read: the bridge stops"


class DatabaseReads:
    """The connection for reads. It is opened when it is necessary, and again after a failure."""

    def __init__(
        self, state: StateDatabase, breaker: DatabaseBreaker, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._place = state.address
        self._parameters = connection_parameters(state)
        self._breaker = breaker
        self._limit = limit_seconds
        self._pipeline: Pipeline | None = None
        self._opening: asyncio.Task[Pipeline] | None = None
        self._closed = False

    def close(self) -> None:
        """Close the connection. Reads under way raise RegistryError, and so do later ones."""
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self._pipeline is not None:
            self._pipeline.end(psycopg.OperationalError(_STOPS))

    async def rows(self, guids: Sequence[str]) -> Rows:
        """Return the rows of the client GUIDs that are bound. Raise RegistryError."""
        if self._closed:
            raise RegistryError(f"{self._place} {_STOPS}")
        if (refusal := self._breaker.refusal()) is not None:
            raise RegistryError(refusal)
        wanted = READ_SEPARATOR.join(guids)
        try:
            pipeline = self._pipeline
            if pipeline is None or pipeline.ended:
                rows = await self._rows_of_new_connection(wanted, self._limit)
            else:
                rows = await self._rows(pipeline, wanted)
        except psycopg.Error as error:
            if self._closed:
                raise RegistryError(f"{self._place} {_STOPS}") from error
            # All reads are the same statement, so none of them fails alone.
            problem = f"{self._place} {cause(error)}"
            self._breaker.failed(problem)
            raise RegistryError(problem) from error
        self._breaker.succeeded()
        return rows

    async def _rows(self, pipeline: Pipeline, wanted: str) -> Rows:
        began = asyncio.get_running_loop().time()
        try:
            return await pipeline.send(wanted)
        except ConnectionLost:
            # The server was restarted, or another query has failed.
            left = began + self._limit - asyncio.get_running_loop().time()
            return await self._rows_of_new_connection(wanted, left)

    async def _rows_of_new_connection(self, wanted: str, seconds: float) -> Rows:
        try:
            async with asyncio.timeout(seconds):
                return await (await self._opened()).send(wanted)
        except TimeoutError:
            raise Unresponsive(self._limit) from None

    async def _opened(self) -> Pipeline:
        """Return a new connection, the same one to all that wait for it."""
        if self._pipeline is not None and not self._pipeline.ended:
            return self._pipeline
        if self._opening is None:
            # A task of its own: the end of a request does not cancel it.
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._end_opening)
        opening = self._opening
        await asyncio.wait((opening,))
        if opening.cancelled():
            # Not the request itself.
            raise psycopg.OperationalError(_STOPS)
        return opening.result()

    def _end_opening(self, opening: asyncio.Task[Pipeline]) -> None:
        self._opening = None
        if not opening.cancelled():
            # Nobody may wait for it any longer.
            opening.exception()

    async def _open(self) -> Pipeline:
        connection = await psycopg.AsyncConnection.connect(**self._parameters)
        try:
            async with limited(connection, self._limit):
                for statement in (*SESSION, PREPARE_READ):
                    await connection.execute(statement)
            self._pipeline = Pipeline(connection, READ, self._limit)
        except BaseException:
            await connection.close()
            raise
        return self._pipeline
