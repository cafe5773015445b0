from __future__ import annotations

import math
from dataclasses import replace

import pytest

from ibcm_bridge.commands.capacity.costs import Costs
from ibcm_bridge.commands.capacity.simulation import HANDSHAKE_SECONDS, Machine, simulate
from ibcm_bridge.commands.capacity.site import Load, Site, Stream, loads_of

COSTS = Costs(
    message_seconds=0.002,
    connection_seconds=0.01,
    client_bytes=100_000.0,
    process_bytes=1e8,
    worker_bytes=1e8,
    processors="2",
    python="3.13",
    mitmproxy="12.3",
)
MACHINE = Machine(cores=4, connections=100_000, kept=60.0)


def load(per_second: float, messages: int = 5, seconds: float = 100.0) -> Load:
    return Load("a load", "", (Stream(per_second, messages, seconds),))


def test_an_idle_machine_takes_only_the_time_of_its_processor() -> None:
    outcome = simulate(load(0.1), MACHINE, COSTS)
    assert outcome.messages == 5 * outcome.connections > 0
    assert 0.01 < outcome.connection_p99 < 0.02
    assert 0.002 < outcome.message_p99 < 0.004
    assert outcome.refused == outcome.never_served == 0


@pytest.mark.parametrize("per_second", [20.0, 100.0, 180.0])
def test_the_busy_part_is_the_work_divided_by_the_cores(per_second: float) -> None:
    outcome = simulate(load(per_second), MACHINE, COSTS)
    work = outcome.connections * (0.01 + 5 * 0.002)
    assert outcome.busy == pytest.approx(work / (100 * 4), rel=0.03)


def test_one_core_waits_as_the_theory_of_queues_says() -> None:
    """Pollaczek-Khinchine: the mean wait of M/G/1, here with connections only."""
    costs = replace(COSTS, connection_seconds=0.01)
    machine = replace(MACHINE, cores=1)
    means = []
    for seed in range(5):
        outcome = simulate(load(70.0, messages=0, seconds=300.0), machine, costs, seed)
        means.append(outcome.connection_mean)
    part = 0.7
    wait = part * 0.01 * (1 + 0.25**2) / (2 * (1 - part))
    assert sum(means) / len(means) == pytest.approx(0.01 + wait, rel=0.05)


def test_more_work_than_cores_makes_clients_wait_and_refuses_the_late_ones() -> None:
    outcome = simulate(load(400.0), MACHINE, COSTS)
    assert outcome.busy > 0.99
    assert outcome.refused > 0
    assert HANDSHAKE_SECONDS / 2 < outcome.connection_p99 < 2 * HANDSHAKE_SECONDS


def test_connections_over_the_limit_are_refused_and_come_again() -> None:
    # 20 per second, each open for more than 60 seconds.
    enough = simulate(load(20.0), MACHINE, COSTS)
    assert enough.most_connections > 1_000
    assert enough.refused == 0
    limited = simulate(load(20.0), replace(MACHINE, connections=1_000), COSTS)
    assert limited.most_connections == 1_000
    assert limited.refused > 0
    assert limited.never_served == 0
    assert limited.messages == enough.messages
    assert 0 < limited.refused_part < 1


def test_half_of_the_connections_may_be_in_their_handshake() -> None:
    slow = replace(COSTS, connection_seconds=1.0)
    machine = Machine(cores=1, connections=8, kept=0.0)
    crowded = simulate(load(2.0, messages=0), machine, slow)
    assert crowded.most_connections == 4
    assert crowded.refused > 0


def test_the_same_seed_gives_the_same_result() -> None:
    assert simulate(load(50.0), MACHINE, COSTS, 3) == simulate(load(50.0), MACHINE, COSTS, 3)
    assert simulate(load(50.0), MACHINE, COSTS, 3) != simulate(load(50.0), MACHINE, COSTS, 4)


def test_the_loads_of_a_site() -> None:
    site = Site(175_000)
    usual, outage, patches = loads_of(site)
    assert site.connections_per_second == pytest.approx(194, abs=1)
    assert site.messages_per_second == pytest.approx(972, abs=1)
    assert sum(stream.per_second * stream.seconds for stream in outage.streams) == 175_000
    assert outage.storm
    assert sum(stream.per_second for stream in patches.streams) > site.connections_per_second
    (share,) = usual.of_one_machine(4).streams
    assert share.per_second == pytest.approx(194.4 / 4, abs=0.1)
    assert math.isclose(share.seconds, usual.seconds)
