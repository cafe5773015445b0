"""Bridges with worker processes, for tests of these."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.reading import until

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
SOON = 30.0
MANY = 24
"""So many connections that each worker gets some. The probability that one gets none is 2 to the
power of -23."""


class Workers(RunningBridge):
    """A bridge with two workers."""

    def __init__(self, directory: Path, pki: LabPki, site: SiteSystems, **settings: Any) -> None:
        policy = yaml.safe_load(shipped_policy()) | {"workers": 2} | settings
        super().__init__(directory, pki, site, policy=yaml.safe_dump(policy))
        self.pki = pki

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return children(self.pid)

    def client(self, credential: LabCredential, name: str = BRIDGED) -> LabClient:
        return LabClient(
            self.address, name, trust=self.pki.root, credential=credential, timeout=SOON
        )

    def kill_a_worker(self) -> int:
        """Kill a worker, and wait until it has a successor."""
        killed = random.choice(self.workers)
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in self.workers and len(self.workers) == 2, "a successor", SOON)
        return killed


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(number) for number in found.split()]


def sockets(pid: int) -> int:
    """The number of sockets that a process has open."""
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += str(file.readlink()).startswith("socket:")
    return count


def runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()


@pytest.fixture
def own(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[Callable[..., Workers]]:
    """Starts a bridge for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            Workers(tmp_path, pki, site_systems, **settings)
        )
