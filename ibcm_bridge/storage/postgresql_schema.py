"""The schema `ibcm_bridge` of a PostgreSQL database, which has a version."""

from __future__ import annotations

import psycopg
from psycopg import sql

from ibcm_bridge.storage.postgresql_statements import MIGRATIONS

VERSION = len(MIGRATIONS)
"""The version of the schema. Each migration leads to the next one."""

_LOCK = 0x6962636D6D696772
"""The advisory lock of a migration: "ibcmmigr"."""


def migrate(connection: psycopg.Connection) -> str | None:
    """Bring the schema to this version, in one transaction that no other bridge runs meanwhile.

    Return why it cannot be used; None if it can.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = schema_version(connection)
        if version > VERSION:
            return newer(version)
        known = connection.execute("SELECT to_regnamespace('ibcm_bridge')").fetchone()
        if known is None or known[0] is None:
            connection.execute("CREATE SCHEMA ibcm_bridge")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(sql.SQL(statement))
        if version < VERSION:
            connection.execute("UPDATE ibcm_bridge.version SET version = %s", (VERSION,))
    return None


def schema_version(connection: psycopg.Connection) -> int:
    """The version of the schema; 0 without one."""
    table = connection.execute("SELECT to_regclass('ibcm_bridge.version')").fetchone()
    if table is None or table[0] is None:
        return 0
    found = connection.execute("SELECT version FROM ibcm_bridge.version").fetchone()
    return int(found[0]) if found is not None else 0


def newer(version: int) -> str:
    """Why a bridge cannot use a schema with a version that it does not know."""
    return (
        "was migrated by a newer ibcm-bridge: "
        f"its schema has version {version}, this one supports {VERSION}"
    )
