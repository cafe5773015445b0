"""Gauges: what connections, limits, files and certificates are at one time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.machine import open_files
from ibcm_bridge.addons.operations.metrics import Metric
from ibcm_bridge.addons.operations.numbers import Series
from ibcm_bridge.addons.policy_generation import Generation, SharedState
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.authentication.list_states import list_states
from ibcm_bridge.policy.trust import Credential
from ibcm_bridge.storage.open_files import open_file_limit

type Reading = tuple[Series, float]


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
                yield reading(metrics.LIST_END, seconds, tls.publication.name, leg, *key)
            for issuer, current in _are_current(trust, now).items():
                yield reading(metrics.LIST_CURRENT, current, tls.publication.name, leg, issuer)


def _are_current(trust: CurrentTrust | None, now: datetime.datetime) -> dict[str, bool]:
    """The name of each authority -> whether it has a current list. Two may have the same name."""
    found = dict[str, bool]()
    for state in () if trust is None else list_states(trust.trust, trust.lists, now):
        found[state.issuer] = state.is_current and found.get(state.issuer, True)
    return found


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
