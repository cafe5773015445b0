"""A bridge is reloaded every 100 ms for a minute, while clients connect, send and download."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the control socket requires Linux", allow_module_level=True)

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.under_load import SOON, Bridge, Load

SECONDS = 60.0
PAUSE = 0.1
SIGNALS = round(SECONDS / PAUSE)
GROWTH = 1.2
"""The most that the memory of a process grows between two thirds and the end."""


def memory(pid: int) -> int:
    """The resident memory of a process in kB."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def change(bridge: Bridge, text: str) -> str:
    """Replace the policy in one step, and return its digest."""
    new = bridge.policy_file.with_name("new.yaml")
    new.write_text(text, "utf-8")
    new.replace(bridge.policy_file)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        text, begin = bridge.policy_file.read_text("utf-8"), time.monotonic()
        samples: list[tuple[int, int]] = []
        for number in range(SIGNALS):
            # Every tenth policy has a problem.
            bad = number % 10 == 9
            change(bridge, text + ("unknown: 1\n" if bad else f"# {number}\n"))
            os.kill(bridge.pid, signal.SIGHUP)
            samples.append((memory(bridge.pid), files(bridge.pid)))
            time.sleep(max(0.0, begin + (number + 1) * PAUSE - time.monotonic()))
        late = time.monotonic() - begin - SIGNALS * PAUSE
        assert late < SECONDS / 10, "the signals were not sent every 100 ms"
        load.goes_on()
        # Signals that follow each other closely are one reload or more. The last one counts.
        in_use = f"reload done; the policy in use is {change(bridge, text)}"
        for _ in range(50):
            os.kill(bridge.pid, signal.SIGHUP)
        until(lambda: bridge.has_said(in_use), "the last policy", SOON)
        load.goes_on()
        load.stop()
    taken, refused = (
        sum(f"reload {outcome}" in line for line in bridge.lines) for outcome in ("done", "refused")
    )
    # More than one reload every 2 s, also on a busy machine.
    assert taken > SECONDS / 2, (taken, refused)
    assert refused > 0
    last_third = [size for size, _ in samples[len(samples) * 2 // 3 :]]
    assert max(last_third) < last_third[0] * GROWTH
    opened = [count for _, count in samples]
    assert max(opened) < 2 * opened[0]
    assert not bridge.has_said("Traceback")
