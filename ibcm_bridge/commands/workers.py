"""The number of worker processes that `run` starts."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

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
    return len(os.sched_getaffinity(0)) if _can_share_a_port() else 1


def _can_share_a_port() -> bool:
    """Whether the system divides the connections to one port among several processes.

    SO_REUSEPORT does not on macOS, and does not exist on Windows.
    """
    return sys.platform == "linux"
