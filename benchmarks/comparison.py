"""What is measured of both proxies, and how the turns go.

Both run throughout. In a round each bears the same load for the same time, one after the other;
the next round begins with the other, so that what else happens on the machine falls on both.
Ratios are taken within a round.

Processor time is the proxy's own, user and system, children included, from just before the load
to when the proxy has come to rest after it. It depends far less than requests per second on what
else the machine does, but not on nothing: caches and hyper-threads are shared.

1. `CCM_POST`: a message of 4 KB, 3 KB of them the payload, which inflates to 28 KB, on eight kept
   connections, one request at a time on each. The handshakes come before the measurement.
2. Connections: a full TLS handshake with client authentication on both legs (RSA 2048 for the
   client, P-256 for all others), one GET with a small answer, close; one after another.
3. Downloads of one large content, through the bridge, the bridge's tunnel, and mitmdump. The peak
   of memory is reset before each, so its growth is what this download needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from benchmarks.load import Job
from benchmarks.proxies import Borne, Proxies, Target, running_proxies
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import request_bytes
from ibcm_bridge.lab.site_systems.published import BRIDGED

BRIDGE = "bridge"
TUNNEL = "tunnel"
MITMDUMP = "mitmdump"

GIBIBYTE = 1_073_741_824
MEBIBYTE = 1_048_576
GUID = "0a1b2c3d-0000-4000-8000-00000000000f"

CONNECTIONS = 8
"""Kept connections of the first load: enough for a proxy always to have something to do."""

WARM_UP_SECONDS = 0.4


@dataclass(frozen=True)
class Plan:
    """How often and how long."""

    rounds: int
    seconds: float
    """Of the first two loads, per proxy and round."""
    downloads: int
    """Rounds of downloads."""
    download_bytes: int


FULL = Plan(rounds=6, seconds=1.5, downloads=2, download_bytes=GIBIBYTE)
QUICK = Plan(rounds=2, seconds=0.6, downloads=1, download_bytes=GIBIBYTE // 8)


@dataclass(frozen=True)
class Measure:
    """One line of the result."""

    load: str
    name: str
    unit: str
    compared: bool
    """Whether the ratio means anything."""
    value: Callable[[Borne], float]
    values: dict[str, list[float]] = field(default_factory=dict)
    """Of `bridge`, `mitmdump` and perhaps `tunnel`: one value per round."""


def compare(plan: Plan, directory: Path) -> list[Measure]:
    """Measure everything; `directory` is for certificates and logs. Raises RuntimeError."""
    with running_proxies(directory, plan.download_bytes) as proxies:
        both = {BRIDGE: proxies.bridge, MITMDUMP: proxies.mitmdump}
        return [
            *_messages(plan, proxies, both),
            *_connections(plan, proxies, both),
            *_downloads(plan, proxies, {**both, TUNNEL: proxies.tunnel}),
        ]


def message_request(key: RSAPrivateKey | None = None) -> bytes:
    """The message of the first load, on the wire; signed when a key is given."""
    report = documents.inventory_report(GUID)
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=report, client_guid=GUID, key=key)
    fields = {
        "Host": BRIDGED,
        "User-Agent": "ccmhttp",
        "Accept": "*/*",
        "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
        "Content-Type": ccm.CONTENT_TYPE,
    }
    return request_bytes("CCM_POST", "/ccm_system/request", fields, body, BRIDGED)


def _messages(plan: Plan, proxies: Proxies, targets: Mapping[str, Target]) -> list[Measure]:
    load = "CCM_POST, 3 KB inflating to 28 KB, on kept connections"
    measures = [
        Measure(load, "requests per second", "", True, _rate),
        Measure(load, "processor time per request", "us", True, lambda b: _per_request(b) * 1e6),
        Measure(load, "memory in use afterwards", "MiB", False, _in_use),
    ]
    request = message_request().decode("latin-1")

    def job(target: Target, seconds: float) -> Job:
        return Job("messages", target.port, target.server_name, request, seconds, CONNECTIONS)

    for target in targets.values():
        proxies.bear(target, job(target, WARM_UP_SECONDS))
    for name, target in _turns(plan.rounds, targets):
        _add(measures, name, proxies.bear(target, job(target, plan.seconds)))
    return measures


def _connections(plan: Plan, proxies: Proxies, targets: Mapping[str, Target]) -> list[Measure]:
    load = "New mTLS connection on both legs, and one GET"
    measures = [
        Measure(load, "connections per second", "", True, _rate),
        Measure(load, "processor time per connection", "ms", True, lambda b: _per_request(b) * 1e3),
        Measure(load, "memory in use afterwards", "MiB", False, _in_use),
    ]
    request = request_bytes("GET", "/SMS_MP/.sms_aut?MPLIST", {}, None, BRIDGED).decode("latin-1")

    def job(target: Target, seconds: float) -> Job:
        return Job("connections", target.port, target.server_name, request, seconds)

    for target in targets.values():
        proxies.bear(target, job(target, WARM_UP_SECONDS))
    for name, target in _turns(plan.rounds, targets):
        _add(measures, name, proxies.bear(target, job(target, plan.seconds)))
    return measures


def _downloads(plan: Plan, proxies: Proxies, targets: Mapping[str, Target]) -> list[Measure]:
    load = f"Download of {plan.download_bytes // MEBIBYTE} MiB"
    measures = [
        Measure(load, "megabytes per second", "", True, _megabytes_per_second),
        Measure(load, "processor time per GiB", "s", True, _per_gibibyte),
        Measure(load, "growth of peak memory", "MiB", False, _peak_growth),
    ]
    for name, target in _turns(plan.downloads, targets):
        request = request_bytes(
            "GET", "/SMS_DP_SMSPKG$/LAB00001.1/sccm?/content.wim", {}, None, target.server_name
        )
        job = Job("download", target.port, target.server_name, request.decode("latin-1"))
        borne = proxies.bear(target, job)
        if borne.done.body_bytes != plan.download_bytes:
            raise RuntimeError(f"{borne.done.body_bytes} bytes came of {plan.download_bytes}")
        _add(measures, name, borne)
    return measures


def _turns(rounds: int, targets: Mapping[str, Target]) -> Iterator[tuple[str, Target]]:
    """Each once a round, in an order that is reversed every round."""
    order = list(targets.items())
    for _ in range(rounds):
        yield from order
        order.reverse()


def _add(measures: list[Measure], name: str, borne: Borne) -> None:
    for measure in measures:
        measure.values.setdefault(name, []).append(measure.value(borne))


def _rate(borne: Borne) -> float:
    return borne.done.requests / borne.done.seconds


def _per_request(borne: Borne) -> float:
    return borne.processor_seconds / borne.done.requests


def _megabytes_per_second(borne: Borne) -> float:
    return borne.done.body_bytes / borne.done.seconds / 1e6


def _per_gibibyte(borne: Borne) -> float:
    return borne.processor_seconds * GIBIBYTE / borne.done.body_bytes


def _peak_growth(borne: Borne) -> float:
    return borne.peak_growth / MEBIBYTE


def _in_use(borne: Borne) -> float:
    return borne.in_use / MEBIBYTE
