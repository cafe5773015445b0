"""The bindings, kept in one SQLite file by several bridges and the command line at once.

1. Each change is one transaction that says what stands afterwards, so of two that learn the same
   client GUID at once one wins, and the other is told who it is.
2. Every row is held to its form when it is written and when it is read: what is damaged is an
   error, never a client GUID that nothing is known of.
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
"""Says in the file's head whose database it is: "ibcm"."""

_PAGE = 500
"""Rows that are read at once of many."""

_FIND = "SELECT * FROM bindings WHERE guid = ?"
_PAGE_AFTER = "SELECT * FROM bindings WHERE guid > ? ORDER BY guid LIMIT ?"
_ADD = "INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_CHANGE = "REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM bindings WHERE guid = ?"


class RegistryError(DatabaseError):
    """The registry cannot be used, and why, in words with its path. Nothing has been changed."""


_KIND = DatabaseKind("the registry in memory", APPLICATION, 1, (TABLE,), error=RegistryError)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of bindings that were imported."""

    added: int
    replaced: int
    unchanged: int
    """They had nothing that was not stored already."""
    kept: tuple[tuple[Binding, Binding], ...]
    """The stored binding, and the imported one."""


class Registry:
    """Client GUID -> `Binding`. For the thread that made it. Every method raises RegistryError."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or make one that only its owner reads. None: kept in memory."""
        self._database = SharedDatabase(path, _KIND)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. What was committed is in it already."""
        self._database.close()

    def find(self, guid: str) -> Binding | None:
        """What a client GUID, as of `client_guid.read_guid`, is bound to; None: it is not known."""
        try:
            row = self._database.one(_FIND, (guid,))
            return None if row is None else binding_of(row)
        except ValueError as error:
            raise self._database.explained(error) from error

    def add(self, binding: Binding) -> Binding:
        """Bind a client GUID that is not bound; what stands afterwards, this one or an earlier."""
        row = self._row(binding)
        with self._database.transaction() as database:
            database.execute(_ADD, row)
            stored = self.find(binding.guid)
        assert stored is not None
        return stored

    def replace(self, old: Binding, new: Binding) -> Binding | None:
        """Put `new` where exactly `old` stands; what stands afterwards, None if nothing does.

        ValueError where they are of two client GUIDs.
        """
        if old.guid != new.guid:
            raise ValueError("one client GUID cannot take the place of another")
        row = self._row(new)
        with self._database.transaction() as database:
            stored = self.find(old.guid)
            if stored == old:
                database.execute(_CHANGE, row)
                return new
            return stored

    def forget(self, guid: str) -> bool:
        """Take a client GUID out; whether there was one."""
        with self._database.transaction() as database:
            return database.execute(_FORGET, (guid,)).rowcount > 0

    def all(self) -> Iterator[Binding]:
        """All bindings, by client GUID. What changes meanwhile may be among them or not."""
        # Page by page: a statement left open would hold its view, and the log could not be emptied.
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
        """Import bindings, all or none. One that is bound otherwise is kept, unless `replace`."""
        added = replaced = unchanged = 0
        kept = []
        # Before the transaction, in which a bridge waits that wants to write.
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
            raise self._database.error(f"cannot keep a binding: {error}") from error
