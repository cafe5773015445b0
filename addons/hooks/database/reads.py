"""Queries of the shared database that a request waits for, in the event loop.

A query has a hard time limit. At its end the request goes on without a result, and the connection
is shut down at its socket: to cancel a query, psycopg asks the server for it and waits, and a
server that is frozen does not respond to that either.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import cached_property
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql import (
    LIMIT_SECONDS,
    SESSION,
    Unresponsive,
    cause,
    connection_parameters,
)

CONNECTIONS = 4
"""Of one process. A query takes a tenth of a millisecond, so few are enough."""


class _Connection(psycopg.AsyncConnection[tuple[Any, ...]]):
    """A connection with one cursor, as only one query at a time has it.

    A new one for each query would look up the types of all columns again: a fifth of the time.
    """

    @cached_property
    def only_cursor(self) -> psycopg.AsyncCursor[tuple[Any, ...]]:
        return self.cursor(binary=True)


class DatabaseReads:
    """A pool of connections for queries."""

    def __init__(
        self, state: StateDatabase, breaker: DatabaseBreaker, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        self._place = state.address
        self._breaker = breaker
        self._limit = limit_seconds
        self._running: set[asyncio.Task[list[tuple[Any, ...]]]] = set()
        self._pool = AsyncConnectionPool(
            connection_class=_Connection,
            kwargs=connection_parameters(state),
            min_size=0,
            max_size=CONNECTIONS,
            configure=_configure,
            timeout=limit_seconds,
            reconnect_timeout=0,
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect when that is necessary."""
        await self._pool.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close(timeout=self._limit)

    async def rows(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query. Raise RegistryError."""
        if (refusal := self._breaker.refusal()) is not None:
            raise RegistryError(refusal)
        # A task of its own: nothing that ends the request cancels the query.
        query = asyncio.create_task(self._query(statement, values))
        self._running.add(query)
        query.add_done_callback(self._running.discard)
        await asyncio.wait((query,), timeout=self._limit)
        if not query.done():
            query.add_done_callback(_ignore)
            raise self._failed(f"has not responded for {self._limit:g} s")
        try:
            rows = query.result()
        except psycopg.OperationalError as error:
            raise self._failed(cause(error)) from error
        except psycopg.Error as error:
            raise RegistryError(f"{self._place} {cause(error)}") from error
        self._breaker.succeeded()
        return rows

    async def _query(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        # After a restart of the server each connection of the pool is broken, and found so here.
        for left in reversed(range(CONNECTIONS + 1)):
            async with self._pool.connection() as connection:
                limit = _Limit(connection)
                timer = asyncio.get_running_loop().call_later(self._limit, limit)
                try:
                    found = await connection.only_cursor.execute(statement, values)
                    return await found.fetchall()
                except psycopg.OperationalError as error:
                    if limit.passed:
                        raise Unresponsive(self._limit) from error
                    if not connection.closed or not left:
                        raise
                finally:
                    timer.cancel()
        raise AssertionError("the last attempt returns or raises")

    def _failed(self, words: str) -> RegistryError:
        problem = f"{self._place} {words}"
        self._breaker.failed(problem)
        return RegistryError(problem)


class _Limit:
    """Shuts down a connection in the event loop, in whatever query it is."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.passed = False

    def __call__(self) -> None:
        self.passed = True
        with contextlib.suppress(psycopg.Error, OSError):
            # The pool has no other use of it before the query ends, so the number is its own.
            own = socket.socket(fileno=self._connection.fileno())
            try:
                own.shutdown(socket.SHUT_RDWR)
            finally:
                own.detach()


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    for statement in SESSION:
        await connection.execute(statement)


def _ignore(query: asyncio.Task[Any]) -> None:
    """Take the exception of a query that nobody waits for any longer."""
    if not query.cancelled():
        query.exception()
