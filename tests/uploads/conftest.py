"""Upload sessions in a separate spool for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.storage.postgresql_stores import SharedUploads
from ibcm_bridge.storage.upload_spool import Spool
from ibcm_bridge.storage.upload_table import SpoolLimits, UploadTable
from tests.uploads.fragments import ME

LIMITS = SpoolLimits(
    max_bytes=1_000,
    max_total_bytes=3_000,
    sessions=4,
    per_client_sessions=2,
    per_client_bytes=2_000,
    abandoned_after=100.0,
)


FILE_ONLY = pytest.mark.parametrize("open_spool", ["sqlite"], indirect=True)
"""The test is about a file."""


class Clock:
    """A clock in seconds that the tests set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
)
def open_spool(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock
) -> Iterator[Callable[..., UploadTable]]:
    """Open the same sessions again each time."""
    opened: list[UploadTable] = []
    state = None
    if request.param == "postgresql":
        state = request.getfixturevalue("postgresql").new_database()

    def make(limits: SpoolLimits = LIMITS) -> UploadTable:
        if state is not None:
            opened.append(SharedUploads(state, limits, clock))
        else:
            opened.append(Spool(tmp_path / "uploads.sqlite", limits, clock))
        return opened[-1]

    yield make
    for spool in opened:
        spool.close()


@pytest.fixture
def spool(open_spool: Callable[..., UploadTable]) -> UploadTable:
    return open_spool()


@pytest.fixture
def begun(spool: UploadTable) -> UploadTable:
    assert spool.begin(ME, "{1}") is None
    return spool
