"""The limits of a bridge hold for all of its workers together."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.connections import Capacity
from ibcm_bridge.addons.workers.shared_totals import SharedTotals
from ibcm_bridge.shares import Hold, Shares

# The bridge forks without threads. Here they belong to other tests, and wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def hold(shares: Shares, size: int, holder: str = "client") -> Hold | None:
    """A hold that was admitted, or None."""
    made = Hold(shares, holder, lambda: None)
    return made if made.change(size) else None


def capacities(workers: int, connections: int) -> list[Capacity]:
    totals = SharedTotals(workers)
    return [Capacity(connections, 1_000, totals.of(number)) for number in range(workers)]


def test_the_holds_of_all_workers_count() -> None:
    first, second = (capacity.slots for capacity in capacities(2, 12))
    assert all(hold(first, 1) for _ in range(6))
    assert all(hold(second, 1) for _ in range(6))
    assert hold(first, 1) is None
    assert hold(second, 1) is None


def test_a_released_hold_leaves_room_at_the_other_worker() -> None:
    first, second = (capacity.slots for capacity in capacities(2, 12))
    holds = [hold(first, 1) for _ in range(9)]
    assert [bool(hold(second, 1)) for _ in range(4)] == [True, True, True, False]
    assert holds[0] is not None
    holds[0].end()
    assert hold(second, 1)


def test_one_worker_can_use_everything_except_the_part_of_the_others() -> None:
    first, second = (capacity.slots for capacity in capacities(2, 12))
    assert [bool(hold(first, 1)) for _ in range(10)] == [True] * 9 + [False]
    assert [bool(hold(second, 1)) for _ in range(4)] == [True] * 3 + [False]
    assert first.held + second.held == 12


def test_workers_that_count_at_the_same_moment_exceed_the_limit_by_one_addition_each() -> None:
    workers = [capacity.slots for capacity in capacities(3, 12)]
    for slots in workers:
        assert all(hold(slots, 1) for _ in range(3))
    assert all(hold(workers[0], 1) for _ in range(2))
    # All look before any of them adds: there is room for one more.
    assert all(slots.make_room("client", 1) for slots in workers)
    for slots in workers:
        slots.add(Hold(slots, "client", lambda: None), "client", 1)
    assert sum(slots.held for slots in workers) == 12 + 2
    assert not any(slots.make_room("client", 1) for slots in workers)


def test_the_hold_of_another_process_counts_until_its_end() -> None:
    totals = SharedTotals(2)
    here = Capacity(8, 1_000, totals.of(0)).slots
    pid = os.fork()
    if pid == 0:
        there = Capacity(8, 1_000, totals.of(1)).slots
        os._exit(0 if hold(there, 6) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert hold(here, 3) is None
    totals.clear(1)
    assert hold(here, 3)


def test_each_limit_has_its_own_total() -> None:
    first, second = capacities(2, 12)
    for shares in (first.slots, first.handshakes, first.memory, first.anonymous_memory):
        before = [part.held for part in (second.slots, second.handshakes, second.memory)]
        assert hold(shares, 1)
        assert [part.held for part in (second.slots, second.handshakes, second.memory)] == before
    assert hold(second.slots, 8)
    assert hold(second.slots, 1), "only the other's slot counts"
    assert hold(second.memory, 700)
    assert hold(second.memory, 60) is None, "250 are reserved for the other"


def test_an_anonymous_client_counts_for_both_of_its_limits_in_all_workers() -> None:
    first, second = capacities(2, 12)
    assert hold(first.anonymous_memory, 100)
    assert hold(second.anonymous_memory, 200) is None
    assert hold(second.anonymous_memory, 150)
    assert hold(second.memory, 500)
    assert hold(second.memory, 101) is None
