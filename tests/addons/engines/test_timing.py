"""The time of each scan, in the bridge and in a worker process, until it is a metric."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.addons.engines.timing import ScanTimes, TimedEngine
from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.traffic_metrics import TrafficMetrics
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.engines import CompiledRules, EngineError
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import Inspected
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems import clamd
from ibcm_bridge.policy.policy import ClamAv
from ibcm_bridge.shares import Holder
from tests.addons.hooks.test_body_inspection import body_of
from tests.addons.stand_ins.lab import BRIDGED, GUID, Lab, changed, message
from tests.addons.stand_ins.running import SOON, Running, wait_for

RULES = (("test.yar", 'rule needle { strings: $a = "needle" condition: $a }'),)
SLOW = 0.2


class Slow:
    """An engine that takes its time, and fails for some data."""

    name, identity, in_place = "slow", "slow:1", True

    def scan(self, data: bytes, *, opened: bool = False) -> str | None:
        time.sleep(SLOW)
        if data == b"broken":
            raise EngineError("broken")
        return "opened" if opened else None


def test_each_scan_is_timed_and_decides_as_before() -> None:
    times = ScanTimes()
    engine = TimedEngine(Slow(), times.add)
    assert (engine.name, engine.identity, engine.in_place) == ("slow", "slow:1", True)
    assert (engine.scan(b"data"), engine.scan(b"data", opened=True)) == (None, "opened")
    with pytest.raises(EngineError, match="broken"):
        engine.scan(b"broken")
    (seconds,) = times.taken().values()
    assert len(seconds) == 3
    assert all(SLOW <= each < 60 for each in seconds)
    assert times.taken() == {}, "each is taken once"


@pytest.fixture
def slow_clamd(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClamAv]:
    """A clamd that takes its time for each scan."""
    address = ("127.0.0.1", free_port())
    respond = clamd._response

    def late(data: bytes) -> bytes | None:
        time.sleep(SLOW)
        return respond(data)

    monkeypatch.setattr(clamd, "_response", late)
    with clamd.ScanDaemon(address):
        yield ClamAv(address)


def large(text: str) -> bytes:
    xml = documents.inventory_report(GUID, rows=600).replace("Publisher 1", text, 1)
    return ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)


def counts(numbers: Numbers) -> dict[str, float]:
    """Name of an engine -> the number of its scans."""
    return {
        labels[0]: sum(buckets[:-1])
        for (name, labels), buckets in numbers.histograms.items()
        if name == "ibcm_engine_scan_seconds"
    }


def seconds_of(numbers: Numbers, engine: str) -> float:
    return numbers.histograms["ibcm_engine_scan_seconds", (engine,)][-1]


def test_a_worker_process_reports_the_time_of_each_scan(lab: Lab) -> None:
    found: list[tuple[str, float]] = []

    async def inspect() -> None:
        setup = EngineSetup(RULES)
        workers = InspectionWorkers(setup, 1)
        scanned = lambda engine, seconds: found.append((engine, seconds))  # noqa: E731
        inspection = BodyInspection(setup.make(), workers.inspect, scanned)
        try:
            for text, kind in (("clean", Inspected), ("needle", Deny)):
                decided = inspection.body_read(body_of(lab, large(text)))
                assert asyncio.iscoroutine(decided)
                assert type(await decided) is kind
        finally:
            await workers.stop()

    asyncio.run(inspect())
    assert {engine for engine, _ in found} == {"yara-x"}
    assert len(found) > 2
    assert all(0 < seconds < 60 for _, seconds in found)


def test_an_engine_that_the_bridge_does_not_have_is_not_counted(lab: Lab) -> None:
    """The names in a report come from another process, and would be labels."""
    found = []

    async def report_of(subject: Subject, holder: Holder) -> Report:
        times = {"yara-x": (0.5,), "x" * 100: (0.5,)}
        return Report(subject.digest(), Deny(Reason.XML, rules.BODIES_LENGTH), times)

    scanned = lambda engine, seconds: found.append((engine, seconds))  # noqa: E731
    inspection = BodyInspection(EngineSetup(RULES).make(), report_of, scanned)
    decided = inspection.body_read(body_of(lab, large("clean")))
    assert asyncio.iscoroutine(decided)
    asyncio.run(decided)
    assert found == [("yara-x", 0.5)]


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_a_slow_clamd_is_in_the_metrics(
    lab: Lab, tmp_path: Path, slow_clamd: ClamAv, is_large: bool
) -> None:
    numbers = Numbers()
    policy = dataclasses.replace(changed(lab.policy, tmp_path / "audit.jsonl"), clamav=slow_clamd)
    sent = message() | ({"body": large("clean")} if is_large else {})
    observers = [TrafficMetrics(numbers)]
    with Running(lab, policy, observers=observers) as running:
        # Longer than the usual timeout: a worker takes time to start.
        with LabClient(
            running.address, BRIDGED, trust=lab.pki.root, credential=lab.computer, timeout=60
        ) as client:
            assert client.request("CCM_POST", "/ccm_system/request", **sent).status == 200
        (record,) = wait_for(running.audit)
    views = record["inspected"]
    found = counts(numbers)
    assert found["clamav"] == found["yara-x"] == len(views)
    assert seconds_of(numbers, "clamav") >= SLOW * len(views)
    assert seconds_of(numbers, "yara-x") < SLOW


def test_rules_that_change_are_timed_too(lab: Lab, tmp_path: Path) -> None:
    numbers = Numbers()
    policy = changed(lab.policy, tmp_path / "audit.jsonl")
    with Running(lab, policy, observers=[TrafficMetrics(numbers)]) as running:
        generation = running.bridge.generation

        async def renew() -> None:
            generation._renew_rules(EngineSetup(RULES), CompiledRules(RULES))

        asyncio.run_coroutine_threadsafe(renew(), running._loop).result(SOON)
        before = counts(numbers).get("yara-x", 0)
        with running.client() as client:
            assert client.request("CCM_POST", "/ccm_system/request", **message()).status == 200
    assert counts(numbers)["yara-x"] > before
