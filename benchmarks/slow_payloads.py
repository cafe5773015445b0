"""`python -m benchmarks.slow_payloads`: latency of others while large payloads are inspected.

One event loop, as in the bridge, has a task that wakes every two milliseconds. Meanwhile, payloads
of nearly 16 MB with small elements are inspected one after another, alternately in the loop itself
and in the bridge's worker processes. The output shows how late the task wakes.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.resources import files

from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.inspection.scan import read_and_scan
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy_file import shipped_roles

PERIOD_SECONDS = 0.002
PAYLOADS = 3
ROUNDS = 3
INFLATED = 16_777_216

Inspect = Callable[[Subject], Awaitable[None]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slow_payloads", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asyncio.run(_measure(parser.parse_args().rounds))


async def _measure(rounds: int) -> None:
    rules = [
        (file.name, file.read_text("utf-8"))
        for file in files("ibcm_bridge.config.rules").iterdir()
        if file.name.endswith(".yar")
    ]
    engines = [YaraEngine(rules)]
    workers = InspectionWorkers(EngineSetup(tuple(rules)), 2)
    subject = slow_subject()

    async def in_the_loop(subject: Subject) -> None:
        seen = read_and_scan(subject, engines)
        if isinstance(seen, Deny):
            raise RuntimeError(f"refused: {seen}")

    async def in_a_worker(subject: Subject) -> None:
        report = await workers.inspect(subject, "benchmark")
        if isinstance(report, Deny) or isinstance(report.result, Deny):
            raise RuntimeError(f"refused: {report}")

    ways = {"in the event loop": in_the_loop, "in workers": in_a_worker}
    late: dict[str, list[float]] = {name: [] for name in ways}
    took: dict[str, list[float]] = {name: [] for name in ways}
    await in_a_worker(subject)  # starts the process
    for _ in range(rounds):
        for name, inspect in ways.items():
            began = time.perf_counter()
            late[name] += await _lateness(inspect, subject)
            took[name].append((time.perf_counter() - began) / PAYLOADS)
    await workers.stop()
    print(f"{'delay of others, ms':26}{'median':>9}{'99 %':>9}{'max':>9}{'one payload, s':>18}")
    for name, values in late.items():
        ordered = sorted(value * 1e3 for value in values)
        row = (statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1])
        cells = "".join(f"{value:9.1f}" for value in row)
        print(f"{name:26}{cells}{statistics.median(took[name]):18.2f}")


async def _lateness(inspect: Inspect, subject: Subject) -> list[float]:
    late: list[float] = []
    done = asyncio.Event()

    async def others() -> None:
        while not done.is_set():
            due = time.perf_counter() + PERIOD_SECONDS
            await asyncio.sleep(PERIOD_SECONDS)
            late.append(time.perf_counter() - due)

    waiting = asyncio.create_task(others())
    await asyncio.sleep(0)
    for _ in range(PAYLOADS):
        await inspect(subject)
        await asyncio.sleep(0)
    done.set()
    await waiting
    return late


def slow_subject() -> Subject:
    # As many elements as the limit for that size allows.
    piece = "<b/>" + "x" * 26
    xml = f"<Report>{piece * (INFLATED // 2 // len(piece) - 10)}</Report>"
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid="")
    shipped = shipped_roles().bodies["ccm-message"]
    rule = replace(shipped, limit=len(body), inflated_limit=INFLATED)
    return Subject(rule, ccm.CONTENT_TYPE.encode(), body)


if __name__ == "__main__":
    main()
