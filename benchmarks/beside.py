"""The bridge beside other proxies: every load of the goals, in alternating order.

As in `comparison`, but the client signs its messages, the bridge enforces its signature and client
GUID, and every peer of `peers.programs` on this machine gets the same load.

1. Messages: peers share kept connections to the site system, the bridge has one for each client.
2. New connections: every proxy makes a new connection to the site system for each.
3. The same; every proxy resumes its TLS session with the site system.
4. The same as 3; the client resumes its TLS session too. The bridge alone.
5. Downloads, and the same bytes through a tunnel.
6. Connected clients that wait: memory while they are connected, and after each wave of them.
7. Messages on more connections, with one worker and with two, if this version has workers.
8. Messages and new connections at the highest rate that the bridge carries (`steady`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import Bound, Variant
from benchmarks.comparison import (
    BRIDGE,
    GUID,
    MEBIBYTE,
    MITMDUMP,
    Measure,
    Plan,
    connections,
    downloads,
    message_request,
    messages,
    small_request,
)
from benchmarks.load import Job
from benchmarks.peers.programs import PEERS, Way
from benchmarks.processes import memory
from benchmarks.proxies import LoadResult, Proxies, Target, running_proxies
from benchmarks.report import document
from benchmarks.steady import steady

MESSAGE = "CCM_POST, 3 KB inflating to 28 KB, signed and enforced, on kept connections"
NEW = "New mTLS connection on both legs, and one GET"
RESUMED = "The same, where the peer resumes its TLS session with the site system"
RETURNING = "The same as the first, resumed by the client"
DOWNLOAD = "Download"
TUNNEL = "Tunnel"
WAITING = "Connected clients that wait"
WORKERS = "The same messages on 64 connections, with one worker and with two"

PER_REQUEST = "processor time per request"
PER_CONNECTION = "processor time per connection"
PER_GIBIBYTE = "processor time per GiB"
PER_CLIENT = "memory per client"
AFTER_WAVE = "memory in use after each wave"
SHARES = "processor time of a worker, the smaller divided by the larger"
TWO_WORKERS = "two workers"

LOADS = ("messages", "connections", "download", "tunnel", "waiting", "workers", "steady")
"""In this order; `connections` is 2 to 4."""

_MESSAGES = {
    Variant.SHIPPED: {"messages", "workers"},
    Variant.TWO_WORKERS: {"workers", "steady"},
}
"""The loads that send messages to a bridge."""

WORKER_CONNECTIONS = 64
"""The system assigns a connection to a worker: with few connections, their shares are chance."""


def measure_beside(
    plan: Plan,
    directory: Path,
    clients: int,
    waves: int,
    seconds: float,
    *,
    only: Sequence[str] = LOADS,
) -> dict[str, Any]:
    """Run loads; the document of `report` with the peers. Raises RuntimeError.

    The highest rate is held for `seconds`.
    """
    here = [peer for peer in PEERS if peer.path()]
    bound = Bound(GUID, generate_private_key(65537, 2048))
    inspecting = [variant for variant, loads in _MESSAGES.items() if loads & set(only)]
    with running_proxies(
        directory, plan.download_bytes, bound=bound, peers=here, inspecting=inspecting
    ) as proxies:
        both = {BRIDGE: proxies.bridge, MITMDUMP: proxies.mitmdump}
        ours = {BRIDGE: proxies.bridge}
        full = {BRIDGE: proxies.bridges[Variant.NO_SESSIONS]}
        returning = {BRIDGE: proxies.bridges[Variant.ALL_SESSIONS]}
        pooled = {**both, **proxies.peers(Way.POOLED)}
        tunnels = {BRIDGE: proxies.tunnel, **proxies.peers(Way.TUNNEL)}
        message = message_request(bound.key)
        loads: dict[str, Callable[[], list[Measure]]] = {
            "messages": lambda: messages(plan, proxies, pooled, message, MESSAGE),
            "connections": lambda: [
                *connections(plan, proxies, {**both, **full, **proxies.peers(Way.NEW)}, NEW),
                *connections(plan, proxies, {**ours, **proxies.peers(Way.RESUMED)}, RESUMED),
                *connections(plan, proxies, returning, RETURNING, resume=True),
            ],
            "download": lambda: downloads(plan, proxies, pooled, DOWNLOAD),
            "tunnel": lambda: downloads(plan, proxies, tunnels, TUNNEL),
            "waiting": lambda: _waiting(proxies, proxies.bridge, clients, waves),
            "workers": lambda: _with_workers(plan, proxies, message),
            "steady": lambda: steady(proxies, message, seconds),
        }
        measures = [measure for load in only for measure in loads[load]()]
    peers = {peer.name: peer.describe() for peer in PEERS}
    return {**document(measures, plan), "peers": peers, "clients": clients}


def _waiting(proxies: Proxies, target: Target, clients: int, waves: int) -> list[Measure]:
    per_client = Measure(WAITING, PER_CLIENT, "KB", False)
    after = Measure(WAITING, AFTER_WAVE, "MiB", False)
    request = small_request().decode("latin-1")
    job = Job("held", target.port, target.server_name, request, connections=clients)
    before, _ = memory(target.pid)
    for wave in range(waves):
        held, closed = proxies.held(target, job)
        if not wave:
            per_client.values[BRIDGE] = [(held - before) / clients / 1000]
        after.values.setdefault(BRIDGE, []).append(closed / MEBIBYTE)
    return [per_client, after]


def _with_workers(plan: Plan, proxies: Proxies, message: bytes) -> list[Measure]:
    if (two := proxies.bridges.get(Variant.TWO_WORKERS)) is None:
        return []
    targets = {BRIDGE: proxies.bridge, TWO_WORKERS: two}
    shares = Measure(WORKERS, SHARES, "", False, _smaller_share)
    return messages(
        plan, proxies, targets, message, WORKERS, connections=WORKER_CONNECTIONS, also=[shares]
    )


def _smaller_share(result: LoadResult) -> float:
    # A parent may have other children, which do less than a worker.
    *_, smaller, larger = sorted(result.by_child) if len(result.by_child) > 1 else (0.0, 1.0)
    return smaller / larger if larger else 0.0
