"""`python -m benchmarks.steady`: the latency at the highest rate that the bridge carries.

Messages and new connections arrive in the ratio of a site of 175,000 clients, at fixed times, from
two processes (`open_load`). Short steps find the highest rate at which 99 % of each take less than
LIMIT_MS, without an error. A tenth below, the rate is held. If it is not carried for so long, a
tenth less is held. The clients and the site system share the machine with the bridge, so it is the
rate of the machine with the load beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.bridges import HAS_WORKERS, Bound, Variant
from benchmarks.comparison import BRIDGE, GUID, Measure, message_request, small_request
from benchmarks.open_load import Latencies, OpenJob
from benchmarks.processes import settled_processor_seconds
from benchmarks.proxies import Proxies, running_proxies

SITE_MESSAGES = 972
SITE_CONNECTIONS = 194
"""Messages and new connections per second of a site of 175,000 clients."""

LIMIT_MS = 250.0
STEP_SECONDS = 5.0
FIRST_RATE = 100.0
"""Messages per second of the first step."""
STEP = 1.5
REFINEMENTS = 2
HELD_PART = 0.9
HOLDS = 3
"""The number of rates that are held, until one is carried."""
KEPT = 64

STEADY = "Messages and new connections at a fixed rate"
MESSAGES = "messages per second"
CONNECTIONS = "connections per second"
SECONDS = "seconds"
PROCESSES = "workers"
ERRORS = "errors"
P99_MESSAGE = "99 % of messages"
P99_CONNECTION = "99 % of connections"


_TARGET = Variant.TWO_WORKERS if HAS_WORKERS else Variant.SHIPPED


def steady(
    proxies: Proxies, message: bytes, seconds: float, rate: float | None = None
) -> list[Measure]:
    """Search the rate unless it is given, and hold it. Rates are those of messages."""
    target = proxies.bridges[_TARGET]
    requests = message.decode("latin-1"), small_request().decode("latin-1")

    def load(rate: float, seconds: float) -> list[Latencies]:
        # Nothing of the load before is left.
        settled_processor_seconds(target.pid)
        rates = (rate, 0.0), (0.0, rate * SITE_CONNECTIONS / SITE_MESSAGES)
        return proxies.open_load(
            [
                OpenJob(target.port, target.server_name, *requests, *each, seconds, KEPT)
                for each in rates
            ]
        )

    first = rate or HELD_PART * highest_rate(lambda rate: carried(load(rate, STEP_SECONDS)))
    held, results = hold(lambda rate: load(rate, seconds), first, 1 if rate else HOLDS)
    messages, connections = results
    values = (
        (MESSAGES, "", held),
        (CONNECTIONS, "", held * SITE_CONNECTIONS / SITE_MESSAGES),
        (SECONDS, "", seconds),
        (PROCESSES, "", 2.0 if HAS_WORKERS else 1.0),
        (ERRORS, "", float(sum(result.errors for result in results))),
        ("half of messages", "ms", messages.median * 1e3),
        (P99_MESSAGE, "ms", messages.p99 * 1e3),
        ("longest message", "ms", messages.longest * 1e3),
        ("half of connections", "ms", connections.median * 1e3),
        (P99_CONNECTION, "ms", connections.p99 * 1e3),
        ("longest connection", "ms", connections.longest * 1e3),
    )
    return [
        Measure(STEADY, name, unit, False, values={BRIDGE: [value]}) for name, unit, value in values
    ]


def carried(results: Sequence[Latencies]) -> bool:
    """Whether a step was within the limit, without an error."""
    return all(not each.errors and each.p99 * 1e3 < LIMIT_MS for each in results)


def hold(
    load: Callable[[float], Sequence[Latencies]], rate: float, holds: int
) -> tuple[float, Sequence[Latencies]]:
    """Hold a rate, and a lower one if it is not carried. The last result counts."""
    results = load(rate)
    for _ in range(holds - 1):
        if carried(results):
            break
        rate *= HELD_PART
        results = load(rate)
    return rate, results


def highest_rate(carries: Callable[[float], bool]) -> float:
    """The highest rate that is carried, to about a tenth. RuntimeError if none is."""
    rate = FIRST_RATE
    while not carries(rate):
        rate /= STEP
        if rate < 1:
            raise RuntimeError("the bridge carries no rate without errors or long latencies")
    if rate == FIRST_RATE:
        while carries(rate * STEP):
            rate *= STEP
    factor = STEP
    for _ in range(REFINEMENTS):
        factor **= 0.5
        if carries(rate * factor):
            rate *= factor
    return rate


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steady", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="how long the rate is held")
    parser.add_argument("--rate", type=float, help="messages per second; otherwise searched")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("Linux only: processor time and memory are read from /proc")
    bound = Bound(GUID, generate_private_key(65537, 2048))
    with (
        tempfile.TemporaryDirectory(prefix="ibcm-bridge-benchmarks-") as directory,
        running_proxies(Path(directory), 0, bound=bound, inspecting=[_TARGET]) as proxies,
    ):
        measures = steady(proxies, message_request(bound.key), options.seconds, options.rate)
    for measure in measures:
        (value,) = measure.values[BRIDGE]
        print(f"{measure.name:24}{value:10,.1f} {measure.unit}".rstrip())


if __name__ == "__main__":
    main()
