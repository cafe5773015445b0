"""Worker processes and their reports. A worker that dies, hangs or lies refuses the body."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ibcm_bridge.addons.engines import inspection_workers
from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.engines.inspection_workers import InspectionWorkers
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import CleanBody, Subject
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy_file import shipped_roles
from ibcm_bridge.uploads.session import StoredObject

SETUP = EngineSetup((("test.yar", 'rule needle { strings: $a = "needle" condition: $a }'),))
RULE = shipped_roles().bodies["ccm-message"]


def subject(xml: str = "<Report/>") -> Subject:
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid="")
    return Subject(RULE, ccm.CONTENT_TYPE.encode(), body)


def script(text: str) -> tuple[str, ...]:
    """The command of a fake worker, which runs `text`."""
    return (sys.executable, "-c", text)


def worker(before_report: str) -> tuple[str, ...]:
    """The command of a worker that runs this code before it reports a detection."""
    return script(
        "import os, signal, sys, time\n"
        "from ibcm_bridge.addons.engines import inspection_worker as w\n"
        "read_and_scan = w.read_and_scan\n"
        "def first(subject, engines):\n"
        "    seen = read_and_scan(subject, engines)\n"
        f"    if 'needle' in getattr(seen, 'detail', ''):\n        {before_report}\n"
        "    return seen\n"
        "w.read_and_scan = first\n"
        "w.main()\n"
    )


Use = Callable[[InspectionWorkers], Awaitable[None]]


def run(use: Use, command: tuple[str, ...] = inspection_workers.COMMAND, size: int = 1) -> None:
    async def main() -> None:
        workers = InspectionWorkers(SETUP, size, command)
        try:
            await use(workers)
        finally:
            await workers.stop()
        assert (workers.under_way, workers._busy, workers._idle) == (0, set(), [])

    asyncio.run(asyncio.wait_for(main(), 60))


def pids(workers: InspectionWorkers) -> list[int]:
    return [worker._process.pid for worker in (*workers._idle, *workers._busy)]


def reported(result: Report | Deny) -> CleanBody | Deny:
    assert isinstance(result, Report), result
    return result.result


def unavailable(result: Report | Deny) -> bool:
    return isinstance(result, Deny) and result.reason is Reason.ENGINE_UNAVAILABLE


def test_a_worker_uses_the_rules_of_the_bridge_and_is_kept() -> None:
    async def use(workers: InspectionWorkers) -> None:
        clean = await workers.inspect(subject(), "client")
        assert isinstance(clean, Report)
        assert clean.digest == subject().digest()
        seen = reported(clean)
        assert isinstance(seen, CleanBody)
        assert seen.message is not None
        assert (seen.message.endpoint, seen.engines) == (
            "MP_HinvEndpoint",
            (SETUP.make()[0].identity,),
        )
        before = pids(workers)
        found = reported(await workers.inspect(subject("<Report>needle</Report>"), "client"))
        assert isinstance(found, Deny)
        assert found.reason is Reason.MALICIOUS_CONTENT
        broken = reported(await workers.inspect(subject("<Report>"), "client"))
        assert isinstance(broken, Deny)
        assert broken.reason is Reason.XML
        assert pids(workers) == before

    run(use)


def test_a_worker_imports_nothing_from_the_current_folder(
    poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(workers: InspectionWorkers) -> None:
        assert isinstance(reported(await workers.inspect(subject(), "client")), CleanBody)

    monkeypatch.chdir(poisoned)
    run(use)
    assert list(poisoned.glob("imported-*")) == []


def test_at_most_the_configured_number_of_workers_is_started() -> None:
    async def use(workers: InspectionWorkers) -> None:
        inspections = [
            workers.inspect(subject(f"<Report>{n}</Report>"), "client") for n in range(12)
        ]
        results = await asyncio.gather(*inspections)
        wanted = [subject(f"<Report>{n}</Report>").digest() for n in range(12)]
        assert [report.digest for report in results if isinstance(report, Report)] == wanted
        assert len(pids(workers)) == 2

    run(use, size=2)


NEEDLE = "<Report>needle</Report>"


@pytest.mark.parametrize(
    "what",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os._exit(0)",
        "raise ZeroDivisionError",
        "raise KeyboardInterrupt",
        "class Panic(BaseException): pass\n        raise Panic",
        "print('noise', flush=True)",
        "sys.stdout.buffer.write(b'x' * 100_000); sys.stdout.flush()",
        "sys.stdout.close()",
        "time.sleep(1000)",
        "signal.pause()",
    ],
)
def test_a_worker_that_fails_refuses_its_body_and_is_replaced(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(workers: InspectionWorkers) -> None:
        assert isinstance(reported(await workers.inspect(subject(), "client")), CleanBody)
        before = pids(workers)
        monkeypatch.setattr(inspection_workers, "INSPECTION_SECONDS", 0.5)
        assert unavailable(await workers.inspect(subject(NEEDLE), "client"))
        assert pids(workers) == []
        monkeypatch.setattr(inspection_workers, "INSPECTION_SECONDS", 20)
        assert isinstance(reported(await workers.inspect(subject(), "client")), CleanBody)
        assert pids(workers) != before

    run(use, worker(what))


def test_an_upload_that_was_cancelled_is_refused_and_the_worker_kept(tmp_path: Path) -> None:
    """The client can cancel it on another connection at any time."""
    stored = StoredObject(str(tmp_path / "none.sqlite"), "x", 5)
    gone = Subject(shipped_roles().bodies["bits-upload"], b"", b"x", whole=True, stored=stored)

    async def use(workers: InspectionWorkers) -> None:
        await workers.inspect(subject(), "client")
        before = workers._idle[0]
        report = await workers.inspect(gone, "client")
        assert isinstance(report, Report)
        assert isinstance(report.result, Deny)
        assert report.result.reason is Reason.UPLOAD_UNAVAILABLE
        assert str(tmp_path) in report.result.detail
        assert workers._idle == [before]

    run(use)


def test_a_worker_that_died_while_idle_is_replaced() -> None:
    async def use(workers: InspectionWorkers) -> None:
        await workers.inspect(subject(), "client")
        (pid,) = pids(workers)
        process = workers._idle[0]._process
        os.kill(pid, signal.SIGKILL)
        await process.wait()
        assert isinstance(reported(await workers.inspect(subject(), "client")), CleanBody)

    run(use)


@pytest.mark.parametrize(
    "command",
    [
        ("/nonexistent/python",),
        script(""),
        script("print('hello')"),
        script("raise SystemExit(3)"),
        script("import time; time.sleep(1000)"),
        script("import sys; sys.stdin.close(); sys.stdout.write('\\n'); sys.stdout.close()"),
    ],
)
def test_a_body_is_refused_if_no_worker_can_be_started(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection_workers, "START_SECONDS", 1)

    async def use(workers: InspectionWorkers) -> None:
        assert unavailable(await workers.inspect(subject(), "client"))
        assert unavailable(await workers.inspect(subject(), "client"))

    run(use, command)


def test_a_body_is_refused_if_the_rules_do_not_compile_in_the_worker() -> None:
    async def main() -> None:
        workers = InspectionWorkers(EngineSetup((("bad.yar", "rule"),)), 1)
        assert unavailable(await workers.inspect(subject(), "client"))
        await workers.stop()

    asyncio.run(main())


def test_bodies_over_the_queue_limit_are_refused_and_waiting_ones_inspected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspection_workers, "WAITING", 2)

    async def use(workers: InspectionWorkers) -> None:
        inspections = [
            asyncio.ensure_future(workers.inspect(subject(), "client")) for _ in range(3)
        ]
        await asyncio.sleep(0)
        refused = await workers.inspect(subject(), "client")
        assert isinstance(refused, Deny)
        assert (refused.reason, refused.rule) == (Reason.OVERLOADED, "limits.inspection_workers")
        results = await asyncio.gather(*inspections)
        assert all(isinstance(report, Report) for report in results)

    run(use)


def test_waiting_for_a_worker_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection_workers, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(inspection_workers, "INSPECTION_SECONDS", 2)

    async def use(workers: InspectionWorkers) -> None:
        hanging = asyncio.ensure_future(workers.inspect(subject(NEEDLE), "client"))
        await asyncio.sleep(0)
        late = await workers.inspect(subject(), "client")
        assert isinstance(late, Deny)
        assert late.reason is Reason.OVERLOADED
        assert unavailable(await hanging)

    run(use, worker("time.sleep(1000)"))


def test_a_cancelled_inspection_leaves_no_report_for_the_next_body() -> None:
    async def use(workers: InspectionWorkers) -> None:
        await workers.inspect(subject(), "client")
        for xml in ("<Report>1</Report>", NEEDLE):
            inspection = asyncio.ensure_future(workers.inspect(subject(xml), "client"))
            await asyncio.sleep(0)
            inspection.cancel()
            with pytest.raises(asyncio.CancelledError):
                await inspection
        after = await workers.inspect(subject("<Report>2</Report>"), "client")
        assert isinstance(after, Report)
        assert after.digest == subject("<Report>2</Report>").digest()

    run(use)


def test_stopping_refuses_current_and_later_bodies() -> None:
    async def use(workers: InspectionWorkers) -> None:
        await workers.inspect(subject(), "client")
        inspections = [
            asyncio.ensure_future(workers.inspect(subject(NEEDLE), "client")) for _ in range(3)
        ]
        await asyncio.sleep(0)
        await workers.stop()
        assert all(unavailable(report) for report in await asyncio.gather(*inspections))
        assert unavailable(await workers.inspect(subject(), "client"))

    run(use, worker("time.sleep(1000)"))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_stopped_worker_is_neither_running_nor_a_zombie() -> None:
    found: list[int] = []

    async def use(workers: InspectionWorkers) -> None:
        await workers.inspect(subject(), "client")
        found.extend(pids(workers))

    run(use)
    assert found
    assert not any(Path(f"/proc/{pid}").exists() for pid in found)


def test_a_process_that_cannot_start_is_a_problem_until_another_attempt_succeeds() -> None:
    async def use(workers: InspectionWorkers) -> None:
        await workers.try_again()
        assert (workers.problem, workers.running) == (None, 0)
        assert unavailable(await workers.inspect(subject(), "a"))
        assert workers.problem == "No such file or directory"
        await workers.try_again()
        assert workers.problem == "No such file or directory"
        workers._command = inspection_workers.COMMAND
        await workers.try_again()
        assert (workers.problem, workers.running) == (None, 1)
        assert reported(await workers.inspect(subject(), "a"))
        assert workers.running == 1

    run(use, ("/does/not/exist",))


def test_an_attempt_waits_for_its_turn() -> None:
    """There are never more processes than the policy allows."""

    async def use(workers: InspectionWorkers) -> None:
        workers.problem = "a problem"
        assert await workers._turns.take("a")
        waiting = asyncio.create_task(workers.try_again())
        await asyncio.sleep(0.05)
        assert workers.running == 0
        workers._turns.free()
        await waiting
        assert (workers.problem, workers.running) == (None, 1)

    run(use)
