"""The two stores of a bridge, and the databases that they can be in.

A store is a set of operations, a database is where its rows are. `binding_table` and `upload_table`
are the operations, and the same for every database. `database` is a SQLite file, `postgresql` a
PostgreSQL server. `binding_registry` and `upload_spool` have the statements for SQLite,
`postgresql_statements` has those for PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.request.bits_packet import Packet
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Sender, Session, StoredObject, UploadPart


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of changed rows."""

    def fetchone(self) -> Any:
        """Return the next row; None after the last."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""


class Transaction(Protocol):
    """An open transaction. Its end commits or rolls back all of its statements."""

    def execute(self, statement: str, values: Any = ..., /) -> Rows:
        """Execute one statement with its values."""


class Database(Protocol):
    """An open database. Every method raises `DatabaseError`, and then nothing was changed."""

    def problem(self) -> str | None:
        """Return why changes would be lost on restart; None if they would not."""

    def close(self) -> None:
        """Close it. Committed changes are already in it."""

    def one(self, statement: str, values: Any = ...) -> tuple[Any, ...] | None:
        """Return the first row of a result; None without rows."""

    def all(self, statement: str, values: Any = ...) -> list[tuple[Any, ...]]:
        """Return all rows of a result."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin an atomic transaction."""

    def explained(self, error: ValueError) -> Exception:
        """Convert the error of an invalid row to a `DatabaseError`."""

    def error(self, words: str) -> Exception:
        """Return a `DatabaseError` with the place of the database."""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import."""

    added: int
    replaced: int
    unchanged: int
    """Bindings whose values were all stored already."""
    kept: tuple[tuple[Binding, Binding], ...]
    """Conflicts: the stored binding, which was kept, and the imported one."""


class BindingStore(Protocol):
    """Client GUID -> `Binding`. Every method raises `RegistryError`."""

    def find(self, guid: str) -> Binding | None:
        """Return the binding of a client GUID in the form of `read_guid`; None without one."""

    def add(self, binding: Binding) -> Binding:
        """Bind a client GUID unless it is bound. Return the stored binding, new or earlier."""

    def replace(self, old: Binding, new: Binding) -> Binding | None:
        """Replace exactly `old` with `new`. Return the stored binding, or None without one."""

    def forget(self, guid: str) -> bool:
        """Remove the binding of a client GUID. Return False if it had none."""

    def all(self) -> Iterator[Binding]:
        """Return all bindings, ordered by client GUID. Concurrent changes may be included."""

    def import_all(self, bindings: Iterable[Binding], *, replace: bool = False) -> Imported:
        """Import bindings, all or none. A conflicting stored binding is kept unless `replace`."""

    def problem(self) -> str | None:
        """Return why bindings would be lost on restart; None if they would not."""

    def close(self) -> None:
        """Close the store."""


class UploadStore(Protocol):
    """Upload sessions and their bytes. Every method raises `SpoolError`."""

    def find(self, packet: Packet, sender: Sender) -> Session | None:
        """Return the session of a packet, whichever client created it; None without one."""

    def consider(self, packet: Packet, sender: Sender) -> tuple[Session | None, Deny | None]:
        """Check the head of a packet. Return the sender's own session, and the refusal."""

    def take(self, packet: Packet, sender: Sender, body: bytes) -> UploadPart | Deny:
        """Store the bytes of a packet. Return the part to be inspected, or the refusal."""

    def begin(self, sender: Sender, session: str) -> Deny | None:
        """Store a session that a site system created for a client."""

    def acknowledge(self, part: UploadPart, acknowledgement: Acknowledgement) -> Deny | None:
        """Update a session by the site system's response. Return a refusal, or None."""

    def sweep(self) -> int:
        """Delete abandoned sessions. Return their number."""

    def read(self, stored: StoredObject) -> bytes:
        """Return all bytes of an object."""

    def totals(self) -> tuple[int, int]:
        """Return the number of sessions, and of their bytes."""

    def problem(self) -> str | None:
        """Return why uploads would be lost on restart; None if they would not."""

    def close(self) -> None:
        """Close the store and keep its content."""
