"""Bindings of several machines: what is read from the database, and what without it."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from ibcm_bridge.addons.hooks.database.notifications import Notifications
from ibcm_bridge.addons.hooks.database.shared_bindings import SharedBindings
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from tests.postgresql_server import PostgresqlServer
from tests.storage.test_binding_stores import GUID, PC1, PC2, numbered

pytestmark = pytest.mark.needs("postgresql")

OTHER = numbered(1)

COUNTING = (
    "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%FROM pg_sleep(60)' AND state = 'active'"
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def run(
    state: StateDatabase, work: Callable[[SharedBindings], Awaitable[None]], clock: Any = None
) -> None:
    """Do something while the bindings are in use."""

    async def running() -> None:
        bindings = SharedBindings(state, clock or time.monotonic)
        try:
            async with bindings.running():
                await until(lambda: bindings.cache._listening)
                await work(bindings)
        finally:
            bindings.close()

    asyncio.run(running())


async def until(is_so: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def read(bindings: SharedBindings, guid: str, *mentioned: str) -> Binding | None:
    """What a request finds, whether it waits or not."""
    found = bindings.find(guid, mentioned)
    return (await found if isinstance(found, Coroutine) else found)[guid]


def is_cached(bindings: SharedBindings, guid: str) -> bool:
    found = bindings.find(guid, ())
    if not isinstance(found, Coroutine):
        return True
    found.close()
    return False


def test_a_binding_is_read_once_and_an_unknown_client_guid_each_time(
    state: StateDatabase,
) -> None:
    async def work(bindings: SharedBindings) -> None:
        assert await read(bindings, GUID) is None
        assert not is_cached(bindings, GUID)
        assert await bindings.add(PC1) == PC1
        assert await read(bindings, GUID) == PC1
        assert is_cached(bindings, GUID)

    run(state, work)


def test_the_first_of_two_machines_binds_a_client_guid(state: StateDatabase) -> None:
    async def work(bindings: SharedBindings) -> None:
        other = SharedBindings(state)
        try:
            first, second = await asyncio.gather(bindings.add(PC1), other.add(PC2))
        finally:
            other.close()
        assert first == second
        assert first in (PC1, PC2)
        assert await read(bindings, GUID) == first

    run(state, work)


def test_a_binding_is_kept_for_a_minute(state: StateDatabase) -> None:
    clock = Clock()

    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        await read(bindings, GUID)
        clock.now += 59.9
        assert is_cached(bindings, GUID)
        clock.now += 0.1
        assert not is_cached(bindings, GUID)
        assert await read(bindings, GUID) == PC1

    run(state, work, clock)


def test_a_change_on_another_machine_is_seen(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(bindings: SharedBindings) -> None:
        for binding in (PC1, OTHER):
            await bindings.add(binding)
            await read(bindings, binding.guid)
        with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
            admin.execute("DELETE FROM ibcm_bridge.bindings WHERE guid = %s", (GUID,))
        await until(lambda: not is_cached(bindings, GUID))
        assert is_cached(bindings, OTHER.guid)
        assert await read(bindings, GUID) is None

    run(state, work)


def test_its_own_change_is_seen_at_once(state: StateDatabase) -> None:
    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        await read(bindings, GUID)
        assert await bindings.replace(PC1, PC2) == PC2
        assert await read(bindings, GUID) == PC2

    run(state, work)


def test_a_binding_that_was_read_before_a_change_is_not_kept(state: StateDatabase) -> None:
    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        stamp = bindings.cache.stamp
        bindings.cache.drop(GUID)  # notified while the query was under way
        bindings.cache.keep([PC1], stamp)
        assert not is_cached(bindings, GUID)

    run(state, work)


def test_all_is_dropped_when_the_connection_for_notifications_breaks(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        await read(bindings, GUID)
        with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
            # A change that nobody notices: without the trigger.
            admin.execute("ALTER TABLE ibcm_bridge.bindings DISABLE TRIGGER ALL")
            admin.execute("DELETE FROM ibcm_bridge.bindings")
            assert is_cached(bindings, GUID)
            ended = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND query LIKE 'LISTEN%%' "
                "AND pid != pg_backend_pid()"
            ).fetchone()
            assert ended == (1,)
        await until(lambda: not is_cached(bindings, GUID))
        assert await read(bindings, GUID) is None

    run(state, work)


@pytest.mark.parametrize("failure", ["frozen", "stopped"])
def test_without_the_database_only_known_bindings_are_found(
    state: StateDatabase, postgresql: PostgresqlServer, failure: str
) -> None:
    clock = Clock()

    async def without(bindings: SharedBindings) -> None:
        began = time.monotonic()
        assert await read(bindings, GUID) == PC1
        # Those that a message only mentions decide nothing.
        assert await read(bindings, GUID, OTHER.guid) == PC1
        with pytest.raises(RegistryError, match=state.address):
            await read(bindings, OTHER.guid)
        assert time.monotonic() - began < 5.0
        began = time.monotonic()
        for _ in range(50):
            with pytest.raises(RegistryError, match=state.address):
                await read(bindings, OTHER.guid)
        # Only one in a second tries it again.
        assert time.monotonic() - began < 5.0
        assert bindings.failure() is not None
        clock.now += 60
        with pytest.raises(RegistryError, match=state.address):
            await read(bindings, GUID)

    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        await bindings.add(OTHER)
        await read(bindings, GUID)
        if failure == "frozen":
            with postgresql.frozen():
                await without(bindings)
        else:
            postgresql.stop()
            try:
                await without(bindings)
            finally:
                postgresql.start()

        async def again() -> Binding | None:
            while True:
                try:
                    return await read(bindings, OTHER.guid)
                except RegistryError:
                    await asyncio.sleep(0.1)

        assert await asyncio.wait_for(again(), 20) == OTHER
        assert bindings.failure() is None

    run(state, work, clock)


def test_after_a_failover_the_other_host_is_used_although_the_first_does_not_respond(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(bindings: SharedBindings) -> None:
        async def again[Found](use: Callable[[], Awaitable[Found]]) -> Found:
            while True:
                try:
                    return await use()
                except RegistryError:
                    await asyncio.sleep(0.1)

        assert await asyncio.wait_for(again(lambda: bindings.add(PC1)), 30) == PC1
        assert await asyncio.wait_for(again(lambda: read(bindings, GUID)), 30) == PC1

    with (
        tempfile.TemporaryDirectory(prefix="ibcm-") as silent,
        socket.socket(socket.AF_UNIX) as host,
    ):
        # It accepts connections, and sends nothing.
        host.bind(f"{silent}/.s.PGSQL.{postgresql.port}")
        host.listen()
        parameters = dict(state.parameters)
        parameters["host"] = f"{silent},{parameters['host']}"
        run(StateDatabase(state.address, tuple(parameters.items())), work)


def test_the_binding_of_another_client_guid_is_not_accepted(
    state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        rows = await bindings._reads.rows([GUID])

        async def of_another(_guids: object) -> list[tuple[Any, ...]]:
            return rows

        monkeypatch.setattr(bindings._reads, "rows", of_another)
        assert await read(bindings, GUID) == PC1
        with pytest.raises(RegistryError, match="not asked for"):
            await read(bindings, OTHER.guid)

    run(state, work)


def test_a_change_that_fails_does_not_stop_reads(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(bindings: SharedBindings) -> None:
        await bindings.add(PC1)
        with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
            admin.execute("REVOKE ALL ON ibcm_bridge.bindings FROM PUBLIC")
            admin.execute("ALTER TABLE ibcm_bridge.bindings ADD CHECK (name != 'pc2')")
        with pytest.raises(RegistryError, match="violates check constraint"):
            await bindings.replace(PC1, replace(PC2, name="pc2"))
        assert await read(bindings, GUID) == PC1

    run(state, work)


def test_a_slow_count_delays_neither_reads_nor_changes(
    state: StateDatabase, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(bindings: SharedBindings) -> None:
        assert await bindings.add(PC1) == PC1
        monkeypatch.setattr(
            f"{Notifications.__module__}.COUNT_BINDINGS", "SELECT 1 FROM pg_sleep(60)"
        )
        counting = asyncio.create_task(bindings.count())
        with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
            await until(lambda: admin.execute(COUNTING).fetchone())
            assert await bindings.add(OTHER) == OTHER
            assert await read(bindings, GUID) == PC1
            assert not counting.done()
        with pytest.raises(RegistryError, match="cannot count"):
            await counting
        # No request is refused for it.
        assert bindings.failure() is None
        assert await read(bindings, OTHER.guid) == OTHER

    run(state, work)
