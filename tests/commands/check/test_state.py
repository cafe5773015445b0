"""`check --connect` tries the database that several machines share, and changes nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.state import check_state
from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.files import make_pki, shipped_policy
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.policy.policy import Policy, StateDatabase
from ibcm_bridge.storage import postgresql_check, postgresql_trials
from ibcm_bridge.storage.postgresql_check import Severity, examine
from ibcm_bridge.storage.postgresql_schema import NO_TABLES, SCHEMA, stored_schema
from ibcm_bridge.storage.postgresql_trials import Trial
from tests.newer_schema import BREAKING, COMPATIBLE, newer
from tests.postgresql_server import DATABASE, PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

ROWS = " UNION ALL ".join(
    f"SELECT count(*) FROM ibcm_bridge.{table}" for table in ("bindings", "sessions", "fragments")
)


def check(state: StateDatabase, identity: Enforcement = Enforcement.ENFORCE) -> list[Finding]:
    policy = SimpleNamespace(state=state, messages=MessagePolicy(identity))
    found = list(check_state(cast(Policy, policy)))
    assert {finding.where for finding in found} == {f"state: {state.address}"}
    return found


def problem(state: StateDatabase, identity: Enforcement = Enforcement.ENFORCE) -> str:
    """The only problem, which ends the check."""
    *facts, last = check(state, identity)
    assert {finding.level for finding in facts} <= {Level.FACT}
    assert (last.level, last.requirement) == (Level.PROBLEM, "BRIDGE-IDENTITY")
    return last.text


def test_without_state_nothing_is_found() -> None:
    assert list(check_state(cast(Policy, SimpleNamespace(state=None)))) == []


def test_a_database_in_use_is_good_and_unchanged(
    state: StateDatabase, admin: psycopg.Connection[Any]
) -> None:
    connected, schema = check(state)
    assert (connected.level, schema.level) == (Level.FACT, Level.FACT)
    assert "connected at a UNIX socket, without TLS" in connected.text
    assert schema.text == (
        f"the schema has version {SCHEMA.version}; bindings and uploads can be read and changed"
    )
    assert admin.execute(ROWS).fetchall() == [(0,)] * 3


@pytest.mark.parametrize("identity", Enforcement)
def test_a_new_database_is_good_unless_bindings_are_enforced_and_stays_new(
    postgresql: PostgresqlServer, admin: psycopg.Connection[Any], identity: Enforcement
) -> None:
    state = postgresql.empty_database()
    if identity is Enforcement.ENFORCE:
        assert problem(state) == NO_TABLES
    else:
        _, schema = check(state, identity)
        assert schema.level is Level.FACT
        assert schema.text.startswith("no schema yet; `run` creates it")
    assert admin.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone() == (None,)


def test_an_older_schema_is_a_warning(
    state: StateDatabase, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.execute("UPDATE ibcm_bridge.version SET version = 1")
    text = f"the schema has version 1; `run` migrates it to {SCHEMA.version}"
    for compatible_since, then in (
        (1, ", and bridges that use it now continue"),
        (2, ", which bridges that use it now cannot use: stop all of them first"),
    ):
        schema = replace(SCHEMA, compatible_since=compatible_since)
        monkeypatch.setattr(postgresql_check, "SCHEMA", schema)
        _, older = check(state)
        assert (older.level, older.text) == (Level.WARNING, text + then)
    assert stored_schema(admin).version == 1


def test_a_newer_schema_is_good_if_it_is_compatible(
    state: StateDatabase, admin: psycopg.Connection[Any]
) -> None:
    newer(COMPATIBLE).migrate(admin)
    _, schema = check(state)
    assert schema.level is Level.FACT
    assert schema.text == (
        f"the schema has version {SCHEMA.version + 1}, of a newer ibcm-bridge; "
        "bindings and uploads can be read and changed"
    )
    newer(COMPATIBLE, BREAKING).migrate(admin)
    assert problem(state) == (
        "was migrated by a newer ibcm-bridge: upgrade this one, or restore the backup from before "
        f"(the schema has version {SCHEMA.version + 2} and requires support for "
        f"{SCHEMA.version + 2}; this one supports {SCHEMA.version})"
    )


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("ALTER DATABASE state SET default_transaction_read_only = on", "is read-only"),
        ("ALTER TABLE ibcm_bridge.fragments RENAME TO gone", "refuses a statement: relation"),
        ("ALTER TABLE ibcm_bridge.bindings ADD CHECK (false)", "violates check constraint"),
    ],
)
def test_a_database_that_cannot_be_written_is_a_problem(
    state: StateDatabase, admin: psycopg.Connection[Any], statement: str, found: str
) -> None:
    try:
        admin.execute(statement)  # type: ignore[call-overload]
        assert found in problem(state)
    finally:
        admin.execute("ALTER DATABASE state RESET default_transaction_read_only")


def test_a_table_that_is_locked_is_a_problem(
    state: StateDatabase, admin: psycopg.Connection[Any]
) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE ibcm_bridge.sessions")
        assert "locked by another transaction" in problem(state)


def test_a_user_without_rights_is_a_problem(
    postgresql: PostgresqlServer, state: StateDatabase, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("DROP ROLE IF EXISTS reader")
    admin.execute("CREATE ROLE reader LOGIN")
    guest = StateDatabase(state.address, (*state.parameters, ("user", "reader")))
    postgresql.empty_database()
    assert "permission denied for database" in problem(guest, Enforcement.OBSERVE)
    postgresql.new_database()
    assert "permission denied for schema ibcm_bridge" in problem(guest)


@pytest.fixture
def guest(state: StateDatabase, admin: psycopg.Connection[Any]) -> Iterator[StateDatabase]:
    """A user with all rights on the tables, which another user owns."""
    admin.execute("CREATE ROLE tenant LOGIN")
    admin.execute("GRANT USAGE ON SCHEMA ibcm_bridge TO tenant")
    admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA ibcm_bridge TO tenant")
    yield StateDatabase(state.address, (*state.parameters, ("user", "tenant")))
    admin.execute("DROP OWNED BY tenant")
    admin.execute("DROP ROLE tenant")


def test_a_user_does_not_need_to_own_the_tables(guest: StateDatabase) -> None:
    assert [finding.level for finding in check(guest)] == [Level.FACT] * 2


@pytest.mark.parametrize(
    ("table", "right", "uses"),
    [
        ("bindings", "INSERT", ["add a binding", "change a binding"]),
        ("bindings", "SELECT", ["read a binding", "change a binding", "remove a binding"]),
        ("bindings", "UPDATE", ["change a binding"]),
        ("bindings", "DELETE", ["remove a binding"]),
        ("sessions", "INSERT", ["begin an upload"]),
        ("sessions", "SELECT", ["read an upload", "continue an upload", "remove an upload"]),
        ("sessions", "UPDATE", ["continue an upload"]),
        ("sessions", "DELETE", ["remove an upload"]),
        ("fragments", "INSERT", ["store the bytes of an upload"]),
        (
            "fragments",
            "SELECT",
            [
                "store the bytes of an upload",
                "read the bytes of an upload",
                "remove the bytes of an upload",
            ],
        ),
        ("fragments", "UPDATE", ["store the bytes of an upload"]),
        ("fragments", "DELETE", ["remove the bytes of an upload"]),
    ],
)
def test_each_right_that_is_missing_is_a_problem(
    guest: StateDatabase, admin: psycopg.Connection[Any], table: str, right: str, uses: list[str]
) -> None:
    admin.execute(f"REVOKE {right} ON ibcm_bridge.{table} FROM tenant")  # type: ignore[call-overload]
    connected, *found = check(guest)
    assert connected.level is Level.FACT
    assert {finding.level for finding in found} <= {Level.PROBLEM, Level.WARNING}
    assert [finding.text for finding in found if finding.level is Level.PROBLEM] == [
        f"cannot {use}: permission denied for table {table}" for use in uses
    ]
    assert admin.execute(ROWS).fetchall() == [(0,)] * 3


def test_without_temporary_tables_only_an_import_is_not_possible(
    guest: StateDatabase, admin: psycopg.Connection[Any]
) -> None:
    admin.execute(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM PUBLIC")
    try:
        _, temporary, schema = check(guest)
    finally:
        admin.execute(f"GRANT TEMPORARY ON DATABASE {DATABASE} TO PUBLIC")
    assert temporary.level is Level.WARNING
    assert temporary.text == (
        "`ibcm-bridge identity import` cannot be used: permission denied to create temporary "
        f'tables in database "{DATABASE}"'
    )
    assert schema.level is Level.FACT


def test_without_notifications_there_is_a_warning(
    state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with a pooler that runs each statement in any session: it listens in another one.
    monkeypatch.setattr(postgresql_check, "LISTEN", "SELECT 1")
    found = list(postgresql_check.examine(state, 0.5))
    assert [each.severity for each in found] == [Severity.GOOD, Severity.GOOD, Severity.RISK]
    assert "no notification arrives" in found[-1].text


def test_each_step_has_the_time_limit(
    state: StateDatabase, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = [Trial(f"cannot {number}", (("SELECT pg_sleep(0.3)", ()),)) for number in range(4)]
    monkeypatch.setattr(postgresql_trials, "TRIALS", slow)
    assert [found.severity for found in examine(state, 1.0)] == [Severity.GOOD] * 2
    slow[2:] = [Trial("cannot end", (("SELECT pg_sleep(30)", ()),))]
    *_, last = examine(state, 1.0)
    assert (last.severity, last.text) == (Severity.BROKEN, "has not responded for 1 s")


def test_a_server_that_is_stopped_or_frozen_is_a_problem(
    state: StateDatabase, postgresql: PostgresqlServer
) -> None:
    postgresql.stop()
    try:
        assert problem(state).startswith("cannot be used: ")
    finally:
        postgresql.start()
    with postgresql.frozen():
        (found,) = examine(state, 0.5)
        assert found.severity is Severity.BROKEN
    assert [found.severity for found in examine(state)] == [Severity.GOOD] * 2


def test_the_command_shows_it(
    tmp_path: Path,
    postgresql: PostgresqlServer,
    state: StateDatabase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = postgresql.address
    make_pki(tmp_path)
    policy = tmp_path / "bridge.yaml"
    policy.write_text(f"{shipped_policy()}\nstate: {address}\n", "utf-8")
    # The site systems of the shipped policy are not there.
    assert main(["check", "--connect", "--config", str(policy)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "state: " in line]
    assert lines[0].startswith(f"state: {address}: PostgreSQL ")
    assert lines[1].endswith("bindings and uploads can be read and changed")
    assert main(["check", "--config", str(policy)]) == 0
    assert "state: " not in capsys.readouterr().out
