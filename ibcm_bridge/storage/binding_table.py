"""The bindings, as rows of a table in any database.

1. Each change is a transaction that returns the stored binding. If two processes learn the same
   client GUID, one wins and the other gets its binding.
2. Every row is validated when it is written and when it is read. Damaged data is an error, never an
   unbound client GUID.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from ibcm_bridge.identity.bindings import Binding, confirms
from ibcm_bridge.storage.binding_rows import binding_of, row_of
from ibcm_bridge.storage.statements import BindingStatements
from ibcm_bridge.storage.stores import Database, Imported, Transaction

_PAGE = 500
"""Rows per query when all are read."""


class BindingTable:
    """Client GUID -> `Binding`; a `stores.BindingStore`. Every method raises RegistryError."""

    def __init__(self, database: Database, statements: BindingStatements) -> None:
        self._database = database
        self._statements = statements
        self._find_one = statements.find

    def problem(self) -> str | None:
        """Return why bindings would be lost on restart; None if they would not."""
        return self._database.problem()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Committed changes are already in it."""
        self._database.close()

    def find(self, guid: str) -> Binding | None:
        """The binding of a client GUID in the form of `client_guid.read_guid`; None without one."""
        row = self._database.one(self._find_one, (guid,))
        return None if row is None else self._read(row)

    def add(self, binding: Binding) -> Binding:
        """Bind a client GUID unless it is bound. Return the stored binding, new or earlier."""
        row = self._row(binding)
        with self._database.transaction() as transaction:
            transaction.execute(self._statements.add, row)
            stored = self._find(transaction, binding.guid)
        if stored is None:
            # Another transaction removed the earlier one between the two statements.
            raise self._database.error(f"has lost the binding of {binding.guid} meanwhile")
        return stored

    def replace(self, old: Binding, new: Binding) -> Binding | None:
        """Replace exactly `old` with `new`. Return the stored binding, or None without one.

        ValueError if their client GUIDs differ.
        """
        if old.guid != new.guid:
            raise ValueError("the two bindings have different client GUIDs")
        row = self._row(new)
        with self._database.transaction() as transaction:
            stored = self._find(transaction, old.guid)
            if stored == old:
                transaction.execute(self._statements.change, row)
                return new
            return stored

    def forget(self, guid: str) -> bool:
        """Remove the binding of a client GUID. Return False if it had none."""
        with self._database.transaction() as transaction:
            return transaction.execute(self._statements.forget, (guid,)).rowcount > 0

    def all(self) -> Iterator[Binding]:
        """All bindings, ordered by client GUID. Concurrent changes may be included or not."""
        # Page by page: an open statement keeps its snapshot, and the log could not be truncated.
        last = ""
        while True:
            rows = self._database.all(self._statements.page_after, (last, _PAGE))
            page = [self._read(row) for row in rows]
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
        with self._database.transaction() as transaction:
            for imported, row in rows:
                stored = self._find(transaction, imported.guid)
                if stored is None:
                    transaction.execute(self._statements.add, row)
                    added += 1
                elif confirms(stored, imported):
                    unchanged += 1
                elif replace:
                    transaction.execute(self._statements.change, row)
                    replaced += 1
                else:
                    kept.append((stored, imported))
        return Imported(added, replaced, unchanged, tuple(kept))

    def _find(self, transaction: Transaction, guid: str) -> Binding | None:
        """The binding of a client GUID, which the transaction may change."""
        row = transaction.execute(self._statements.find_to_change, (guid,)).fetchone()
        return None if row is None else self._read(row)

    def _read(self, row: tuple[Any, ...]) -> Binding:
        try:
            return binding_of(row)
        except ValueError as error:
            raise self._database.explained(error) from error

    def _row(self, binding: Binding) -> tuple[object, ...]:
        try:
            return row_of(binding)
        except ValueError as error:
            raise self._database.error(f"cannot store a binding: {error}") from error
