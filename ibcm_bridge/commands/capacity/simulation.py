"""A simulation of one machine: connections, their messages, and a queue for each worker.

A worker handles one event after the other, in the order of arrival, as an event loop does. The
kernel gives each connection to a worker at random. The time of a message or connection is that of
its CPU and of the queue before it: without the network, and without the site system.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from ibcm_bridge.commands.capacity.costs import Costs
from ibcm_bridge.commands.capacity.site import Load

HANDSHAKE_SECONDS = 10.0
"""`limits.handshake_seconds`."""

PAUSE = 0.1
"""Seconds between a response and the next message of the same client."""

RETRY = (60.0, 120.0)
"""A refused client connects again after a random time between these."""

RETRY_SECONDS = 300.0
"""Simulated after the arrivals, for clients that were refused."""

VARIATION = 0.25
"""Standard deviation of the CPU time of a message or connection, as a part of it."""


@dataclass(frozen=True)
class Machine:
    """A machine and the limits of its policy."""

    cores: int
    connections: int
    kept: float
    """Seconds for which a client keeps a connection."""


@dataclass(frozen=True)
class Outcome:
    """The result of a load on one machine. Times in seconds."""

    connections: int
    """Connections that arrived, without retries."""
    messages: int
    refused: int
    """Connections that found no room, or waited too long in their handshake; retries included."""
    never_served: int
    """Clients that were still refused at the end of the simulation."""
    connection_mean: float
    connection_p99: float
    message_p99: float
    busy: float
    """CPU time of the machine while clients arrived, as a part of its cores."""
    most_connections: int

    @property
    def refused_part(self) -> float:
        """Refused connections, as a part of all."""
        attempts = self.connections + self.refused - self.never_served
        return self.refused / attempts if attempts else 0.0


class _Event(Enum):
    ARRIVAL = auto()
    HANDSHAKEN = auto()
    MESSAGE = auto()
    CLOSE = auto()


@dataclass(slots=True)
class _Connection:
    messages: int
    worker: int = 0
    refused: bool = False


@dataclass
class _Run:
    machine: Machine
    costs: Costs
    random: random.Random
    free_at: list[float]
    """When each worker has done everything that has arrived."""
    events: list[tuple[float, int, _Event, _Connection]] = field(default_factory=list)
    number: int = 0
    open: int = 0
    handshakes: int = 0
    most: int = 0
    refused: int = 0
    never: int = 0
    worked: float = 0.0
    connecting: list[float] = field(default_factory=list)
    responding: list[float] = field(default_factory=list)

    def at(self, when: float, event: _Event, connection: _Connection) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, event, connection))

    def work(self, now: float, worker: int, seconds: float, arrivals_end: float) -> float:
        """Queue work at a worker; return when it is done."""
        seconds *= max(0.2, self.random.gauss(1.0, VARIATION))
        begin = max(now, self.free_at[worker])
        self.free_at[worker] = begin + seconds
        if begin < arrivals_end:
            self.worked += min(seconds, arrivals_end - begin)
        return begin + seconds


def simulate(load: Load, machine: Machine, costs: Costs, seed: int = 0) -> Outcome:
    """Simulate the load of one machine to the end of its last connection."""
    source = random.Random(seed)  # noqa: S311
    run = _Run(machine, costs, source, [0.0] * machine.cores)
    arrived = 0
    for when, messages in _arrivals(load, source):
        run.at(when, _Event.ARRIVAL, _Connection(messages))
        arrived += 1
    ends = load.seconds
    while run.events:
        now, _, event, connection = heapq.heappop(run.events)
        _STEPS[event](run, now, connection, ends)
    return Outcome(
        connections=arrived,
        messages=len(run.responding),
        refused=run.refused,
        never_served=run.never,
        connection_mean=statistics.fmean(run.connecting) if run.connecting else 0.0,
        connection_p99=_p99(run.connecting),
        message_p99=_p99(run.responding),
        busy=run.worked / (ends * machine.cores),
        most_connections=run.most,
    )


def _arrivals(load: Load, source: random.Random) -> Iterator[tuple[float, int]]:
    for stream in load.streams:
        when = source.expovariate(stream.per_second)
        while when < stream.seconds:
            yield when, stream.messages
            when += source.expovariate(stream.per_second)


def _arrive(run: _Run, now: float, connection: _Connection, ends: float) -> None:
    machine = run.machine
    worker = run.random.randrange(machine.cores)
    # The bridge closes a connection that finds no room; at most half may be in their handshake.
    full = run.open >= machine.connections or run.handshakes >= machine.connections / 2
    is_late = run.free_at[worker] - now > HANDSHAKE_SECONDS
    if full or is_late:
        run.refused += 1
        again = now + HANDSHAKE_SECONDS * is_late + run.random.uniform(*RETRY)
        if again < ends + RETRY_SECONDS:
            run.at(again, _Event.ARRIVAL, connection)
        else:
            run.never += 1
        return
    connection.worker = worker
    run.open += 1
    run.handshakes += 1
    run.most = max(run.most, run.open)
    done = run.work(now, worker, run.costs.connection_seconds, ends)
    run.connecting.append(done - now)
    run.at(done, _Event.HANDSHAKEN, connection)


def _handshaken(run: _Run, now: float, connection: _Connection, ends: float) -> None:
    run.handshakes -= 1
    _next(run, now, connection)


def _message(run: _Run, now: float, connection: _Connection, ends: float) -> None:
    done = run.work(now, connection.worker, run.costs.message_seconds, ends)
    run.responding.append(done - now)
    _next(run, done, connection)


def _close(run: _Run, now: float, connection: _Connection, ends: float) -> None:
    run.open -= 1


def _next(run: _Run, now: float, connection: _Connection) -> None:
    """The next message of a connection, or its end."""
    if connection.messages:
        connection.messages -= 1
        run.at(now + PAUSE, _Event.MESSAGE, connection)
    else:
        run.at(now + run.machine.kept, _Event.CLOSE, connection)


_STEPS = {
    _Event.ARRIVAL: _arrive,
    _Event.HANDSHAKEN: _handshaken,
    _Event.MESSAGE: _message,
    _Event.CLOSE: _close,
}


def _p99(values: list[float]) -> float:
    """0 without a value."""
    return sorted(values)[int(0.99 * len(values))] if values else 0.0
