"""A change of the bindings does not stop the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import sqlite3
from pathlib import Path

import pytest

from ibcm_bridge.addons.hooks.binding_writes import BindingWrites
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.storage.binding_registry import Registry, RegistryError

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
FIRST = Binding("GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B", Source.IMPORT, NOW, name="pc1")


def test_the_loop_turns_and_reads_while_another_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibcm_bridge.storage.database.WAIT_SECONDS", 30.0)
    path = tmp_path / "bindings.sqlite"

    async def learn(reading: Registry, writes: BindingWrites, other: sqlite3.Connection) -> None:
        other.execute("BEGIN IMMEDIATE")
        change = asyncio.ensure_future(writes.do(lambda registry: registry.add(FIRST)))
        for _ in range(20):
            await asyncio.sleep(0.005)
            assert reading.find(FIRST.guid) is None
        assert not change.done()
        other.execute("ROLLBACK")
        assert await change == FIRST
        assert reading.find(FIRST.guid) == FIRST

    with (
        Registry(path) as reading,
        contextlib.closing(BindingWrites(path)) as writes,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        asyncio.run(learn(reading, writes, other))


def test_an_error_of_the_file_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibcm_bridge.storage.database.WAIT_SECONDS", 0.05)
    path = tmp_path / "bindings.sqlite"
    with (
        contextlib.closing(BindingWrites(path)) as writes,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RegistryError, match="locked by another process"):
            asyncio.run(writes.do(lambda registry: registry.add(FIRST)))


def test_a_change_under_way_is_finished_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    writes = BindingWrites(path)

    async def begin() -> None:
        asyncio.ensure_future(writes.do(lambda registry: registry.add(FIRST)))  # noqa: RUF006
        await asyncio.sleep(0)

    asyncio.run(begin())
    writes.close()
    with Registry(path) as registry:
        assert registry.find(FIRST.guid) == FIRST
