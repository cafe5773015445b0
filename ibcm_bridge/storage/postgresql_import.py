"""An import of bindings into a PostgreSQL database: all or none, while bridges go on.

1. The rows are copied to a temporary table, which nobody else can see.
2. One statement adds those with an unbound client GUID. Until the end of the transaction, a
   bridge that binds one of these client GUIDs waits. Nobody else does, and nobody who reads.
3. The others are compared with the stored ones in pages. With `replace`, the rows of a page are
   locked until the end of the transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ibcm_bridge.identity.bindings import Binding, confirms
from ibcm_bridge.storage.postgresql import PostgresqlDatabase, PostgresqlTransaction
from ibcm_bridge.storage.postgresql_statements import IMPORT
from ibcm_bridge.storage.stores import Imported

PAGE = 2_000
"""Stored bindings that are compared at a time: a few megabytes."""

type Row = tuple[object, ...]
type ReadRow = Callable[[tuple[Any, ...]], Binding]


def import_bindings(
    database: PostgresqlDatabase,
    rows: Sequence[tuple[Binding, Row]],
    read: ReadRow,
    *,
    replace: bool,
) -> Imported:
    """Import bindings with their rows; see `stores.BindingStore.import_all`."""
    done: list[Imported] = []
    with database.transaction() as transaction:
        transaction.execute(IMPORT.create)
        for each in _passes(rows):
            transaction.copy(IMPORT.copy, [row for _, row in each.values()])
            transaction.execute(IMPORT.analyze)
            bindings = {guid: binding for guid, (binding, _) in each.items()}
            done.append(_import(transaction, bindings, read, replace=replace))
    return Imported(
        sum(each.added for each in done),
        sum(each.replaced for each in done),
        sum(each.unchanged for each in done),
        tuple(kept for each in done for kept in each.kept),
    )


def _passes(rows: Sequence[tuple[Binding, Row]]) -> list[dict[str, tuple[Binding, Row]]]:
    """Divide rows so that each client GUID is once in a pass: a later row meets an earlier one."""
    passes: list[dict[str, tuple[Binding, Row]]] = []
    counts = Counter[str]()
    for binding, row in rows:
        if counts[binding.guid] == len(passes):
            passes.append({})
        passes[counts[binding.guid]][binding.guid] = binding, row
        counts[binding.guid] += 1
    return passes


def _import(
    transaction: PostgresqlTransaction,
    bindings: dict[str, Binding],
    read: ReadRow,
    *,
    replace: bool,
) -> Imported:
    """Import what is in the temporary table, and empty it."""
    added = replaced = unchanged = 0
    kept = []
    left = len(bindings)
    # Once, unless another transaction removes a binding between the two steps.
    while left:
        new = transaction.execute(IMPORT.add).rowcount
        added, left = added + new, left - new
        last = ""
        page = IMPORT.page(lock=replace)
        while found := transaction.execute(page, {"after": last, "limit": PAGE}).fetchall():
            conflicts = []
            for stored in map(read, found):
                imported = bindings[stored.guid]
                if confirms(stored, imported):
                    unchanged += 1
                elif replace:
                    conflicts.append(stored.guid)
                else:
                    kept.append((stored, imported))
            if conflicts:
                transaction.execute(IMPORT.change, (conflicts,))
                replaced += len(conflicts)
            compared = [row[0] for row in found]
            transaction.execute(IMPORT.drop, (compared,))
            left, last = left - len(compared), compared[-1]
    return Imported(added, replaced, unchanged, tuple(kept))
