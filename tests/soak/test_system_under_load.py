"""Two bridges on PostgreSQL behind HAProxy: every part is killed and replaced, again and again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from tests.repository.system_under_load import running_with_postgresql
from tests.repository.two_bridges import NAMES


@pytest.mark.needs("haproxy", "postgresql")
def test_nothing_is_lost_however_often_parts_are_killed(
    tmp_path: Path, pki: LabPki, minutes: float
) -> None:
    ends = time.monotonic() + 60 * minutes
    with running_with_postgresql(tmp_path, pki) as system:
        with system.clients.running():
            while time.monotonic() < ends:
                system.kill_each_in_turn()
                for name in NAMES:
                    system.replace_bridge(name)
        system.check()
