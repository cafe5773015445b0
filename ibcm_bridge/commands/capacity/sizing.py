"""The number and the size of machines for a site, from the costs and the simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ibcm_bridge.commands.capacity import costs as stored
from ibcm_bridge.commands.capacity.costs import Costs
from ibcm_bridge.commands.capacity.simulation import PAUSE, Machine, Outcome, simulate
from ibcm_bridge.commands.capacity.site import SECONDS_PER_DAY, Load, Site, loads_of

LIMIT_SECONDS = 0.25
"""The most that 99 % of connections and messages may take on a usual day and a patch Tuesday."""

STORM_SECONDS = 5.0
"""The same after an outage, half of `limits.handshake_seconds`."""

ROOM = 1.25
"""`limits.connections`, as a multiple of the most connections that the loads need."""

LEAST_CONNECTIONS = 1_000
"""The default of `limits.connections`."""

BUFFERED_BYTES = 1 << 28
"""The default of `limits.buffered_bytes`."""

MOST_MACHINES = 256


@dataclass(frozen=True)
class Question:
    """A site, and the machines that it may have."""

    site: Site
    costs: Costs
    cores: int
    """Of a machine; one worker each."""
    connections: int | None = None
    """`limits.connections` of a machine; None: enough for the loads."""
    days: int = 90
    """Days for which the audit is kept."""
    seed: int = 0


@dataclass(frozen=True)
class Tried:
    """A number of machines that run, with the outcome of each load on one of them."""

    machines: int
    connections: int
    """`limits.connections` of each machine."""
    outcomes: tuple[tuple[Load, Outcome], ...]

    @property
    def suffices(self) -> bool:
        """Whether every load is carried: in time, and without a refusal."""
        return all(_carried(load, outcome) for load, outcome in self.outcomes)


@dataclass(frozen=True)
class Size:
    """The needs of a machine. Bytes on disk are those of the whole site."""

    connections: int
    descriptors: int
    memory_bytes: float
    records_per_day: float
    audit_bytes_per_day: float
    audit_bytes_kept: float
    bindings_bytes: float
    spool_bytes: float


def cores_needed(load: Load, costs: Costs) -> float:
    """Cores that a load keeps busy."""
    return sum(
        stream.per_second * (costs.connection_seconds + stream.messages * costs.message_seconds)
        for stream in load.streams
    )


def try_machines(question: Question, machines: int) -> Tried:
    """Simulate each load on one of so many machines."""
    site = question.site
    loads = [load.of_one_machine(machines) for load in loads_of(site)]
    limit = question.connections or _connections(site, loads)
    machine = Machine(question.cores, limit, site.kept)
    outcomes = [(load, simulate(load, machine, question.costs, question.seed)) for load in loads]
    return Tried(machines, limit, tuple(outcomes))


def enough_machines(question: Question) -> list[Tried]:
    """Try more machines until every load is carried. ValueError if no number suffices."""
    tried: list[Tried] = []
    busiest = max(cores_needed(load, question.costs) for load in loads_of(question.site))
    machines = math.ceil(busiest / question.cores)
    while machines <= MOST_MACHINES:
        tried.append(try_machines(question, machines))
        if tried[-1].suffices:
            return tried
        machines += 1
    raise ValueError(
        f"{MOST_MACHINES} machines do not suffice; use more cores, or more connections"
    )


def size_of(question: Question, tried: Tried) -> Size:
    """The needs of each of these machines."""
    site, costs, connections = question.site, question.costs, tried.connections
    processes = costs.process_bytes + (question.cores - 1) * costs.worker_bytes
    buffers = BUFFERED_BYTES + stored.LARGE_UPLOAD_BYTES
    per_day = (site.messages_per_second + site.connections_per_second) * SECONDS_PER_DAY
    audit = per_day * stored.RECORD_BYTES
    return Size(
        connections=connections,
        # One for the client, one for the site system, and some for files.
        descriptors=2 * connections + 64,
        memory_bytes=processes + buffers + connections * costs.client_bytes,
        records_per_day=per_day,
        audit_bytes_per_day=audit,
        audit_bytes_kept=audit * (1 + (question.days - 1) * stored.COMPRESSED),
        bindings_bytes=site.clients * stored.BINDING_BYTES,
        spool_bytes=stored.SPOOL_BYTES,
    )


def _carried(load: Load, outcome: Outcome) -> bool:
    limit = STORM_SECONDS if load.storm else LIMIT_SECONDS
    slowest = max(outcome.connection_p99, outcome.message_p99)
    return slowest <= limit and not outcome.refused


def _connections(site: Site, loads: Sequence[Load]) -> int:
    """The limit for the connections that are open at the same time, with some room."""
    most = max(
        sum(stream.per_second * (site.kept + stream.messages * PAUSE) for stream in load.streams)
        for load in loads
    )
    return max(LEAST_CONNECTIONS, 100 * math.ceil(ROOM * most / 100))
