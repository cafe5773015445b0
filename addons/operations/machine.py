"""The file descriptors in use and the available memory."""

from __future__ import annotations

import os
from pathlib import Path

from ibcm_bridge.os_errors import is_about_open_files
from ibcm_bridge.storage.cgroups import own_cgroups

SPARE_FILES = 32
"""With fewer free descriptors the bridge takes no further connections."""

SPARE_MEMORY = 67_108_864
"""Bytes. A message at the limit needs about half when it is inspected."""

_MEMORY = Path("/proc/meminfo")
_OPEN_FILES = Path("/proc/self/fd")


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


def open_files() -> int | None:
    """Return the number of descriptors in use on Linux; None if that is unknown.

    With many it takes milliseconds.
    """
    try:
        return len(list(_OPEN_FILES.iterdir())) - 1  # without that of the folder
    except OSError:
        return None


def available_memory() -> int | None:
    """Return the bytes that this process can still use on Linux; None if that is unknown."""
    found = [_of_machine(), *map(_of_group, own_cgroups())]
    return min((size for size in found if size is not None), default=None)


def _of_machine() -> int | None:
    for line in _lines(_MEMORY):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1_024
    return None


def _of_group(group: Path) -> int | None:
    """Return the rest of the limit of a cgroup, such as MemoryMax= of a service."""
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
