"""The memory, files and latency of a bridge with all its processes, over time."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split())]
    return []


@dataclass(frozen=True)
class Sample:
    """One measurement."""

    seconds: float
    rss: int
    """Bytes of resident memory of the parent and its workers. Those that inspect come and go."""
    processes: int
    descriptors: int
    files: int
    """In the folder of the bridge and in its temporary folder."""
    latency: float
    """Of one request on a new connection, in seconds."""
    direct: float
    """The same without the bridge: the machine may be busy with something else."""


def measure(
    seconds: float, pid: int, folders: Sequence[Path], latency: float, direct: float
) -> Sample:
    lasting = [pid, *children(pid)]
    processes = lasting + [child for worker in lasting[1:] for child in children(worker)]
    rss = descriptors = 0
    for process in lasting:
        rss += int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * PAGE
        descriptors += sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())
    files = sum(len(names) for folder in folders for _, _, names in os.walk(folder))
    return Sample(seconds, rss, len(processes), descriptors, files, latency, direct)


@dataclass(frozen=True)
class Growth:
    """A value early and late in a run. It may grow by a share and by an amount."""

    name: str
    value: Callable[[Sample], float]
    share: float
    amount: float

    def problem(self, early: Sequence[Sample], late: Sequence[Sample]) -> str | None:
        before, after = (_floor([*map(self.value, part)]) for part in (early, late))
        limit = before * (1 + self.share) + self.amount
        return None if after <= limit else f"{self.name}: {before:g} early, {after:g} late"


def _floor(values: Sequence[float]) -> float:
    """The lower quartile: requests and other load come and go, a leak stays."""
    return statistics.quantiles(values, n=4)[0] if len(values) > 1 else values[0]


LIMITS = (
    Growth("resident memory, MB", lambda sample: sample.rss / 1e6, 0.03, 8),
    Growth("processes", lambda sample: sample.processes, 0, 2),
    Growth("file descriptors", lambda sample: sample.descriptors, 0, 12),
    Growth("files", lambda sample: sample.files, 0, 2),
    Growth(
        "latency beside a direct request", lambda sample: sample.latency / sample.direct, 0.5, 1
    ),
)


def problems(samples: Sequence[Sample], seconds: float) -> list[str]:
    """Return each value that has grown from the second quarter of a run to the last one."""

    def part(begin: float, end: float) -> list[Sample]:
        return [each for each in samples if begin * seconds <= each.seconds < end * seconds]

    early, late = part(0.25, 0.5), part(0.75, 1.01)
    return [text for growth in LIMITS if (text := growth.problem(early, late))]


def table(samples: Sequence[Sample], rows: int = 12) -> str:
    """Some of the samples, for people."""
    lines = ["   time      RSS  processes  descriptors  files  latency   direct"]
    step = max(1, len(samples) // rows)
    for sample in samples[::step]:
        lines.append(
            f"{sample.seconds:6.0f} s  {sample.rss / 1e6:5.0f} MB  {sample.processes:9}"
            f"  {sample.descriptors:11}  {sample.files:5}"
            f"  {sample.latency * 1e3:5.1f} ms {sample.direct * 1e3:5.1f} ms"
        )
    return "\n".join(lines)
