"""Snapshots of several processes become one."""

from __future__ import annotations

import pytest

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.numbers import Numbers, Snapshot, decode, together

CONNECTIONS = metrics.CONNECTIONS.name, ("established",)
LIMIT = metrics.CONNECTIONS_LIMIT.name, ()
RELOADS = metrics.RELOADS.name, ("accepted",)
ENDS = metrics.CERTIFICATE_END.name, ("bridge.internet.example", "clients")


def numbers(count: int) -> Numbers:
    made = Numbers()
    made.count(metrics.TUNNELS, "a", "allow", "", more=count)
    for _ in range(count):
        made.observe(metrics.REQUEST_SECONDS, 0.002, "a", "b")
    return made


def snapshot(at: float, count: int, **more: tuple[str, ...]) -> Snapshot:
    made = numbers(count)
    gauges = {CONNECTIONS: float(count), LIMIT: 1_000.0, ENDS: float(-count)}
    return Snapshot(at, made.counters, made.histograms, gauges, **more)


def test_a_snapshot_is_read_as_it_was_written() -> None:
    written = snapshot(12.5, 3, not_ready=("a",), degraded=("b", "ä"))
    assert decode(written.encode()) == written


@pytest.mark.parametrize("data", [b"", b"{}", b"[1,2]", b"\xff"])
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError)):
        decode(data)


def test_counters_add_up_and_gauges_combine_as_their_metric_says() -> None:
    one = together([snapshot(10, 2), snapshot(11, 3)], 5)
    assert one.counters == numbers(5).counters
    assert one.histograms.keys() == numbers(5).histograms.keys()
    (buckets,) = one.histograms.values()
    assert buckets[:-1] == [0, 5] + [0] * (len(metrics.BOUNDS) - 1)
    assert buckets[-1] == pytest.approx(0.01)
    assert one.gauges == {CONNECTIONS: 5, LIMIT: 1_000, ENDS: -3}


def test_an_event_that_every_process_counts_is_counted_once() -> None:
    # The first process has ended, and another saw one event less.
    counts = [Snapshot(at, {RELOADS: count}) for at, count in ((1.0, 3.0), (10.0, 2.0))]
    assert together(counts, 5).counters == {RELOADS: 3}


def test_of_an_ended_process_only_the_counters_remain() -> None:
    ended = snapshot(4, 2, not_ready=("its problem",), degraded=("another",))
    one = together([ended, snapshot(11, 3)], 5)
    assert one.counters == numbers(5).counters
    assert one.gauges[CONNECTIONS] == 3
    assert (one.not_ready, one.degraded) == ((), ())


def test_a_problem_of_all_is_named_once() -> None:
    both = [snapshot(10, 1, not_ready=("full",)), snapshot(10, 1, not_ready=("full", "gone"))]
    assert together(both, 5).not_ready == ("full", "gone")


def test_the_snapshots_do_not_change() -> None:
    first, second = snapshot(10, 2), snapshot(11, 3)
    together([first, second], 5)
    assert (first, second) == (snapshot(10, 2), snapshot(11, 3))
