"""The number of worker processes that `run` starts."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ibcm_bridge.storage.cgroups import own_cgroups

if TYPE_CHECKING:
    from ibcm_bridge.policy.policy import Policy


def worker_count(policy: Policy, *, web: bool = False) -> int:
    """The number of the policy; else one with the web page, and one per core without it."""
    if policy.workers is not None:
        return policy.workers
    return 1 if web else _cores()


def workers_refusal(policy: Policy, *, web: bool = False) -> str | None:
    """Why `run` refuses the policy's number of workers, for the operator; None if it does not."""
    if policy.workers is None or policy.workers == 1:
        return None
    if not _can_share_a_port():
        return f"workers: {policy.workers} requires Linux; write 1, or omit the key"
    if web:
        return (
            f"--web shows the traffic of one process, but the policy has workers: {policy.workers}"
            "; write 1, or omit the key"
        )
    return None


def _cores() -> int:
    """The cores that this process may use on Linux; 1 on other systems."""
    if not _can_share_a_port():
        return 1
    # A container and systemd's CPUQuota= set a limit.
    return min([len(os.sched_getaffinity(0)), *map(_cpu_limit, own_cgroups())])


def _cpu_limit(cgroup: Path) -> int:
    """Return the limit of CPU time (`cpu.max`), in cores and rounded up."""
    try:
        quota, period = (cgroup / "cpu.max").read_text("ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # no file, or "max"
        return sys.maxsize


def _can_share_a_port() -> bool:
    """Whether the system divides the connections to one port among several processes.

    SO_REUSEPORT does not on macOS, and does not exist on Windows.
    """
    return sys.platform == "linux"
