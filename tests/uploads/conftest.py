"""Upload sessions in a separate spool for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.storage.upload_spool import Spool
from ibcm_bridge.storage.upload_table import SpoolLimits
from tests.uploads.fragments import ME

LIMITS = SpoolLimits(
    max_bytes=1_000,
    max_total_bytes=3_000,
    sessions=4,
    per_client_sessions=2,
    per_client_bytes=2_000,
    abandoned_after=100.0,
)


class Clock:
    """A clock in seconds that the tests set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_spool(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Spool]]:
    opened: list[Spool] = []

    def make(limits: SpoolLimits = LIMITS) -> Spool:
        opened.append(Spool(tmp_path / "uploads.sqlite", limits, clock))
        return opened[-1]

    yield make
    for spool in opened:
        spool.close()


@pytest.fixture
def spool(open_spool: Callable[..., Spool]) -> Spool:
    return open_spool()


@pytest.fixture
def begun(spool: Spool) -> Spool:
    assert spool.begin(ME, "{1}") is None
    return spool
