"""A bridge is reloaded every 100 ms for a minute, while clients connect, send and download."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the control socket requires Linux", allow_module_level=True)

from ibcm_bridge.addons.run.control_client import reload_bridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.under_load import Bridge, Load

SECONDS = 60.0
PAUSE = 0.1
GROWTH = 1.2
"""The most that the memory of a process grows between two thirds and the end."""


def memory(pid: int) -> int:
    """The resident memory of a process in kB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_every_100_ms_loses_nothing(
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
    credentials: Credentials,
    workers: int,
) -> None:
    with (
        Bridge(tmp_path, pki, site_systems, workers=workers) as bridge,
        Load(bridge, credentials) as load,
    ):
        text, refused = bridge.policy_file.read_text("utf-8"), 0
        ends, pause, taken = time.monotonic() + SECONDS, threading.Event(), 0
        samples: list[tuple[int, int]] = []
        while time.monotonic() < ends:
            # Every tenth policy has a problem.
            bad = taken % 10 == 9 and refused < taken // 10 + 1
            bridge.policy_file.write_text(
                text + ("unknown: 1\n" if bad else f"# {taken}\n"), "utf-8"
            )
            outcome = reload_bridge(bridge.control)
            assert outcome is not None
            assert bool(outcome.problems) is bad, outcome
            refused, taken = refused + bad, taken + (not bad)
            samples.append((memory(bridge.pid), files(bridge.pid)))
            pause.wait(PAUSE)
        load.goes_on()
        assert taken > 10
        assert refused > 0
        late = samples[len(samples) * 2 // 3 :]
        assert max(size for size, _ in late) < late[0][0] * GROWTH
        # Signals that follow each other closely are one reload or more, and lose nothing.
        bridge.policy_file.write_text(text, "utf-8")
        for _ in range(50):
            os.kill(bridge.pid, signal.SIGHUP)
        load.goes_on()
        load.stop()
    assert not bridge.has_said("Traceback")
