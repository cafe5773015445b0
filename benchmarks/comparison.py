"""The measurements of both proxies.

Both run throughout. In each round, each gets the same load for the same time, one after the other.
The order is reversed every round, so that other activity on the machine affects both. Ratios are
taken within a round.

Processor time is the proxy's user and system time, children included, from just before the load
until the proxy is idle after it. Other activity on the machine affects it less than requests per
second, but still does: caches and hyper-threads are shared.

1. `CCM_POST`: a message of 4 KB with a payload of 3 KB, which inflates to 28 KB, on eight
   keep-alive connections, one request at a time on each. The handshakes are not measured.
2. Connections: a full TLS handshake with client authentication on both legs (RSA 2048 for the
   client, P-256 for all others), one GET with a small response, close; one after another.
3. Downloads of one large file, through the bridge, the bridge's tunnel, and mitmdump. The memory
   peak is reset before each, so its growth is that of this download.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from benchmarks.load import Job
from benchmarks.proxies import LoadResult, Proxies, Target, running_proxies
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import request_bytes
from ibcm_bridge.lab.site_systems.published import BRIDGED

BRIDGE = "bridge"
IN_USE = "memory in use afterwards"
TUNNEL = "tunnel"
MITMDUMP = "mitmdump"

GIBIBYTE = 1_073_741_824
MEBIBYTE = 1_048_576
MESSAGES = "CCM_POST, 3 KB inflating to 28 KB, on kept connections"
NEW_CONNECTIONS = "New mTLS connection on both legs, and one GET"
GUID = "0a1b2c3d-0000-4000-8000-00000000000f"

CONNECTIONS = 8
"""Keep-alive connections of the first load, enough to keep a proxy busy."""

WARM_UP_SECONDS = 0.4


@dataclass(frozen=True)
class Plan:
    """Rounds and durations."""

    rounds: int
    seconds: float
    """Duration of each of the first two loads, per proxy and round."""
    downloads: int
    """Rounds of downloads."""
    download_bytes: int


FULL = Plan(rounds=5, seconds=1.5, downloads=5, download_bytes=GIBIBYTE)
QUICK = Plan(rounds=2, seconds=0.6, downloads=1, download_bytes=GIBIBYTE // 8)


@dataclass(frozen=True)
class Measure:
    """One line of the result."""

    load: str
    name: str
    unit: str
    compared: bool
    """True if a ratio of the proxies is meaningful."""
    value: Callable[[LoadResult], float] | None = None
    """From the result of a load; None if values are added in another way."""
    values: dict[str, list[float]] = field(default_factory=dict)
    """`bridge`, `mitmdump`, `tunnel` -> one value per round."""


def compare(plan: Plan, directory: Path) -> list[Measure]:
    """Run all measurements. `directory` is for certificates and logs. Raises RuntimeError."""
    with running_proxies(directory, plan.download_bytes) as proxies:
        both = {BRIDGE: proxies.bridge, MITMDUMP: proxies.mitmdump}
        return [
            *messages(plan, proxies, both, message_request()),
            *connections(plan, proxies, both),
            *downloads(plan, proxies, {**both, TUNNEL: proxies.tunnel}),
        ]


def message_request(key: RSAPrivateKey | None = None) -> bytes:
    """The message of the first load, as on the wire; signed if a key is given."""
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


def small_request() -> bytes:
    """The request of the second load, as on the wire."""
    return request_bytes("GET", "/SMS_MP/.sms_aut?MPLIST", {}, None, BRIDGED)


def messages(
    plan: Plan,
    proxies: Proxies,
    targets: Mapping[str, Target],
    message: bytes,
    load: str = MESSAGES,
    *,
    connections: int = CONNECTIONS,
    also: Sequence[Measure] = (),
) -> list[Measure]:
    """Load 1. `also` are more measures of the same load."""
    measures = [
        Measure(load, "requests per second", "", True, _rate),
        Measure(load, "processor time per request", "us", True, lambda b: _per_request(b) * 1e6),
        Measure(load, IN_USE, "MiB", False, _in_use),
        *also,
    ]
    request = message.decode("latin-1")

    def job(target: Target, seconds: float) -> Job:
        return Job("messages", target.port, target.server_name, request, seconds, connections)

    for target in targets.values():
        proxies.load(target, job(target, WARM_UP_SECONDS))
    for name, target in _turns(plan.rounds, targets):
        _add(measures, name, proxies.load(target, job(target, plan.seconds)))
    return measures


def connections(
    plan: Plan,
    proxies: Proxies,
    targets: Mapping[str, Target],
    load: str = NEW_CONNECTIONS,
    *,
    resume: bool = False,
) -> list[Measure]:
    """Load 2. With `resume`, the client resumes the TLS session of its connection before."""
    measures = [
        Measure(load, "connections per second", "", True, _rate),
        Measure(load, "processor time per connection", "ms", True, lambda b: _per_request(b) * 1e3),
        Measure(load, IN_USE, "MiB", False, _in_use),
    ]
    request = small_request().decode("latin-1")

    def job(target: Target, seconds: float) -> Job:
        return Job("connections", target.port, target.server_name, request, seconds, resume=resume)

    for target in targets.values():
        proxies.load(target, job(target, WARM_UP_SECONDS))
    for name, target in _turns(plan.rounds, targets):
        _add(measures, name, proxies.load(target, job(target, plan.seconds)))
    return measures


def downloads(
    plan: Plan, proxies: Proxies, targets: Mapping[str, Target], load: str = ""
) -> list[Measure]:
    """Load 3."""
    load = load or f"Download of {plan.download_bytes // MEBIBYTE} MiB"
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
        result = proxies.load(target, job)
        if (received := result.done.body_bytes) != plan.download_bytes:
            raise RuntimeError(f"received {received} of {plan.download_bytes} bytes")
        _add(measures, name, result)
    return measures


def _turns(rounds: int, targets: Mapping[str, Target]) -> Iterator[tuple[str, Target]]:
    """Each target once per round; the order is reversed every round."""
    order = list(targets.items())
    for _ in range(rounds):
        yield from order
        order.reverse()


def _add(measures: list[Measure], name: str, result: LoadResult) -> None:
    for measure in measures:
        if measure.value:
            measure.values.setdefault(name, []).append(measure.value(result))


def _rate(result: LoadResult) -> float:
    return result.done.requests / result.done.seconds


def _per_request(result: LoadResult) -> float:
    return result.processor_seconds / result.done.requests


def _megabytes_per_second(result: LoadResult) -> float:
    return result.done.body_bytes / result.done.seconds / 1e6


def _per_gibibyte(result: LoadResult) -> float:
    return result.processor_seconds * GIBIBYTE / result.done.body_bytes


def _peak_growth(result: LoadResult) -> float:
    return result.peak_growth / MEBIBYTE


def _in_use(result: LoadResult) -> float:
    return result.in_use / MEBIBYTE
