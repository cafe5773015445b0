"""A database that fails is not asked for a while, and one that refuses a statement still is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from unittest.mock import Mock

import pytest

from ibcm_bridge.addons.hooks.database.breaker import DatabaseBreaker, guarded
from ibcm_bridge.addons.hooks.database.shared_bindings import SharedBindings
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_rows import row_of
from ibcm_bridge.storage.postgresql_statements import BINDINGS
from ibcm_bridge.storage.postgresql_stores import SharedUploads
from ibcm_bridge.storage.upload_table import SpoolError
from tests.postgresql_server import PostgresqlServer
from tests.storage.test_binding_stores import PC1, PC2, numbered
from tests.uploads.conftest import LIMITS, Clock
from tests.uploads.fragments import DATA, ME, fragment, took

pytestmark = pytest.mark.needs("postgresql")


@pytest.fixture
def uploads(state: StateDatabase) -> Iterator[SharedUploads]:
    with closing(SharedUploads(state, LIMITS, Clock())) as opened:
        yield opened


def take(uploads: SharedUploads, breaker: DatabaseBreaker) -> object:
    return guarded(breaker, lambda: uploads.take(fragment(0, 100), ME, DATA[:100]), SpoolError)


@contextmanager
def locked_elsewhere(uploads: SharedUploads, state: StateDatabase) -> Iterator[None]:
    """Begin an upload. Another machine has its row locked until the exit."""
    uploads.begin(ME, "{1}")
    with (
        closing(SharedUploads(state, LIMITS, Clock())) as died,
        died._database.transaction() as transaction,
    ):
        transaction.execute(died._statements.find_to_change, (ME.site_system, "{1}"))
        yield


def test_an_upload_that_another_machine_has_locked_does_not_stop_the_others(
    uploads: SharedUploads, state: StateDatabase
) -> None:
    breaker = DatabaseBreaker()
    with locked_elsewhere(uploads, state):
        with pytest.raises(SpoolError, match="locked by another transaction"):
            take(uploads, breaker)
        assert breaker.problem is None
    took(uploads, 0, 100)


def test_several_packets_that_wait_for_one_upload_do_not_stop_the_others(
    uploads: SharedUploads, state: StateDatabase
) -> None:
    """The server names the row only to the first that waits for it."""
    breaker = DatabaseBreaker()
    with locked_elsewhere(uploads, state), ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(take, uploads, breaker) for _ in range(3)]
        for packet in waiting:
            with pytest.raises(SpoolError, match="locked by another transaction"):
                packet.result()
        assert breaker.problem is None


def test_the_next_try_is_for_one_caller() -> None:
    clock = Clock()
    breaker = DatabaseBreaker(clock)
    assert breaker.waiting() is breaker.refusal() is None
    breaker.failed("is read-only")
    assert breaker.waiting() == breaker.refusal() == "is read-only"
    clock.now += 1
    # To look is not to try.
    assert breaker.waiting() is breaker.waiting() is None
    assert breaker.refusal() is None
    assert breaker.waiting() == breaker.refusal() == "is read-only"
    breaker.succeeded()
    assert breaker.waiting() is breaker.refusal() is None


def test_a_database_that_stopped_is_not_asked_for_a_while(
    uploads: SharedUploads, postgresql: PostgresqlServer
) -> None:
    breaker = DatabaseBreaker(lambda: 0.0)  # the start of the database takes time
    uploads.begin(ME, "{1}")
    postgresql.stop()
    try:
        with pytest.raises(SpoolError, match="cannot be connected to"):
            take(uploads, breaker)
    finally:
        postgresql.start()
    assert breaker.problem is not None
    with pytest.raises(SpoolError, match="cannot be connected to"):
        take(uploads, breaker)


def test_a_binding_that_is_refused_does_not_stop_the_others(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def change() -> None:
        with closing(SharedBindings(state)) as bindings:
            await bindings.add(PC1)
            with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
                admin.execute("ALTER TABLE ibcm_bridge.bindings ADD CHECK (name != 'pc2')")
            with pytest.raises(RegistryError, match="violates check constraint"):
                await bindings.replace(PC1, replace(PC2, name="pc2"))
            assert await bindings.add(numbered(1)) == numbered(1)

    asyncio.run(change())


def test_a_read_only_database_is_not_changed_for_a_while(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    async def change() -> None:
        with closing(SharedBindings(state)) as bindings:
            await bindings.add(PC1)
            with postgresql.read_only(), pytest.raises(RegistryError, match="is read-only"):
                await bindings.add(PC2)
            assert bindings.failure() is not None

    asyncio.run(change())


def test_while_a_table_is_locked_changes_do_not_wait_for_one_another(
    state: StateDatabase, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def change() -> None:
        with closing(SharedBindings(state)) as bindings:
            await bindings.add(PC1)
            # The next try is not yet due, also if this machine stops for a second.
            monkeypatch.setattr(bindings, "_changes", DatabaseBreaker(lambda: 0.0))
            asked = Mock(wraps=bindings._registry.add)
            monkeypatch.setattr(bindings._registry, "add", asked)
            with postgresql.connect(dict(state.parameters)["dbname"]) as admin:
                with admin.transaction():
                    admin.execute("LOCK TABLE ibcm_bridge.bindings IN EXCLUSIVE MODE")
                    with pytest.raises(RegistryError, match="locked by another transaction"):
                        await bindings.add(numbered(0))
                    found = await asyncio.gather(
                        *(bindings.add(numbered(number)) for number in range(6)),
                        return_exceptions=True,
                    )
                # Only the first one waits for the lock; the others are refused before.
                assert asked.call_count == 1
                assert all("locked by another transaction" in str(each) for each in found)

    asyncio.run(change())


def test_while_a_row_is_locked_other_changes_wait_for_a_limited_time(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    """As during an import, which has added its client GUIDs and not yet committed them."""

    async def change() -> None:
        with closing(SharedBindings(state)) as bindings:
            assert await bindings.add(numbered(1)) == numbered(1)
            with (
                postgresql.connect(dict(state.parameters)["dbname"]) as other,
                other.transaction(),
            ):
                other.execute(BINDINGS.add, row_of(PC1))
                began = time.monotonic()
                *found, free = await asyncio.gather(
                    *(bindings.add(PC1) for _ in range(5)),
                    bindings.add(numbered(2)),
                    return_exceptions=True,
                )
                took = time.monotonic() - began
            # One after the other, the five wait for 1.5 s each.
            assert took < 4.5
            assert "locked by another transaction" in str(found[0])
            for each in (found[-1], free):
                assert isinstance(each, RegistryError)
                assert "no time for this change for 1.5 s" in str(each)
            # The database has not failed.
            assert bindings.failure() is None
            assert await bindings.add(numbered(2)) == numbered(2)
            assert await bindings.add(PC2) == PC1

    asyncio.run(change())


def test_an_old_failure_is_not_reported_without_end() -> None:
    clock = Clock()
    breaker = DatabaseBreaker(clock)
    assert breaker.reported() is None
    breaker.failed("is read-only")
    clock.now += 599
    assert breaker.reported() == "is read-only"
    clock.now += 1
    assert breaker.reported() is None
    breaker.failed("is read-only")
    assert breaker.reported() == "is read-only"
    breaker.succeeded()
    assert breaker.reported() is None
