"""A PostgreSQL database of bindings: its schema, its failures and its time limit."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import psycopg
import pytest

from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_rows import row_of
from ibcm_bridge.storage.postgresql import LIMIT_SECONDS
from ibcm_bridge.storage.postgresql_statements import BINDINGS, CHANNEL
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from ibcm_bridge.storage.stores import Imported
from tests.postgresql_server import PostgresqlServer
from tests.storage.test_binding_stores import GUID, PC1, PC2, numbered

pytestmark = pytest.mark.needs("postgresql")


# Rights


def test_a_database_without_the_rights_is_refused(
    postgresql: PostgresqlServer, state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    admin.execute("DROP ROLE IF EXISTS guest")
    admin.execute("CREATE ROLE guest LOGIN")
    parameters = {**dict(state.parameters), "user": "guest"}
    postgresql.empty_database()
    with pytest.raises(RegistryError, match="permission denied for database"):
        SharedRegistry(StateDatabase("postgresql://x", tuple(parameters.items())), creates=True)


# Damage


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ibcm_bridge.bindings SET source = 'rumour'",
        "UPDATE ibcm_bridge.bindings SET since = '2026-13-01T00:00:00+00:00'",
        "UPDATE ibcm_bridge.bindings SET key = 'abc'",
        "UPDATE ibcm_bridge.bindings SET name = 'PC1'",
        "UPDATE ibcm_bridge.bindings SET key = '', certificate = '', name = ''",
        "ALTER TABLE ibcm_bridge.bindings DROP COLUMN name",
        "DROP TABLE ibcm_bridge.bindings",
    ],
)
def test_damage_is_an_error_and_not_an_unbound_client_guid(
    state: StateDatabase, admin: psycopg.Connection[object], statement: str
) -> None:
    with SharedRegistry(state) as registry:
        registry.add(PC1)
        admin.execute(statement)  # type: ignore[call-overload]
        for use in (
            lambda: registry.find(GUID),
            lambda: list(registry.all()),
            lambda: registry.add(PC2),
            lambda: registry.replace(PC1, PC2),
        ):
            with pytest.raises(RegistryError, match=state.address):
                use()


def test_a_read_only_database_can_be_read(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as registry:
        registry.add(PC1)
        registry._database.one("SELECT set_config('default_transaction_read_only', 'on', false)")
        assert registry.find(GUID) == PC1
        with pytest.raises(RegistryError, match="is read-only"):
            registry.forget(GUID)


def test_a_database_that_was_read_only_is_written_again_without_a_restart(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as registry:
        admin.execute("ALTER DATABASE state SET default_transaction_read_only = on")
        try:
            with pytest.raises(RegistryError, match="is read-only"):
                registry.add(PC1)
        finally:
            admin.execute("ALTER DATABASE state RESET default_transaction_read_only")
        # The pool may have replaced the connection before that. Then that one is replaced as well.
        with contextlib.suppress(RegistryError):
            registry.add(PC1)
        assert registry.add(PC1) == PC1


@pytest.mark.parametrize("limit_seconds", [None, LIMIT_SECONDS], ids=["command", "bridge"])
@pytest.mark.parametrize(("of_server", "set_here"), [("off", "on"), ("remote_apply",) * 2])
def test_a_change_is_stored_when_it_is_acknowledged(
    state: StateDatabase,
    admin: psycopg.Connection[object],
    of_server: str,
    set_here: str,
    limit_seconds: float | None,
) -> None:
    admin.execute(f"ALTER DATABASE state SET synchronous_commit = {of_server}")
    try:
        with SharedRegistry(state, limit_seconds) as registry:
            found = registry._database.one("SELECT current_setting('synchronous_commit')")
    finally:
        admin.execute("ALTER DATABASE state RESET synchronous_commit")
    assert found == (set_here,)


def test_an_import_that_is_refused_halfway_changes_nothing(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as registry:
        admin.execute("ALTER TABLE ibcm_bridge.bindings ADD CHECK (guid NOT LIKE 'GUID:00000005%')")
        with pytest.raises(RegistryError, match="violates check constraint"):
            registry.import_all(numbered(number) for number in range(10))
        assert list(registry.all()) == []


# Notifications


def test_a_change_is_notified_and_a_new_binding_is_not(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as registry:
        admin.execute(f"LISTEN {CHANNEL}")
        registry.add(PC1)
        registry.replace(PC1, PC2)
        registry.forget(GUID)
        admin.execute("TRUNCATE ibcm_bridge.bindings")
        heard = [notified.payload for notified in admin.notifies(timeout=5, stop_after=3)]
    assert heard == [GUID, GUID, ""]


# The time limit


def test_a_frozen_server_makes_nobody_wait_longer_than_the_limit(
    postgresql: PostgresqlServer, state: StateDatabase
) -> None:
    with SharedRegistry(state, limit_seconds=0.5) as registry:
        registry.add(PC1)
        with postgresql.frozen():
            began = time.monotonic()
            with pytest.raises(RegistryError, match=r"has not responded for 0\.5 s"):
                registry.find(GUID)
            # A cancel request, which psycopg sends at other times, would take ten seconds.
            assert time.monotonic() - began < 3.0
        assert registry.find(GUID) == PC1


# Failures beside the server's own


def test_a_server_that_closes_every_connection_is_not_asked_without_end(
    state: StateDatabase, admin: psycopg.Connection[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SharedRegistry(state) as registry:
        pool = registry._database._pool  # type: ignore[attr-defined]
        getconn = pool.getconn
        attempts = 0

        # As a pooler does that accepts a client, and then cannot reach its server.
        def closed() -> psycopg.Connection[object]:
            nonlocal attempts
            attempts += 1
            assert attempts < 10, "asked without end"
            connection: psycopg.Connection[object] = getconn()
            pid = connection.info.backend_pid
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            return connection

        monkeypatch.setattr(pool, "getconn", closed)
        with pytest.raises(RegistryError, match="is being shut down"):
            registry.find(GUID)
        monkeypatch.undo()
        assert registry.find(GUID) is None


def test_a_bridge_without_file_descriptors_gets_an_error_of_the_registry(
    state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dup(_: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with SharedRegistry(state) as registry:
        registry.add(PC1)
        monkeypatch.setattr("os.dup", dup)
        with pytest.raises(RegistryError, match="cannot be used: Too many open files"):
            registry.find(GUID)
        monkeypatch.undo()
        assert registry.find(GUID) == PC1


# An import beside bridges

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@contextmanager
def importing(
    command: SharedRegistry, bindings: list[Binding], admin: psycopg.Connection[object]
) -> Iterator[list[Imported]]:
    """Import in another thread, which waits for a lock meanwhile; the result afterwards."""
    results: list[Imported] = []
    thread = threading.Thread(
        target=lambda: results.append(command.import_all(bindings, replace=True))
    )
    thread.start()
    end = time.monotonic() + 20
    while admin.execute(WAITING).fetchone() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    yield results
    thread.join()


def test_an_import_waits_for_a_change_that_another_makes_meanwhile(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as bridge, SharedRegistry(state, None) as command:
        bridge.add(PC1)
        # The two statements of `replace`, with the import between them.
        with ExitStack() as after, bridge._database.transaction() as transaction:
            transaction.execute(BINDINGS.find_to_change, (GUID,))
            results = after.enter_context(importing(command, [PC2], admin))
            transaction.execute(BINDINGS.change, row_of(PC2))
        assert results == [Imported(0, 0, 1, ())]
        assert bridge.find(GUID) == PC2


def test_during_an_import_only_who_needs_one_of_its_client_guids_waits(
    postgresql: PostgresqlServer, state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    known, new, free = numbered(1), numbered(2), numbered(3)
    with SharedRegistry(state) as bridge, SharedRegistry(state, None) as command:
        bridge.add(PC1)
        bridge.add(known)
        database = dict(state.parameters)["dbname"]
        with (
            ExitStack() as after,
            postgresql.connect(database) as other,
            other.transaction(),
        ):
            # The import has added `new`, and waits for this row.
            other.execute(BINDINGS.find_to_change, (GUID,))
            results = after.enter_context(importing(command, [new, PC2], admin))
            assert bridge.find(GUID) == PC1
            assert bridge.find(new.guid) is None
            assert bridge.add(free) == free
            renamed = replace(known, name="pc9")
            assert bridge.replace(known, renamed) == renamed
            with pytest.raises(RegistryError, match="locked by another transaction") as locked:
                bridge.add(new)
            # So a bridge goes on with other changes.
            assert locked.value.of_statement
        assert results == [Imported(1, 1, 0, ())]
        assert bridge.add(replace(new, name="pc8")) == new


def test_a_table_that_is_locked_is_a_problem_of_the_database(
    state: StateDatabase, admin: psycopg.Connection[object]
) -> None:
    with SharedRegistry(state) as bridge, admin.transaction():
        admin.execute("LOCK TABLE ibcm_bridge.bindings IN EXCLUSIVE MODE")
        with pytest.raises(RegistryError, match="locked by another transaction") as locked:
            bridge.add(PC1)
        assert not locked.value.of_statement
