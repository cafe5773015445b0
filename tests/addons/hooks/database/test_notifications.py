"""The connection for notifications: a server that freezes, and the end of the bridge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import psycopg
import pytest

from ibcm_bridge.addons.hooks.database.binding_cache import BindingCache
from ibcm_bridge.addons.hooks.database.notifications import Notifications
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.postgresql_statements import COUNT_BINDINGS
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from tests.addons.hooks.database.test_shared_bindings import until
from tests.postgresql_server import DATABASE, PostgresqlServer
from tests.storage.test_binding_stores import PC1

pytestmark = pytest.mark.needs("postgresql")

CONNECT = psycopg.AsyncConnection.connect
STOP_SECONDS = 25.0
"""psycopg first asks the server to cancel the statement, and waits up to ten seconds."""


@pytest.fixture
def state(state: StateDatabase) -> StateDatabase:
    """With the schema."""
    SharedRegistry(state).close()
    return state


@asynccontextmanager
async def running(state: StateDatabase, limit_seconds: float) -> AsyncIterator[Notifications]:
    """Listen until the exit, and be cancelled then."""
    cache = BindingCache(time.monotonic)
    notifications = Notifications(state, cache, heartbeat_seconds=0.05, limit_seconds=limit_seconds)
    task = asyncio.create_task(notifications.run())
    yield notifications
    task.cancel()
    ended, _ = await asyncio.wait((task,), timeout=STOP_SECONDS)
    assert ended, "it goes on after it was cancelled"
    assert not cache._listening


def is_listening(notifications: Notifications) -> bool:
    return notifications._cache._listening


class FreezesOnceConnected:
    """Instead of `AsyncConnection.connect`: nothing gets a response until the exit."""

    def __init__(self, postgresql: PostgresqlServer, frozen: ExitStack) -> None:
        self._postgresql = postgresql
        self._frozen = frozen
        self.done = False

    async def __call__(self, **parameters: Any) -> psycopg.AsyncConnection[Any]:
        connection = await CONNECT(**parameters)
        if not self.done:
            self._frozen.enter_context(self._postgresql.frozen())
            self.done = True
        return connection


def test_a_server_that_freezes_before_it_listens_is_given_up(
    state: StateDatabase,
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        with ExitStack() as frozen:
            connect = FreezesOnceConnected(postgresql, frozen)
            monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
            async with running(state, 0.5) as notifications:
                await until(lambda: "has not responded for 0.5 s" in caplog.text, 10)
                frozen.close()
                await until(lambda: is_listening(notifications))

    asyncio.run(work())


@pytest.mark.parametrize("statement", ["LISTEN", "heartbeat"])
def test_it_ends_while_a_frozen_server_does_not_respond(
    state: StateDatabase,
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    async def work() -> None:
        with ExitStack() as frozen:
            connect = FreezesOnceConnected(postgresql, frozen)
            if statement == "LISTEN":
                monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
            async with running(state, 2.0) as notifications:
                if statement == "LISTEN":
                    await until(lambda: connect.done)
                else:
                    await until(lambda: is_listening(notifications))
                    frozen.enter_context(postgresql.frozen())
                await asyncio.sleep(0.3)  # it waits for the response

    asyncio.run(work())


def test_it_ends_if_psycopg_raises_an_error_instead_of_the_cancellation(
    state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As psycopg 3.2 does if the connection breaks while it asks for the cancellation."""
    waits = 0

    async def connect(**_: Any) -> psycopg.AsyncConnection[Any]:
        nonlocal waits
        waits += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if waits > 1:
                raise
            raise psycopg.OperationalError("the connection is lost") from None
        raise AssertionError

    async def work() -> None:
        monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
        async with running(state, 0.5):
            await until(lambda: waits)
        assert waits == 1

    monkeypatch.setattr(f"{__name__}.STOP_SECONDS", 5.0)
    asyncio.run(work())


def test_a_count_is_refused_after_a_second_and_the_notifications_go_on(
    state: StateDatabase, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        with SharedRegistry(state) as registry, postgresql.connect(DATABASE) as admin:
            registry.add(PC1)
            async with running(state, 20.0) as notifications:
                assert await asyncio.gather(*(notifications.count() for _ in range(2))) == [1, 1]
                stamp = notifications._cache.stamp
                with monkeypatch.context() as slow:
                    query = f"{COUNT_BINDINGS}, pg_sleep(60)"
                    slow.setattr(f"{Notifications.__module__}.COUNT_BINDINGS", query)
                    with pytest.raises(RegistryError, match="cannot count"):
                        await asyncio.wait_for(notifications.count(), 15)
                assert await notifications.count() == 1
                # It is still the same connection.
                assert is_listening(notifications)
                assert notifications._cache.stamp == stamp
                admin.execute("DELETE FROM ibcm_bridge.bindings")
                await until(lambda: notifications._cache.stamp == stamp + 1)
                admin.execute("DROP SCHEMA ibcm_bridge CASCADE")
                with pytest.raises(RegistryError, match="cannot count"):
                    await notifications.count()
                assert is_listening(notifications)

    asyncio.run(work())


def test_a_count_is_refused_with_the_connection(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work() -> None:
        async with running(state, 0.5) as notifications:
            assert await notifications.count() == 0
            with postgresql.frozen():
                for _ in range(2):
                    with pytest.raises(RegistryError, match="cannot count"):
                        await asyncio.wait_for(notifications.count(), 15)
            # As soon as it is connected again.
            await until(lambda: is_listening(notifications))
            assert await notifications.count() == 0

    asyncio.run(work())
