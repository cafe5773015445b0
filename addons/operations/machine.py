"""The free file descriptors and the available memory."""

from __future__ import annotations

import os
from pathlib import Path

from ibcm_bridge.os_errors import is_about_open_files

SPARE_FILES = 32
"""With fewer free descriptors the bridge takes no further connections."""

SPARE_MEMORY = 67_108_864
"""Bytes. A message at the limit needs about half when it is inspected."""

_MEMORY = Path("/proc/meminfo")
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def out_of_files(limit: int | None) -> str | None:
    """Return a problem if nearly all descriptors are in use. `limit` is that of the process."""
    try:
        # The system uses the lowest free number.
        number = os.open(os.devnull, os.O_RDONLY)
    except OSError as error:
        return "no more files can be opened" if is_about_open_files(error) else None
    os.close(number)
    if limit is None or number < limit - SPARE_FILES:
        return None
    return f"nearly all of {limit} file descriptors are in use"


def available_memory() -> int | None:
    """Return the bytes that this process can still use on Linux; None if that is unknown."""
    found = [_of_machine(), _of_group()]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    for line in _lines(_MEMORY):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1_024
    return None


def _of_group() -> int | None:
    """Return the rest of the limit of the cgroup (v2), such as MemoryMax= of a service."""
    own = next((line[3:] for line in _lines(_OWN_GROUP) if line.startswith("0::")), None)
    if own is None:
        return None
    group = _GROUPS / own.lstrip("/")
    limits, used = _lines(group / "memory.max"), _lines(group / "memory.current")
    if not limits or not used or not limits[0].isdecimal():
        return None
    # The system can drop these pages of files at any time.
    cached = (line for line in _lines(group / "memory.stat") if line.startswith("inactive_file "))
    return int(limits[0]) - int(used[0]) + int(next(cached, "inactive_file 0").split()[1])


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
