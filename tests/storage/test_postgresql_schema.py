"""The schema of a PostgreSQL database: its migrations, and older programs that still use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import LiteralString

import psycopg
import pytest

from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.database import DatabaseError
from ibcm_bridge.storage.postgresql_schema import (
    SCHEMA,
    Schema,
    StoredSchema,
    TablesInUse,
    stored_schema,
)
from ibcm_bridge.storage.postgresql_statements import COMPATIBLE_SINCE, MIGRATIONS
from ibcm_bridge.storage.postgresql_stores import SharedRegistry, SharedUploads, read_shared_object
from ibcm_bridge.storage.upload_table import SpoolError
from ibcm_bridge.uploads.session import StoredObject
from tests.newer_schema import BREAKING, COMPATIBLE, newer
from tests.postgresql_server import PostgresqlServer
from tests.storage.test_binding_stores import GUID, PC1, PC2
from tests.uploads.conftest import LIMITS, Clock
from tests.uploads.fragments import DATA, ME, took

pytestmark = pytest.mark.needs("postgresql")

Admin = psycopg.Connection[tuple[object, ...]]
VERSION = SCHEMA.version
SLOW = ("SELECT pg_sleep(1.5)",)
"""A migration that takes longer than the limit of a statement in these tests, 0.5 s."""


def test_the_schema_says_who_can_use_it() -> None:
    assert Schema(MIGRATIONS, COMPATIBLE_SINCE) == SCHEMA
    assert 1 <= SCHEMA.compatible_since <= VERSION


# Migrations


def test_a_new_database_gets_the_schema_of_this_version_once(
    postgresql: PostgresqlServer, admin: Admin
) -> None:
    state = postgresql.empty_database()
    with SharedRegistry(state, creates=True) as registry:
        assert registry.created
        registry.add(PC1)
    assert stored_schema(admin) == StoredSchema(VERSION, SCHEMA.compatible_since)
    for creates in (True, False):
        with SharedRegistry(state, creates=creates) as registry:
            assert not registry.created
            assert list(registry.all()) == [PC1]


@pytest.mark.parametrize("statement", ["SELECT 1", "CREATE SCHEMA ibcm_bridge"])
def test_a_database_without_tables_is_refused_and_unchanged(
    postgresql: PostgresqlServer, admin: Admin, statement: LiteralString
) -> None:
    state = postgresql.empty_database()
    admin.execute(statement)
    schemas = admin.execute(SCHEMAS).fetchall()
    stored = StoredObject(state, "x", 1)
    for use in (
        lambda: SharedRegistry(state),
        lambda: SharedUploads(state, LIMITS, time.time),
        lambda: read_shared_object(stored),
    ):
        with pytest.raises(DatabaseError, match="ibcm-bridge identity init --config FILE"):
            use()
    assert admin.execute(SCHEMAS).fetchall() == schemas
    with SharedRegistry(state, creates=True) as registry:
        assert registry.created


SCHEMAS = (
    "SELECT nspname, relname FROM pg_namespace LEFT JOIN pg_class"
    " ON relnamespace = pg_namespace.oid WHERE nspname = 'ibcm_bridge'"
)


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_database_of_the_first_programs_is_migrated_and_keeps_its_rows(
    postgresql: PostgresqlServer, admin: Admin, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """They did not store which older programs can use it."""
    state = postgresql.empty_database()
    admin.execute("CREATE SCHEMA ibcm_bridge")
    for statements in MIGRATIONS[:version]:
        for statement in statements:
            admin.execute(statement)
    admin.execute("UPDATE ibcm_bridge.version SET version = %s", (version,))
    assert stored_schema(admin) == StoredSchema(version, version)
    with SharedRegistry(state) as registry:
        registry.add(PC1)
    assert stored_schema(admin).version == VERSION
    monkeypatch.setattr("ibcm_bridge.storage.postgresql.SCHEMA", newer(COMPATIBLE))
    with SharedRegistry(state) as registry:
        assert registry.find(GUID) == PC1
    assert stored_schema(admin) == StoredSchema(VERSION + 1, SCHEMA.compatible_since)


@contextmanager
def limited_to(admin: Admin, limit: str) -> Iterator[None]:
    """The administrator has set a limit for all statements in the database."""
    admin.execute(f"ALTER DATABASE state SET {limit} = '500ms'")  # type: ignore[call-overload]
    try:
        yield
    finally:
        admin.execute(f"ALTER DATABASE state RESET {limit}")  # type: ignore[call-overload]


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
@pytest.mark.parametrize("is_new", [False, True])
def test_a_migration_takes_longer_than_a_statement_may(
    postgresql: PostgresqlServer,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    is_new: bool,
) -> None:
    state = postgresql.empty_database() if is_new else postgresql.new_database()
    monkeypatch.setattr("ibcm_bridge.storage.postgresql.SCHEMA", newer(SLOW))
    errors: list[Exception] = []

    # As two workers that start at the same time.
    def start() -> None:
        try:
            SharedRegistry(state, limit_seconds=0.5, creates=is_new).close()
        except RegistryError as error:
            errors.append(error)

    with limited_to(admin, limit):
        began = time.monotonic()
        threads = [threading.Thread(target=start) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
    assert time.monotonic() - began >= 1.5
    assert stored_schema(admin).version == VERSION + 1


def test_a_migration_is_logged_once_and_a_new_schema_is_not(
    postgresql: PostgresqlServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = postgresql.empty_database()
    SharedRegistry(state, creates=True).close()
    assert caplog.messages == []
    monkeypatch.setattr("ibcm_bridge.storage.postgresql.SCHEMA", newer(COMPATIBLE))
    for _ in range(2):
        SharedRegistry(state).close()
    assert caplog.messages == [
        f"migrating the schema of the database from version {VERSION} to {VERSION + 1}"
    ]


def test_a_migration_that_fails_changes_nothing(
    state: StateDatabase, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    SharedRegistry(state).close()
    monkeypatch.setattr(
        "ibcm_bridge.storage.postgresql.SCHEMA", newer(COMPATIBLE, ("SELECT 1 / 0",))
    )
    with pytest.raises(RegistryError, match="division by zero"):
        SharedRegistry(state)
    assert stored_schema(admin).version == VERSION
    assert admin.execute("SELECT to_regclass('ibcm_bridge.devices')").fetchone() == (None,)


def test_a_migration_gives_up_before_a_bridge_that_waits_behind_it(
    postgresql: PostgresqlServer, state: StateDatabase, admin: Admin
) -> None:
    """A backup reads all tables until it ends, and a change of a table waits for that."""
    with (
        SharedRegistry(state) as bridge,
        postgresql.connect("state") as backup,
        postgresql.connect("state") as watching,
    ):
        bridge.add(PC1)
        errors: list[Exception] = []

        def migrate() -> None:
            try:
                newer(COMPATIBLE).migrate(admin)
            except TablesInUse as error:
                errors.append(error)

        with backup.transaction():
            backup.execute("LOCK TABLE ibcm_bridge.bindings IN ACCESS SHARE MODE")
            thread = threading.Thread(target=migrate)
            thread.start()
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while watching.execute(waiting).fetchone() is None:
                assert thread.is_alive()
            assert bridge.replace(PC1, PC2) == PC2
            thread.join()
        (error,) = errors
        assert "such as a backup or an import; start the bridge again" in str(error)
        assert stored_schema(admin).version == VERSION
        assert newer(COMPATIBLE).migrate(admin).version == VERSION + 1


# Older programs


def test_a_compatible_schema_is_used_by_an_older_program(
    state: StateDatabase, admin: Admin
) -> None:
    with (
        SharedRegistry(state) as running,
        closing(SharedUploads(state, LIMITS, Clock())) as uploads,
    ):
        running.add(PC1)
        uploads.begin(ME, "{1}")
        took(uploads, 0, 200)
        newer(COMPATIBLE).migrate(admin)
        assert running.find(GUID) == PC1
        assert running.replace(PC1, PC2) == PC2
        last = took(uploads, 200, 512)
        assert last.stored is not None
        # In the process of an inspection, which opens the database again.
        assert read_shared_object(last.stored) == DATA
    # As by a worker that replaces another one.
    with SharedRegistry(state) as started:
        assert started.find(GUID) == PC2
    assert stored_schema(admin) == StoredSchema(VERSION + 1, SCHEMA.compatible_since)


def upload(state: StateDatabase) -> StoredObject:
    """An upload of two fragments, both of them stored."""
    with closing(SharedUploads(state, LIMITS, Clock())) as uploads:
        uploads.begin(ME, "{1}")
        took(uploads, 0, 200)
        last = took(uploads, 200, 512)
    assert last.stored is not None
    return last.stored


def test_a_schema_that_is_not_compatible_is_refused_and_unchanged(
    state: StateDatabase, admin: Admin
) -> None:
    stored = upload(state)
    newer(BREAKING, ("CREATE TABLE ibcm_bridge.later ()",)).migrate(admin)
    refused = (
        f"{state.address} was migrated by a newer ibcm-bridge: upgrade this one, or restore the "
        f"backup from before (the schema has version {VERSION + 2} and requires support for "
        f"{VERSION + 1}; this one supports {VERSION})"
    )
    with pytest.raises(RegistryError) as registry:
        SharedRegistry(state)
    assert str(registry.value) == refused
    with pytest.raises(SpoolError) as inspection:
        read_shared_object(stored)
    assert str(inspection.value) == refused
    assert stored_schema(admin) == StoredSchema(VERSION + 2, VERSION + 1)


def test_an_inspection_never_migrates(
    state: StateDatabase, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = upload(state)
    # As after a backup of the database was restored.
    monkeypatch.setattr("ibcm_bridge.storage.postgresql.SCHEMA", newer(COMPATIBLE))
    with pytest.raises(SpoolError, match=r"has an older schema .*; restart the bridge"):
        read_shared_object(stored)
    assert stored_schema(admin).version == VERSION
