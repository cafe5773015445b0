"""Reads of bindings on a connection that breaks, is locked, or cannot be opened."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker
from ibcm_bridge.addons.hooks.database.reads import DatabaseReads
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_rows import binding_of
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from tests.addons.hooks.database.test_shared_bindings import until
from tests.postgresql_server import DATABASE, PostgresqlServer
from tests.storage.test_binding_stores import GUID, PC1, numbered

pytestmark = pytest.mark.needs("postgresql")

OTHER = numbered(1)


@pytest.fixture
def state(state: StateDatabase) -> StateDatabase:
    """With two bindings."""
    with SharedRegistry(state) as registry:
        registry.add(PC1)
        registry.add(OTHER)
    return state


def run(
    state: StateDatabase,
    work: Callable[[DatabaseReads], Awaitable[None]],
    limit_seconds: float = 20.0,
) -> None:
    async def running() -> None:
        reads = DatabaseReads(state, DatabaseBreaker(), limit_seconds)
        try:
            await work(reads)
        finally:
            reads.close()

    asyncio.run(running())


async def guids(reads: DatabaseReads, *wanted: str) -> list[str]:
    return sorted(binding_of(row).guid for row in await reads.rows(wanted))


async def once_retried(reads: DatabaseReads) -> list[str]:
    """Read one binding, as soon as the database is asked again."""
    while True:
        try:
            return await guids(reads, GUID)
        except RegistryError:
            await asyncio.sleep(0.05)


def own_connections(postgresql: PostgresqlServer, what: str = "pid") -> int:
    """Count the connections of the bridge, or end them."""
    # A connection of its own: a transaction would see the same connections each time.
    with postgresql.connect(DATABASE) as admin:
        row = admin.execute(
            f"SELECT count({what}) FROM pg_stat_activity "
            "WHERE application_name = 'ibcm-bridge' AND backend_type = 'client backend'"
        ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def locked(postgresql: PostgresqlServer) -> Iterator[None]:
    """Lock the table, so that a read waits."""
    with postgresql.connect(DATABASE) as admin:
        admin.execute("BEGIN")
        admin.execute("LOCK TABLE ibcm_bridge.bindings IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            admin.execute("ROLLBACK")


def is_waiting(postgresql: PostgresqlServer) -> bool:
    """Return whether a connection waits for a lock."""
    with postgresql.connect(DATABASE) as admin:
        row = admin.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row == (1,)


def test_several_bindings_are_read_at_once(state: StateDatabase) -> None:
    async def work(reads: DatabaseReads) -> None:
        assert await guids(reads, GUID) == [GUID]
        assert await guids(reads, GUID, OTHER.guid, "GUID:unknown") == sorted((GUID, OTHER.guid))
        assert await guids(reads, "GUID:unknown") == []

    run(state, work)


@pytest.mark.parametrize("text", ["", "{", '"', "\\", "'", "%s", "GUID:%", "NULL", "{NULL}"])
def test_a_text_is_not_a_pattern(state: StateDatabase, text: str) -> None:
    async def work(reads: DatabaseReads) -> None:
        assert await guids(reads, text) == []
        assert await guids(reads, text, GUID) == [GUID]

    run(state, work)


def test_many_requests_at_once_have_one_connection(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(reads: DatabaseReads) -> None:
        found = await asyncio.gather(*(guids(reads, GUID) for _ in range(100)))
        assert found == [[GUID]] * 100
        # Those of the fixture and of earlier tests end soon.
        await until(lambda: own_connections(postgresql) == 1)

    run(state, work)


def test_a_request_that_ends_while_it_is_opened_does_not_end_the_others(
    state: StateDatabase,
) -> None:
    async def work(reads: DatabaseReads) -> None:
        gone, kept = (asyncio.create_task(guids(reads, GUID)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await kept == [GUID]
        assert gone.cancelled()

    run(state, work)


def test_a_read_under_way_is_sent_again_when_its_connection_breaks(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(reads: DatabaseReads) -> None:
        assert await guids(reads, GUID) == [GUID]
        with locked(postgresql):
            reading = [asyncio.create_task(guids(reads, GUID)) for _ in range(3)]
            await until(lambda: is_waiting(postgresql) and own_connections(postgresql) == 1)
            assert own_connections(postgresql, "pg_terminate_backend(pid)") == 1
        assert await asyncio.gather(*reading) == [[GUID]] * 3

    run(state, work)


def test_a_locked_table_is_a_problem_after_a_while_and_ends(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(reads: DatabaseReads) -> None:
        assert await guids(reads, GUID) == [GUID]
        with locked(postgresql):
            began = time.monotonic()
            reading = [asyncio.create_task(guids(reads, GUID)) for _ in range(3)]
            with pytest.raises(RegistryError, match=r"locked by another transaction for 1\.5 s"):
                await reading[0]
            for other in reading[1:]:
                with pytest.raises(RegistryError, match="has not responded for 2 s"):
                    await other
            assert time.monotonic() - began < 10
        assert await once_retried(reads) == [GUID]

    run(state, work, limit_seconds=2.0)


def test_a_table_that_was_made_again_is_read(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(reads: DatabaseReads) -> None:
        assert await guids(reads, GUID) == [GUID]
        with postgresql.connect(DATABASE) as admin:
            admin.execute("DROP SCHEMA ibcm_bridge CASCADE")
        with pytest.raises(RegistryError, match="does not exist"):
            await guids(reads, GUID)
        with SharedRegistry(state, creates=True) as registry:
            registry.add(PC1)
        assert await once_retried(reads) == [GUID]

    run(state, work)


def damage(postgresql: PostgresqlServer) -> None:
    """Overwrite the only page of the table."""
    with postgresql.connect(DATABASE) as admin:
        # Otherwise, the start repairs the page from the log.
        admin.execute("CHECKPOINT")
        row = admin.execute("SELECT pg_relation_filepath('ibcm_bridge.bindings')").fetchone()
    assert row is not None
    postgresql.stop()
    with (postgresql.data / str(row[0])).open("r+b") as table:
        table.write(b"\xff" * 8192)
    postgresql.start()


def test_a_damaged_table_is_a_problem_and_not_read_by_each_request(
    state: StateDatabase, postgresql: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(reads: DatabaseReads) -> None:
        damage(postgresql)
        # The next try is not yet due, also if this machine stops for a second.
        breaker = reads._breaker = DatabaseBreaker(lambda: 0.0)
        with pytest.raises(RegistryError, match="invalid page"):
            await guids(reads, GUID)
        with patch.object(reads, "_open") as opened:
            for _ in range(10):
                with pytest.raises(RegistryError, match="invalid page"):
                    await guids(reads, GUID)
        assert not opened.called
        reported = breaker.reported()
        assert reported is not None
        assert "invalid page" in reported
        assert caplog.text.count("invalid page") == 1

    run(state, work)


@pytest.mark.parametrize("moment", ["connecting", "reading"])
def test_a_read_under_way_fails_when_the_bridge_stops(
    state: StateDatabase,
    postgresql: PostgresqlServer,
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    async def work(reads: DatabaseReads) -> None:
        if moment == "reading":
            assert await guids(reads, GUID) == [GUID]
        with postgresql.frozen():
            reading = [asyncio.create_task(guids(reads, GUID)) for _ in range(2)]
            await asyncio.sleep(0.2)
            assert not any(each.done() for each in reading)
            reads.close()
            for each in reading:
                # Not CancelledError, which would be a defect of the request.
                with pytest.raises(RegistryError, match="the bridge stops"):
                    await each
        with pytest.raises(RegistryError, match="the bridge stops"):
            await guids(reads, GUID)
        # It is not a failure of the database.
        assert reads._breaker.problem is None
        assert "the bridge stops" not in caplog.text

    run(state, work)


def test_a_server_that_refuses_connections_is_a_problem_at_once(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def work(reads: DatabaseReads) -> None:
        postgresql.stop()
        try:
            began = time.monotonic()
            with pytest.raises(RegistryError, match=r"cannot be used: .*No such file"):
                await guids(reads, GUID)
            assert time.monotonic() - began < 10
        finally:
            postgresql.start()

    run(state, work, limit_seconds=60.0)
