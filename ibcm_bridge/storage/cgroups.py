"""The cgroups (version 2) of this process, which a container or systemd limits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def own_cgroups(membership: Path = MEMBERSHIP, cgroups: Path = CGROUPS) -> Sequence[Path]:
    """Return the folder of its cgroup, and those that contain it: their limits hold for it too.

    The last one is that of the whole system, which has no limits. Empty without cgroups.
    """
    try:
        lines = membership.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ()
    name = next((line[3:] for line in lines if line.startswith("0::")), None)
    if name is None:
        return ()
    own = cgroups / name.strip("/")
    above = own.relative_to(cgroups).parts
    return [own, *list(own.parents)[: len(above)]]
