"""A worker hangs if its event loop has not turned for a while."""

from __future__ import annotations

import asyncio

import pytest

from ibcm_bridge.addons.workers import heartbeats
from ibcm_bridge.addons.workers.heartbeats import HUNG_SECONDS, Heartbeats


def test_a_loop_that_does_not_turn_hangs_until_it_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "BEAT_SECONDS", 0.0)
    now = 1_000.0
    times = Heartbeats(2, lambda: now)

    async def work() -> None:
        nonlocal now
        times.begin(1)
        now += HUNG_SECONDS
        assert not times.hangs(1)
        now += 1
        assert times.hangs(1)
        for _ in range(3):
            await asyncio.sleep(0)
        assert not times.hangs(1)

    asyncio.run(work())
    now += HUNG_SECONDS + 1
    assert times.hangs(1), "without its loop nothing notes the time"


def test_a_worker_does_not_note_the_time_of_another() -> None:
    times = Heartbeats(2, lambda: 1_000.0)

    async def begin() -> None:
        times.begin(1)

    asyncio.run(begin())
    assert times.hangs(0)
    assert not times.hangs(1)
