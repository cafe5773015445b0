"""The numbers of a database that does not respond: the last ones, with their age."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.stored_counts import StoredCounts
from tests.addons.stand_ins.lab import Lab
from tests.postgresql_server import PostgresqlServer
from tests.storage.test_binding_stores import PC1
from tests.uploads.conftest import Clock

pytestmark = pytest.mark.needs("postgresql")

NAMES = {metrics.BINDINGS.name, metrics.UPLOADS.name, metrics.UPLOAD_BYTES.name}
AGES = {(metrics.STORE_AGE.name, (store,)) for store in ("bindings", "uploads")}


@pytest.fixture
def bridge(lab: Lab, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Bridge]:
    audit = tmp_path / "audit.jsonl"
    policy = dataclasses.replace(lab.policy, audit_file=audit, state=postgresql.new_database())
    with contextlib.closing(Bridge(policy)) as bridge:
        yield bridge


def test_a_frozen_database_keeps_its_numbers_which_become_old(
    bridge: Bridge, postgresql: PostgresqlServer
) -> None:
    clock = Clock()
    counts = StoredCounts(clock)

    async def check() -> None:
        async with bridge.running():
            await bridge.shared.bindings.add(PC1)
            await counts.read(bridge.shared)
            clock.now += 10
            before = dict(counts.readings())
            assert {name for name, labels in before if not labels} == NAMES
            assert before[metrics.BINDINGS.name, ()] == 1
            assert {series: before[series] for series in AGES} == dict.fromkeys(AGES, 10.0)
            with postgresql.frozen():
                reading = asyncio.create_task(counts.read(bridge.shared))
                await asyncio.sleep(0)
                # A scrape at this time waits for nothing.
                assert not reading.done()
                assert dict(counts.readings()) == before
                await reading
                clock.now += 10
                assert dict(counts.readings()) == before | dict.fromkeys(AGES, 20.0)
                # Nobody waits for the uploads again. A count of bindings decides nothing.
                assert bridge.shared.uploads.failure() is not None
                assert bridge.shared.bindings.failure() is None
            while dict(counts.readings())[metrics.STORE_AGE.name, ("uploads",)]:
                await counts.read(bridge.shared)

    asyncio.run(asyncio.wait_for(check(), 60))


def test_a_database_that_was_never_read_has_an_age_and_no_numbers(
    bridge: Bridge, postgresql: PostgresqlServer
) -> None:
    clock = Clock()
    counts = StoredCounts(clock)
    assert dict(counts.readings()) == {}

    async def check() -> None:
        async with bridge.running():
            with postgresql.frozen():
                await counts.read(bridge.shared)
            clock.now += 5
            assert dict(counts.readings()) == dict.fromkeys(AGES, 5.0)

    asyncio.run(asyncio.wait_for(check(), 60))
