"""The text that Prometheus reads."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ibcm_bridge.addons.operations.metrics import BOUNDS, METRICS, Kind, Metric
from ibcm_bridge.addons.operations.numbers import Snapshot

_BOUNDS = [*map(floatToGoString, BOUNDS), "+Inf"]


def exposition(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Return the metrics and their media type, in the format that `accept` prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(snapshot))
    encode, media_type = choose_encoder(accept)
    return encode(registry), media_type


class _Collector(Collector):
    """The families of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        """Yield each metric of the table, also without values."""
        values = _by_name(self._snapshot.counters | self._snapshot.gauges)
        histograms = _by_name(self._snapshot.histograms)
        for metric in METRICS.values():
            if metric.kind is Kind.HISTOGRAM:
                yield _histogram(metric, histograms[metric.name])
            else:
                yield _simple(metric, values[metric.name])


def _by_name[Value](
    values: dict[tuple[str, tuple[str, ...]], Value],
) -> defaultdict[str, list[tuple[tuple[str, ...], Value]]]:
    named = defaultdict[str, list[tuple[tuple[str, ...], Value]]](list)
    for (name, labels), value in sorted(values.items(), key=lambda item: item[0]):
        named[name].append((labels, value))
    return named


def _simple(metric: Metric, values: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: Iterable[tuple[tuple[str, ...], list[float]]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, (*buckets, total) in values:
        cumulative = itertools.accumulate(buckets)
        family.add_metric(labels, list(zip(_BOUNDS, cumulative, strict=True)), total)
    return family
