"""Gauges: what connections, limits, files and certificates are at one time."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterator

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.machine import open_files
from ibcm_bridge.addons.operations.metrics import Metric
from ibcm_bridge.addons.operations.numbers import Series
from ibcm_bridge.addons.policy_generation import Generation, SharedState
from ibcm_bridge.policy.trust import Credential
from ibcm_bridge.storage.database import DatabaseError
from ibcm_bridge.storage.open_files import open_file_limit

type Reading = tuple[Series, float]


def readings(shared: SharedState, generation: Generation) -> Iterator[Reading]:
    """Yield every gauge that is cheap to read."""
    capacity = shared.connections.capacity
    handshakes, requests, tunnels = capacity.handshakes.held, capacity.requests, capacity.tunnels
    closing = shared.connections.flushing
    idle = capacity.slots.held - handshakes - requests - tunnels - closing
    yield _reading(metrics.CONNECTIONS, handshakes, "handshake")
    yield _reading(metrics.CONNECTIONS, requests, "request")
    yield _reading(metrics.CONNECTIONS, tunnels, "tunnel")
    yield _reading(metrics.CONNECTIONS, closing, "closing")
    yield _reading(metrics.CONNECTIONS, max(0, idle), "idle")
    yield _reading(metrics.UNAUTHENTICATED, capacity.unauthenticated.held)
    yield _reading(metrics.UNAUTHENTICATED_LIMIT, capacity.unauthenticated.limit)
    yield _reading(metrics.CONNECTIONS_LIMIT, capacity.slots.limit)
    yield _reading(metrics.BUFFERED, capacity.memory.held)
    yield _reading(metrics.BUFFERED_LIMIT, capacity.memory.limit)
    yield _reading(metrics.INSPECTIONS, generation.workers.under_way)
    yield _reading(metrics.INSPECTION_PROCESSES, generation.workers.running)
    yield _reading(metrics.AUDIT_WRITABLE, shared.audit.problem is None)
    if (point := shared.audit.point) is not None:
        yield _reading(metrics.AUDIT_POINT, point.sequence, point.writer, point.digest)
    for key, state in generation.site_systems.all():
        yield _reading(metrics.SITE_SYSTEM_AVAILABLE, state.is_available, *key)
        yield _reading(metrics.SITE_SYSTEM_REFUSES, state.refuses_bridge, *key)
    yield from _lists(generation, shared.clock())


def _lists(generation: Generation, now: datetime.datetime) -> Iterator[Reading]:
    for tls in generation.publication_tls:
        trusts = {_CLIENTS: tls.client_trust, _SITE_SYSTEMS: tls.site_system_trust}
        for leg, trust in trusts.items():
            ends = dict[tuple[str, str], datetime.datetime]()
            for crl in trust.lists.held.values() if trust is not None else ():
                key = crl.issuer, "base" if crl.base_number is None else "delta"
                ends[key] = min(crl.ends, ends.get(key, crl.ends))
            for key, end in ends.items():
                seconds = (end - now).total_seconds()
                yield _reading(metrics.LIST_END, seconds, tls.publication.name, leg, *key)


_CLIENTS, _SITE_SYSTEMS = "clients", "site-systems"


class CertificateEnds:
    """The ends of the certificates of one generation, which are read once."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self._ends = [
            (publication.name, leg, _end(credential))
            for _, publication in generation.policy.bridged()
            for leg, credential in (
                (_CLIENTS, publication.credential),
                (_SITE_SYSTEMS, publication.site_system_credential),
            )
        ]

    def readings(self, now: datetime.datetime) -> Iterator[Reading]:
        """Yield the seconds to each end."""
        for name, leg, end in self._ends:
            yield _reading(metrics.CERTIFICATE_END, (end - now).total_seconds(), name, leg)


def _end(credential: Credential) -> datetime.datetime:
    """Return the first end in a chain: without an intermediate authority, clients fail too."""
    return min(certificate.not_valid_after_utc for certificate in credential.chain)


async def file_readings(shared: SharedState) -> list[Reading]:
    """Read how much the databases hold, in a thread: it takes long for many rows."""
    found: list[Reading] = []
    if (bindings := await shared.bindings.count()) is not None:
        found.append(_reading(metrics.BINDINGS, bindings))
    uploads, size = await shared.uploads.totals()
    return [*found, _reading(metrics.UPLOADS, uploads), _reading(metrics.UPLOAD_BYTES, size)]


def machine_readings() -> Iterator[Reading]:
    """Yield the number of file descriptors and its limit, if the system has them."""
    for metric, value in (
        (metrics.OPEN_FILES, open_files()),
        (metrics.OPEN_FILES_LIMIT, open_file_limit()),
    ):
        if value is not None:
            yield _reading(metric, value)


UNREADABLE = (sqlite3.Error, DatabaseError)
"""Raised by `file_readings` if a database cannot be read."""


def _reading(metric: Metric, value: float, *labels: str) -> Reading:
    return (metric.name, labels), float(value)
