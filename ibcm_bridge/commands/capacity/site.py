"""A site of clients, and the loads that it sends: values, without any measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace

RETURN_SECONDS = 300.0
"""The time in which all clients connect again after an outage. Their retries are not
synchronized."""

PATCH_SECONDS = 4 * 3_600.0
"""The working hours in which each client scans for updates on a patch Tuesday."""

PATCH_MESSAGES = 30
"""The requests of that scan, and the state messages of the installation."""

WINDOW_SECONDS = 120.0
"""Simulated of a load that lasts for hours."""

SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Site:
    """The clients on the Internet at the same time, and their rhythm."""

    clients: int
    every: float = 900.0
    """Seconds between two connections of a client."""
    messages: int = 5
    """Messages of a connection."""
    kept: float = 60.0
    """Seconds for which a client keeps its connection after its last message."""

    @property
    def connections_per_second(self) -> float:
        return self.clients / self.every

    @property
    def messages_per_second(self) -> float:
        return self.connections_per_second * self.messages


@dataclass(frozen=True)
class Stream:
    """Connections that arrive at random (Poisson), each with a number of messages."""

    per_second: float
    messages: int
    seconds: float
    """The arrivals end then."""


@dataclass(frozen=True)
class Load:
    """Simulated arrivals."""

    name: str
    text: str
    streams: tuple[Stream, ...]
    storm: bool = False
    """All at the same time: slower responses are accepted."""

    @property
    def seconds(self) -> float:
        return max(stream.seconds for stream in self.streams)

    def of_one_machine(self, machines: int) -> Load:
        """The share of one machine, which a balancer with `leastconn` divides evenly."""
        parts = (
            Stream(stream.per_second / machines, stream.messages, stream.seconds)
            for stream in self.streams
        )
        return replace(self, streams=tuple(parts))


def loads_of(site: Site) -> tuple[Load, ...]:
    """The loads that a site has to carry."""
    usual = Stream(site.connections_per_second, site.messages, WINDOW_SECONDS)
    back = Stream(site.clients / RETURN_SECONDS, site.messages, RETURN_SECONDS)
    patches = Stream(site.clients / PATCH_SECONDS, PATCH_MESSAGES, WINDOW_SECONDS)
    return (
        Load("usual day", "clients connect at random", (usual,)),
        Load(
            "after an outage",
            f"all connect again within {RETURN_SECONDS:.0f} s",
            (back,),
            storm=True,
        ),
        Load(
            "patch Tuesday",
            f"also {PATCH_MESSAGES} messages of each client within {PATCH_SECONDS / 3600:.0f} h",
            (usual, patches),
        ),
    )
