"""Gauges: what connections, limits, files and certificates are at one time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from enum import StrEnum

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.machine import open_files
from ibcm_bridge.addons.operations.metrics import Metric
from ibcm_bridge.addons.operations.numbers import Series
from ibcm_bridge.addons.policy_generation import Generation, SharedState
from ibcm_bridge.policy.trust import Credential
from ibcm_bridge.storage.open_files import open_file_limit

type Reading = tuple[Series, float]


class Leg(StrEnum):
    """The side of a bridged connection, as a label."""

    CLIENTS = "clients"
    SITE_SYSTEMS = "site-systems"


def readings(shared: SharedState, generation: Generation) -> Iterator[Reading]:
    """Yield every gauge that is cheap to read."""
    capacity = shared.connections.capacity
    handshakes, requests, tunnels = capacity.handshakes.held, capacity.requests, capacity.tunnels
    closing = shared.connections.flushing
    idle = capacity.slots.held - handshakes - requests - tunnels - closing
    yield reading(metrics.CONNECTIONS, handshakes, "handshake")
    yield reading(metrics.CONNECTIONS, requests, "request")
    yield reading(metrics.CONNECTIONS, tunnels, "tunnel")
    yield reading(metrics.CONNECTIONS, closing, "closing")
    yield reading(metrics.CONNECTIONS, max(0, idle), "idle")
    yield reading(metrics.UNAUTHENTICATED, capacity.unauthenticated.held)
    yield reading(metrics.UNAUTHENTICATED_LIMIT, capacity.unauthenticated.limit)
    yield reading(metrics.HANDSHAKE_CONNECTIONS_LIMIT, capacity.handshakes.limit)
    yield reading(metrics.ANONYMOUS, capacity.anonymous.held)
    yield reading(metrics.ANONYMOUS_LIMIT, capacity.anonymous.limit)
    yield reading(metrics.CONNECTIONS_LIMIT, capacity.slots.limit)
    yield reading(metrics.BUFFERED, capacity.memory.held)
    yield reading(metrics.BUFFERED_LIMIT, capacity.memory.limit)
    yield reading(metrics.INSPECTIONS, generation.workers.under_way)
    yield reading(metrics.INSPECTION_PROCESSES, generation.workers.running)
    yield reading(metrics.AUDIT_WRITABLE, shared.audit.problem is None)
    if (point := shared.audit.point) is not None:
        yield reading(metrics.AUDIT_POINT, point.sequence, point.writer, point.digest)
    for key, state in generation.site_systems.all():
        yield reading(metrics.SITE_SYSTEM_AVAILABLE, state.is_available, *key)
        yield reading(metrics.SITE_SYSTEM_REFUSES, state.refuses_bridge, *key)


class CertificateEnds:
    """The ends of the certificates of one generation, which are read once."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._ends = [
            (publication.name, leg.value, _end(credential))
            for _, publication in generation.policy.bridged()
            for leg, credential in (
                (Leg.CLIENTS, publication.credential),
                (Leg.SITE_SYSTEMS, publication.site_system_credential),
            )
        ]

    def readings(self, now: datetime.datetime) -> Iterator[Reading]:
        """Yield the seconds to each end."""
        for name, leg, end in self._ends:
            yield reading(metrics.CERTIFICATE_END, (end - now).total_seconds(), name, leg)


def _end(credential: Credential) -> datetime.datetime:
    """Return the first end in a chain: without an intermediate authority, clients fail too."""
    return min(certificate.not_valid_after_utc for certificate in credential.chain)


def machine_readings() -> Iterator[Reading]:
    """Yield the number of file descriptors and its limit, if the system has them."""
    for metric, value in (
        (metrics.OPEN_FILES, open_files()),
        (metrics.OPEN_FILES_LIMIT, open_file_limit()),
    ):
        if value is not None:
            yield reading(metric, value)


def reading(metric: Metric, value: float, *labels: str) -> Reading:
    """Return a value of a metric, with the values of its labels."""
    return (metric.name, labels), float(value)
