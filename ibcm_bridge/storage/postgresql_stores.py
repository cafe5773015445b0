"""The stores in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.binding_registry import RegistryError
from ibcm_bridge.storage.binding_table import BindingTable
from ibcm_bridge.storage.postgresql import LIMIT_SECONDS, PostgresqlDatabase
from ibcm_bridge.storage.postgresql_import import import_bindings
from ibcm_bridge.storage.postgresql_statements import BINDINGS, UPLOADS
from ibcm_bridge.storage.stores import Imported
from ibcm_bridge.storage.upload_table import SpoolError, SpoolLimits, UploadTable, read_stored
from ibcm_bridge.uploads.session import StoredObject

UPLOAD_CONNECTIONS = 4
"""Of one process; those for bindings are others, so that an upload does not delay a message."""

UPLOAD_LIMIT_SECONDS = 5.0
"""The time limit of storing a packet, or of reading a piece of an object."""


class SharedRegistry(BindingTable):
    """The bindings in a database. Every method raises RegistryError."""

    def __init__(
        self,
        state: StateDatabase,
        limit_seconds: float | None = LIMIT_SECONDS,
        *,
        creates: bool = False,
    ) -> None:
        """Connect, and migrate the schema. `limit_seconds` of a change; None: no limit.

        A database without tables is an error, unless this `creates` them.
        """
        database = PostgresqlDatabase(
            state, RegistryError, connections=1, limit_seconds=limit_seconds, creates=creates
        )
        super().__init__(database, BINDINGS)
        self._shared = database
        self.created = database.created
        """Whether the tables were created here."""

    def import_all(self, bindings: Iterable[Binding], *, replace: bool = False) -> Imported:
        """Import bindings, all or none. A conflicting stored binding is kept unless `replace`."""
        rows = [(imported, self._row(imported)) for imported in bindings]
        return import_bindings(self._shared, rows, self._read, replace=replace)


class SharedUploads(UploadTable):
    """Upload sessions in a database, for several threads. Every method raises SpoolError."""

    def __init__(
        self, state: StateDatabase, limits: SpoolLimits, clock: Callable[[], float]
    ) -> None:
        """Connect, and migrate the schema. `clock` in seconds, about the same on all machines.

        The tables exist: those of the bindings are opened first.
        """
        database = PostgresqlDatabase(
            state,
            SpoolError,
            connections=UPLOAD_CONNECTIONS,
            limit_seconds=UPLOAD_LIMIT_SECONDS,
            locks_rows=True,
        )
        try:
            super().__init__(database, UPLOADS, state, limits, clock)
        except BaseException:
            database.close()
            raise


def read_shared_object(stored: StoredObject) -> bytes:
    """All bytes of an object in a database, for the inspection in another process.

    The bridge has migrated the database when it started. Raises SpoolError.
    """
    assert isinstance(stored.spool, StateDatabase)
    database = PostgresqlDatabase(
        stored.spool,
        SpoolError,
        connections=1,
        limit_seconds=UPLOAD_LIMIT_SECONDS,
        migrates=False,
    )
    try:
        return read_stored(database, UPLOADS, stored)
    finally:
        database.close()
