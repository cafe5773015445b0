"""The numbers of one process, and their snapshot, which other processes can read."""

from __future__ import annotations

import bisect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ibcm_bridge.addons.operations.metrics import BOUNDS, METRICS, Metric, Together

type Series = tuple[str, tuple[str, ...]]
"""The name of a metric, and the values of its labels."""

_SUM = len(BOUNDS) + 1
"""The place of the sum in a histogram, after the buckets; the last bucket has no bound."""


_COMBINE: Mapping[Together, Callable[[list[float]], float]] = {
    Together.SUM: sum,
    Together.LARGEST: max,
    Together.SMALLEST: min,
}


class Numbers:
    """Counters and histograms of one process."""

    def __init__(self) -> None:
        self.counters: dict[Series, float] = {}
        self.histograms: dict[Series, list[float]] = {}
        """The number of values in each bucket, and their sum."""

    def count(self, metric: Metric, *labels: str, more: float = 1) -> None:
        """Add to a counter."""
        series = metric.name, labels
        self.counters[series] = self.counters.get(series, 0) + more

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Add a value to a histogram."""
        series = metric.name, labels
        buckets = self.histograms.get(series)
        if buckets is None:
            self.histograms[series] = buckets = [0] * (_SUM + 1)
        buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        buckets[_SUM] += seconds

    def add(self, counters: dict[Series, float], histograms: dict[Series, list[float]]) -> None:
        """Add the numbers of another process."""
        for series, value in counters.items():
            values = [self.counters.get(series, 0), value]
            self.counters[series] = _COMBINE[METRICS[series[0]].together](values)
        for series, more in histograms.items():
            buckets = self.histograms.get(series, [0] * (_SUM + 1))
            self.histograms[series] = [a + b for a, b in zip(buckets, more, strict=True)]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The numbers and the state of a process at one time."""

    at: float
    """`time.monotonic`, which all processes of a machine share on Linux."""
    counters: dict[Series, float] = field(default_factory=dict)
    histograms: dict[Series, list[float]] = field(default_factory=dict)
    gauges: dict[Series, float] = field(default_factory=dict)
    not_ready: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the snapshot as JSON."""
        named = (self.counters, self.histograms, self.gauges)
        parts = [[[*series, value] for series, value in values.items()] for values in named]
        whole = [self.at, *parts, self.not_ready, self.degraded]
        return json.dumps(whole, separators=(",", ":")).encode()


def decode(data: bytes) -> Snapshot:
    """Return the snapshot of `encode`. Raise ValueError or TypeError for anything else."""
    at, counters, histograms, gauges, not_ready, degraded = json.loads(data)
    return Snapshot(
        at,
        _by_series(counters),
        _by_series(histograms),
        _by_series(gauges),
        tuple(not_ready),
        tuple(degraded),
    )


def _by_series[Value](rows: Iterable[tuple[str, list[str], Value]]) -> dict[Series, Value]:
    return {(name, tuple(labels)): value for name, labels, value in rows}


def together(snapshots: Iterable[Snapshot], running_since: float) -> Snapshot:
    """Return one snapshot for several processes.

    Counters of processes that have ended remain. Gauges and problems are those of processes with a
    snapshot since `running_since`.
    """
    numbers, gauges = Numbers(), dict[Series, list[float]]()
    not_ready, degraded = dict[str, None](), dict[str, None]()
    at = running_since
    for snapshot in snapshots:
        numbers.add(snapshot.counters, snapshot.histograms)
        if snapshot.at < running_since:
            continue
        at = max(at, snapshot.at)
        for series, value in snapshot.gauges.items():
            gauges.setdefault(series, []).append(value)
        not_ready |= dict.fromkeys(snapshot.not_ready)
        degraded |= dict.fromkeys(snapshot.degraded)
    combined = {
        series: float(_COMBINE[METRICS[series[0]].together](values))
        for series, values in gauges.items()
    }
    return Snapshot(
        at, numbers.counters, numbers.histograms, combined, tuple(not_ready), tuple(degraded)
    )
