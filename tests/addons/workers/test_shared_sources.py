"""The limits of one source hold for all workers of a bridge together."""

from __future__ import annotations

import os
import sys
from ipaddress import ip_network

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.workers.shared_sources import SharedSources
from ibcm_bridge.decisions import rules
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.sources import MINUTE, Sources

# The bridge forks without threads. Here they belong to other tests, and wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

SOURCE, OTHER = "192.0.2.1", "192.0.2.2"
CONNECTIONS = PerSource(connections=4)
HANDSHAKES = PerSource(handshakes_per_minute=4)


def workers(count: int = 3) -> tuple[SharedSources, list[Sources]]:
    shared = SharedSources(count)
    return shared, [Sources(shared.of(number)) for number in range(count)]


def admitted(sources: Sources, limits: PerSource, host: str = SOURCE, now: float = 100.0) -> bool:
    return sources.enter(host, limits, now) is None


def test_the_connections_of_all_workers_count() -> None:
    _, (first, second, third) = workers()
    assert [admitted(first, CONNECTIONS) for _ in range(2)] == [True] * 2
    assert [admitted(second, CONNECTIONS) for _ in range(3)] == [True, True, False]
    refusal = third.enter(SOURCE, CONNECTIONS, 100.0)
    assert refusal is not None
    assert refusal.rule == rules.LIMITS_PER_SOURCE_CONNECTIONS
    assert admitted(third, CONNECTIONS, OTHER), "another source has its own limit"
    first.leave(SOURCE)
    assert [admitted(third, CONNECTIONS) for _ in range(2)] == [True, False]


def test_one_worker_alone_may_have_them_all() -> None:
    _, (first, *_) = workers()
    assert [admitted(first, CONNECTIONS) for _ in range(5)] == [True] * 4 + [False]


def test_the_handshakes_of_all_workers_count() -> None:
    _, (first, second, third) = workers()
    found = [admitted(sources, HANDSHAKES) for sources in (first, second, third, first, second)]
    assert found == [True] * 4 + [False]
    assert admitted(third, HANDSHAKES, OTHER)
    later = 100.0 + MINUTE / 4
    assert [admitted(third, HANDSHAKES, now=later) for _ in range(2)] == [True, False]
    assert [admitted(first, HANDSHAKES, now=later + MINUTE) for _ in range(5)] == [True] * 4 + [
        False
    ]


def test_an_exception_counts_for_nobody_else() -> None:
    _, (first, second, _) = workers()
    free = PerSource(1, 1, {ip_network(SOURCE): "a branch"})
    assert all(admitted(first, free) for _ in range(10))
    assert all(admitted(second, free) for _ in range(10))
    assert admitted(second, free, OTHER)
    assert not admitted(first, free, OTHER)


def test_the_connections_of_a_worker_that_has_ended_do_not_count() -> None:
    shared, (first, second, _) = workers()
    assert all(admitted(first, CONNECTIONS) for _ in range(4))
    assert not admitted(second, CONNECTIONS)
    shared.clear(0)
    assert all(admitted(second, CONNECTIONS) for _ in range(4))


def test_a_process_sees_the_connections_of_another() -> None:
    shared, (first, *_) = workers()
    child = os.fork()
    if not child:
        try:
            entered = [admitted(Sources(shared.of(1)), CONNECTIONS) for _ in range(3)]
            os._exit(0 if all(entered) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert [admitted(first, CONNECTIONS) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("host", ["2001:db8::", "10.0."])
def test_many_sources_do_not_use_up_the_limit_of_one(host: str) -> None:
    _, (first, second, _) = workers()
    names = (
        [f"2001:db8:{number:x}::1" for number in range(5_000)]
        if ":" in host
        else [f"10.{number >> 8}.{number & 255}.1" for number in range(5_000)]
    )
    for name in names:
        for _ in range(3):
            assert first.enter(name, PerSource(), 100.0) is None
    refused = [name for name in names if not admitted(second, CONNECTIONS, name)]
    # Expected: one in 30,000. A source that shares all places is refused with one connection.
    assert len(refused) <= 5
