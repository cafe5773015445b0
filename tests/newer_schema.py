"""The schema of newer programs, which migrate a database while this one uses it."""

from __future__ import annotations

from typing import LiteralString

from ibcm_bridge.storage.postgresql_schema import SCHEMA, Schema

COMPATIBLE: tuple[LiteralString, ...] = (
    "ALTER TABLE ibcm_bridge.bindings ADD COLUMN seen date NOT NULL DEFAULT CURRENT_DATE",
    "ALTER TABLE ibcm_bridge.sessions ADD COLUMN priority text",
    "ALTER TABLE ibcm_bridge.fragments ADD COLUMN sha256 bytea",
    "CREATE TABLE ibcm_bridge.devices (name text NOT NULL PRIMARY KEY)",
)
BREAKING: tuple[LiteralString, ...] = ("ALTER TABLE ibcm_bridge.fragments RENAME TO pieces",)


def newer(*migrations: tuple[LiteralString, ...]) -> Schema:
    """The schema after more migrations. Only after `BREAKING`, older programs cannot use it."""
    every = (*SCHEMA.migrations, *migrations)
    breaking = [number for number, statements in enumerate(every, 1) if statements is BREAKING]
    return Schema(every, max([SCHEMA.compatible_since, *breaking]))
