"""The schema `ibcm_bridge` of a PostgreSQL database, which has a version.

1. A program with a newer version migrates it. The schema then also has the oldest version whose
   programs can still use it.
2. Those continue and start as before. All others refuse the database.
3. Nothing leads back to an older version.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from ibcm_bridge.storage.postgresql_statements import COMPATIBLE_SINCE, MIGRATIONS

logger = logging.getLogger(__name__)

_LOCK = 0x6962636D6D696772
"""The advisory lock of a migration: "ibcmmigr"."""

NO_TABLES = (
    "has no tables in the schema ibcm_bridge; new ones would release every client GUID that was "
    "bound: correct `state`, restore the database, or run: ibcm-bridge identity init --config FILE"
)
"""Why a database cannot be used that is new, another one, or empty after a loss."""

_UNLIMITED = """
    SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN
        ('statement_timeout', 'lock_timeout', 'transaction_timeout')
"""
"""The administrator may have set limits for the user of bridges."""

# Not to_regclass: a session remembers for a while that a table was not there.
_FIND_SCHEMA = "SELECT 1 FROM pg_namespace WHERE nspname = 'ibcm_bridge'"
_FIND_VERSION = "SELECT 1 FROM pg_tables WHERE schemaname = 'ibcm_bridge' AND tablename = 'version'"

# Bridges wait behind a migration that waits for a table, and give up after 1.5 s.
_WAIT = "SET LOCAL lock_timeout = '1s'"


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """The schema that a database has."""

    version: int
    """0: the database has none."""
    compatible_since: int
    """The oldest version whose programs can use it."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that a program needs."""

    migrations: tuple[tuple[LiteralString, ...], ...]
    compatible_since: int
    """The oldest version whose programs can use it."""

    @property
    def version(self) -> int:
        """Each migration leads to the next one."""
        return len(self.migrations)

    def refusal(self, stored: StoredSchema) -> str | None:
        """Why the program cannot use a schema as it is; None if it can."""
        if stored.version < self.version:
            return (
                f"has an older schema than at the start of the bridge: version {stored.version}, "
                f"not {self.version}; restart the bridge, which migrates it"
            )
        if stored.compatible_since > self.version:
            return (
                "was migrated by a newer ibcm-bridge: upgrade this one, or restore the backup from "
                f"before (the schema has version {stored.version} and requires support for "
                f"{stored.compatible_since}; this one supports {self.version})"
            )
        return None

    def migrate(self, connection: psycopg.Connection) -> StoredSchema:
        """Bring an older schema to this version, in one transaction, however long that takes.

        Return the schema afterwards. Programs that migrate at the same time wait for each other.
        Raise TablesInUse, and psycopg.Error.
        """
        with connection.transaction():
            connection.execute(_UNLIMITED)
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            stored = stored_schema(connection)
            if stored.version >= self.version:
                return stored
            try:
                self._migrate(connection, stored.version)
            except psycopg.errors.LockNotAvailable as error:
                raise TablesInUse from error
        return StoredSchema(self.version, self.compatible_since)

    def _migrate(self, connection: psycopg.Connection, version: int) -> None:
        if version:
            text = "migrating the schema of the database from version %d to %d"
            logger.warning(text, version, self.version)
        connection.execute(_WAIT)
        if connection.execute(_FIND_SCHEMA).fetchone() is None:
            connection.execute("CREATE SCHEMA ibcm_bridge")
        for statements in self.migrations[version:]:
            for statement in statements:
                connection.execute(statement)
        # Last: from here to the end of the transaction, other programs cannot read the version.
        connection.execute(
            "ALTER TABLE ibcm_bridge.version ADD COLUMN IF NOT EXISTS compatible_since integer"
        )
        connection.execute(
            "UPDATE ibcm_bridge.version SET version = %s, compatible_since = %s",
            (self.version, self.compatible_since),
        )


SCHEMA = Schema(MIGRATIONS, COMPATIBLE_SINCE)


def stored_schema(connection: psycopg.Connection) -> StoredSchema:
    """The schema of a database."""
    if connection.execute(_FIND_VERSION).fetchone() is None:
        return StoredSchema(0, 0)
    # The first programs did not store the column, and had no rule to use a newer version by.
    found = connection.execute(
        "SELECT version, coalesce((to_jsonb(stored) ->> 'compatible_since')::integer, version) "
        "FROM ibcm_bridge.version AS stored"
    ).fetchone()
    return StoredSchema(*found) if found is not None else StoredSchema(0, 0)


class TablesInUse(psycopg.OperationalError):
    """A migration has waited for a table, and nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "cannot be migrated while another transaction uses its tables, such as a backup or an "
            "import; start the bridge again after that"
        )
