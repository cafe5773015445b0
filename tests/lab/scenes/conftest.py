"""A lab for scenes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from ibcm_bridge.lab.simulated.running_lab import RunningLab


@pytest.fixture(scope="module")
def perimeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Perimeter]:
    with Perimeter(tmp_path_factory.mktemp("lab")) as perimeter:
        yield perimeter


@pytest.fixture(scope="module")
def lab(perimeter: Perimeter) -> RunningLab:
    """The lab as another process reads it."""
    state = RunningLab.of(perimeter).state(perimeter.directory)
    return RunningLab.read(json.loads(json.dumps(state)), perimeter.directory)
