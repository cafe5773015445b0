"""How much memory a process takes, from Linux's status of it; None elsewhere."""

from __future__ import annotations

import contextlib
from pathlib import Path


def peak_memory(pid: int) -> int | None:
    """Bytes, at most, since the process began or since `reset_peak`."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    values = dict(line.split(":", 1) for line in status.read_text("ascii").splitlines())
    return int(values["VmHWM"].split()[0]) * 1024


def reset_peak(pid: int) -> int | None:
    """Begin to measure the peak from now on, where Linux lets us; the memory now."""
    with contextlib.suppress(OSError):
        # proc(5): 5 resets the peak to what is resident now.
        Path(f"/proc/{pid}/clear_refs").write_text("5", "ascii")
    return peak_memory(pid)
