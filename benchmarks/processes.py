"""Processor time and memory of a Linux process, its children included."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")

SETTLE_SECONDS = 0.05


def processor_seconds(pid: int) -> float:
    """User and system time of a process, its living descendants and its dead children.

    The resolution is a clock tick, 10 ms, so a measurement should take a second or longer.
    """
    return sum(_own_seconds(member) for member in _family(pid))


def settled_processor_seconds(pid: int) -> float:
    """The same once the process is idle, which includes its work after a response."""
    before = -1.0
    deadline = time.monotonic() + 40 * SETTLE_SECONDS
    while (now := processor_seconds(pid)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(SETTLE_SECONDS)
    return now


def forget_peak_memory(pid: int) -> None:
    """Reset the peak to the current use, if the kernel allows it."""
    for member in _family(pid):
        with contextlib.suppress(OSError):
            Path(f"/proc/{member}/clear_refs").write_text("5", "ascii")


def memory(pid: int) -> tuple[int, int]:
    """Bytes in use (VmRSS) and their peak (VmHWM), of a process and its living descendants."""
    family = _family(pid)
    in_use, peak = (
        sum(_status_kilobytes(member, key) for member in family) for key in ("VmRSS:", "VmHWM:")
    )
    return in_use * 1024, peak * 1024


def children(pid: int) -> list[int]:
    """The living children of a process."""
    return _children().get(pid, [])


def _family(pid: int) -> list[int]:
    """A process and its living descendants."""
    known = _children()
    family = [pid]
    for member in family:
        family += known.get(member, ())
    return family


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
    return found


def _fields(stat: Path) -> list[str]:
    # proc_pid_stat(5), from the third field on. The second is a name that may contain spaces.
    return stat.read_text("utf-8", "replace").rpartition(")")[2].split()


def _own_seconds(pid: int) -> float:
    try:
        # Fields 14 to 17: utime, stime, cutime, cstime.
        return sum(map(int, _fields(Path(f"/proc/{pid}/stat"))[11:15])) / _TICKS
    except OSError:
        return 0.0


def _status_kilobytes(pid: int, key: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    return 0
