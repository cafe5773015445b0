"""The stores in a PostgreSQL database."""

from __future__ import annotations

from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_table import BindingTable
from ibcm_bridge.storage.postgresql import LIMIT_SECONDS, PostgresqlDatabase
from ibcm_bridge.storage.postgresql_statements import BINDINGS


class SharedRegistry(BindingTable):
    """The bindings in a database. Every method raises RegistryError."""

    def __init__(self, state: StateDatabase, limit_seconds: float | None = LIMIT_SECONDS) -> None:
        """Connect, and migrate the schema. `limit_seconds` of a change; None: no limit."""
        database = PostgresqlDatabase(
            state, RegistryError, connections=1, limit_seconds=limit_seconds
        )
        super().__init__(database, BINDINGS)
