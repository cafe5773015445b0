"""An import of many bindings into a PostgreSQL database, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage import postgresql_import
from ibcm_bridge.storage.binding_rows import row_of
from ibcm_bridge.storage.postgresql import PostgresqlTransaction
from ibcm_bridge.storage.postgresql_statements import IMPORT
from ibcm_bridge.storage.postgresql_stores import SharedRegistry
from ibcm_bridge.storage.stores import Imported
from tests.storage.test_binding_stores import numbered

pytestmark = pytest.mark.needs("postgresql")


def test_a_large_import_is_compared_in_pages(
    state: StateDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_import, "PAGE", 10)
    with SharedRegistry(state, None) as registry:
        before = [numbered(number) for number in range(0, 90, 2)]
        assert registry.import_all(before) == Imported(45, 0, 0, ())
        changed = [replace(numbered(number), name=f"new{number}") for number in range(60)]
        kept = tuple((numbered(number), changed[number]) for number in range(0, 60, 2))
        assert registry.import_all(changed) == Imported(30, 0, 0, kept)
        assert registry.import_all(changed, replace=True) == Imported(0, 30, 30, ())
        stored = changed + [numbered(number) for number in range(60, 90, 2)]
        assert list(registry.all()) == stored


def test_a_binding_that_is_removed_during_an_import_is_added(
    state: StateDatabase, admin: psycopg.Connection[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_import, "PAGE", 1)
    bindings = [numbered(number) for number in range(3)]
    with SharedRegistry(state, None) as registry:
        registry.import_all(bindings)
        read = registry._read

        # After it was found to be stored, and before its page is read.
        def forget(row: tuple[object, ...]) -> Binding:
            admin.execute("DELETE FROM ibcm_bridge.bindings WHERE guid = %s", (bindings[2].guid,))
            monkeypatch.setattr(registry, "_read", read)
            return read(row)

        monkeypatch.setattr(registry, "_read", forget)
        assert registry.import_all(bindings) == Imported(1, 0, 2, ())
        assert list(registry.all()) == bindings


def test_the_last_page_reads_no_more_rows_than_the_first(state: StateDatabase) -> None:
    bindings = [numbered(number) for number in range(20_000)]
    in_order = sorted(binding.guid for binding in bindings)
    with SharedRegistry(state, None) as registry:
        registry.import_all(bindings)
        with registry._database.transaction() as transaction:
            assert isinstance(transaction, PostgresqlTransaction)
            transaction.execute(IMPORT.create)
            transaction.copy(IMPORT.copy, map(row_of, bindings))
            transaction.execute(IMPORT.analyze)
            transaction.execute("ANALYZE ibcm_bridge.bindings")
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {IMPORT.page(lock=False)}"
            values = {"after": in_order[-1_001], "limit": 1_000}
            found = transaction.execute(explain, values).fetchone()
    assert found is not None
    # Each table from there: 1,000 rows.
    assert sum(scanned(found[0][0]["Plan"])) <= 2_000


def scanned(plan: dict[str, Any]) -> Iterator[int]:
    """The number of rows that each scan in a plan reads."""
    inner = plan.get("Plans", ())
    for each in inner:
        yield from scanned(each)
    if not inner:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        yield int(rows * plan["Actual Loops"])
