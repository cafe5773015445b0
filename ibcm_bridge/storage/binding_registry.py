"""The bindings, in a SQLite file that several bridges and the command line share.

1. Each change is a transaction that returns the stored binding. If two processes learn the same
   client GUID, one wins and the other gets its binding.
2. Every row is validated when it is written and when it is read. Damaged data is an error, never an
   unbound client GUID.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ibcm_bridge.identity.bindings import Binding, confirms
from ibcm_bridge.storage.binding_rows import TABLE, binding_of, row_of
from ibcm_bridge.storage.database import DatabaseError, DatabaseKind, SharedDatabase

APPLICATION = 0x6962636D
"""SQLite's application_id in the file header: "ibcm"."""

_PAGE = 500
"""Rows per query when all are read."""

_FIND = "SELECT * FROM bindings WHERE guid = ?"
_PAGE_AFTER = "SELECT * FROM bindings WHERE guid > ? ORDER BY guid LIMIT ?"
_ADD = "INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_CHANGE = "REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM bindings WHERE guid = ?"


class RegistryError(DatabaseError):
    """The registry cannot be used. The message has its path and the cause; nothing was changed."""


_KIND = DatabaseKind("the registry in memory", APPLICATION, 1, (TABLE,), error=RegistryError)


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import."""

    added: int
    replaced: int
    unchanged: int
    """Bindings whose values were all stored already."""
    kept: tuple[tuple[Binding, Binding], ...]
    """Conflicts: the stored binding, which was kept, and the imported one."""


def no_registry(path: Path) -> str | None:
    """Return why a bridge that enforces bindings must not start with this file; None if it may.

    With a new file, every client GUID is unbound, and another client could take it. A file that
    cannot be opened has a better error (`Registry`).
    """
    try:
        if path.stat().st_size:
            return None
        what = "is empty"
    except FileNotFoundError:
        what = "does not exist"
    except OSError:
        return None
    return (
        f"{path} {what}: with identity: enforce, a new file would release every client GUID that "
        "was bound; restore it, or run: ibcm-bridge identity init --config FILE"
    )


class Registry:
    """Client GUID -> `Binding`. For one thread at a time. Every method raises RegistryError."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or create it, readable only by its owner. None: in memory."""
        self.path = path
        self._database = SharedDatabase(path, _KIND)

    def problem(self) -> str | None:
        """Return why bindings would be lost on restart; None if they would not."""
        return self._database.problem()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Committed changes are already in it."""
        self._database.close()

    def find(self, guid: str) -> Binding | None:
        """The binding of a client GUID in the form of `client_guid.read_guid`; None without one."""
        try:
            row = self._database.one(_FIND, (guid,))
            return None if row is None else binding_of(row)
        except ValueError as error:
            raise self._database.explained(error) from error

    def add(self, binding: Binding) -> Binding:
        """Bind a client GUID unless it is bound. Return the stored binding, new or earlier."""
        row = self._row(binding)
        with self._database.transaction() as database:
            database.execute(_ADD, row)
            stored = self.find(binding.guid)
        assert stored is not None
        return stored

    def replace(self, old: Binding, new: Binding) -> Binding | None:
        """Replace exactly `old` with `new`. Return the stored binding, or None without one.

        ValueError if their client GUIDs differ.
        """
        if old.guid != new.guid:
            raise ValueError("the two bindings have different client GUIDs")
        row = self._row(new)
        with self._database.transaction() as database:
            stored = self.find(old.guid)
            if stored == old:
                database.execute(_CHANGE, row)
                return new
            return stored

    def forget(self, guid: str) -> bool:
        """Remove the binding of a client GUID. Return False if it had none."""
        with self._database.transaction() as database:
            return database.execute(_FORGET, (guid,)).rowcount > 0

    def all(self) -> Iterator[Binding]:
        """All bindings, ordered by client GUID. Concurrent changes may be included or not."""
        # Page by page: an open statement keeps its snapshot, and the log could not be truncated.
        last = ""
        while True:
            try:
                rows = self._database.all(_PAGE_AFTER, (last, _PAGE))
                page = [binding_of(row) for row in rows]
            except ValueError as error:
                raise self._database.explained(error) from error
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].guid

    def import_all(self, bindings: Iterable[Binding], *, replace: bool = False) -> Imported:
        """Import bindings, all or none. A conflicting stored binding is kept unless `replace`."""
        added = replaced = unchanged = 0
        kept = []
        # Before the transaction, because bridges cannot write during it.
        rows = [(imported, self._row(imported)) for imported in bindings]
        with self._database.transaction() as database:
            for imported, row in rows:
                stored = self.find(imported.guid)
                if stored is None:
                    database.execute(_ADD, row)
                    added += 1
                elif confirms(stored, imported):
                    unchanged += 1
                elif replace:
                    database.execute(_CHANGE, row)
                    replaced += 1
                else:
                    kept.append((stored, imported))
        return Imported(added, replaced, unchanged, tuple(kept))

    def _row(self, binding: Binding) -> tuple[object, ...]:
        try:
            return row_of(binding)
        except ValueError as error:
            raise self._database.error(f"cannot store a binding: {error}") from error
