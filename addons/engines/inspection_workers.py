"""Inspects large bodies in worker processes.

Threads do not help: YARA-X and expat hold the interpreter lock during a call, and a YARA-X scanner
must stay on the thread that made it. A process can also be killed when it hangs, and its crash does
not affect the bridge.

1. A worker is started when it is first needed and then kept. There are at most `size` workers.
2. At most `WAITING` bodies per worker wait, for at most `WAIT_SECONDS`; further bodies are refused.
   The clients with waiting bodies get a worker in turn (`turns`).
3. A worker that reports too late, dies, or writes anything else is killed and its body is refused.
   The next body gets another worker.
4. When the rules change, idle workers are ended at once and busy workers after their body.
5. A worker ends when its input ends, so none outlives the bridge, even after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Self

from ibcm_bridge.addons.engines.content_engines import EngineSetup
from ibcm_bridge.addons.engines.inspection_worker import framed
from ibcm_bridge.addons.engines.turns import Turns
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.reports import (
    MAX_LINE,
    Report,
    ReportError,
    no_report,
    read_report,
)
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.shares import Holder

logger = logging.getLogger(__name__)

WAITING = 16
"""The number of bodies that may wait, per worker."""

WAIT_SECONDS = 60.0
START_SECONDS = 30.0
INSPECTION_SECONDS = 7.0
BYTES_PER_LIMIT = 16_777_216
"""Limit for one body, and as much again for each so many bytes that it may have when inflated: 14 s
for a message, 63 s for an upload. Slow ones take 0.5 s and 5 s. Longer than the engines' own limits
for a view."""

# -P: do not import modules from the current folder.
COMMAND = (sys.executable, "-P", "-m", "ibcm_bridge.addons.engines.inspection_worker")

_FAILURES = (OSError, EOFError, ValueError, TimeoutError)
"""How communication with a worker can fail. ReportError and too long lines are ValueErrors."""


class InspectionWorkers:
    """The worker processes of one policy."""

    def __init__(self, setup: EngineSetup, size: int, command: Sequence[str] = COMMAND) -> None:
        self._setup = setup
        self._command = command
        self._turns = Turns(size, size * WAITING)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._under_way = 0
        self._stopped = False
        self.problem: str | None = None
        """Why no process can be started; None if the last attempt succeeded."""
        self._ending: list[_Worker] = []
        """Workers that were killed but not yet waited for."""

    @property
    def under_way(self) -> int:
        """The number of bodies that are being inspected or waiting."""
        return self._under_way

    @property
    def running(self) -> int:
        """The number of worker processes."""
        return len(self._idle) + len(self._busy)

    async def try_again(self) -> None:
        """Start a process if the last attempt failed, so that `problem` ends without a body."""
        if self.problem is None or self._stopped or not await self._turns.take(None):
            return
        try:
            worker = await self._worker()
            self._busy.discard(worker)
            self._idle.append(worker)
        except _FAILURES:
            return  # `problem` has the cause
        finally:
            self._turns.free()

    async def inspect(self, subject: Subject, holder: Holder) -> Report | Deny:
        """Return the report of a worker on a subject that counts for `holder`.

        Raises only when it is cancelled.
        """
        self._under_way += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    got = await self._turns.take(holder)
            except TimeoutError:
                return _overloaded(f"no inspection worker was free within {WAIT_SECONDS:g} s")
            if not got:
                return _overloaded("too many large bodies are waiting for inspection")
            try:
                return await self._ask(subject)
            finally:
                self._turns.free()
        finally:
            self._under_way -= 1

    def renew(self, setup: EngineSetup) -> None:
        """Use these engines for every later body."""
        self._setup = setup
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
            self._ending.append(worker)

    async def stop(self) -> None:
        """End all workers. The bodies that they were inspecting are refused."""
        self._stopped = True
        idle, self._idle = self._idle, []
        for worker in (*idle, *self._busy):
            worker.kill()
        for worker in (*idle, *self._ending):
            await worker.ended()
        while self._under_way:
            await asyncio.sleep(0.005)

    async def _ask(self, subject: Subject) -> Report | Deny:
        if self._stopped:
            return no_report("the bridge is stopping")
        worker: _Worker | None = None
        report: Report | None = None
        try:
            worker = await self._worker()
            report = await worker.ask(subject)
        except _FAILURES as error:
            logger.error("an inspection worker failed: %s", type(error).__name__)
            return no_report(type(error).__name__)
        finally:
            # Also when cancelled: the pipe must never hold the report of another body.
            if worker is not None:
                self._busy.discard(worker)
                if report is None or self._stopped or worker.setup is not self._setup:
                    worker.kill()
                    await worker.ended()
                else:
                    self._idle.append(worker)
        return report

    async def _worker(self) -> _Worker:
        while self._ending:
            await self._ending.pop().ended()
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                self._busy.add(worker)
                return worker
            await worker.ended()
        try:
            worker = await self._start()
        except _FAILURES as error:
            system = error.strerror if isinstance(error, OSError) else None
            self.problem = system or type(error).__name__
            raise
        self.problem = None
        return worker

    async def _start(self) -> _Worker:
        async with asyncio.timeout(START_SECONDS):
            worker = await _Worker.start(self._command)
            self._busy.add(worker)
            try:
                if self._stopped:
                    raise EOFError
                await worker.prepare(self._setup)
            except BaseException:
                self._busy.discard(worker)
                worker.kill()
                await worker.ended()
                raise
        return worker


class _Worker:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.setup: EngineSetup | None = None
        """The settings of its engines."""

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Its error messages could quote client data.
                stderr=asyncio.subprocess.DEVNULL,
                limit=MAX_LINE,
            )
        )

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def prepare(self, setup: EngineSetup) -> None:
        if await self._exchange(setup) != b"\n":
            raise ReportError("not ready")
        self.setup = setup

    async def ask(self, subject: Subject) -> Report:
        clamav = self.setup.clamav if self.setup is not None else None
        seconds = INSPECTION_SECONDS * (1 + subject.body_rule.inflated_limit / BYTES_PER_LIMIT)
        # Longer than the timeout for clamd, so that it is not mistaken for a hanging worker.
        async with asyncio.timeout(seconds + (clamav.seconds if clamav else 0)):
            return read_report(await self._exchange(subject))

    async def _exchange(self, message: object) -> bytes:
        to_worker, from_worker = self._process.stdin, self._process.stdout
        assert to_worker is not None
        assert from_worker is not None
        to_worker.write(framed(message))
        await to_worker.drain()
        line = await from_worker.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> None:
        """Wait until the process has ended, so that it does not remain as a zombie."""
        await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def _overloaded(detail: str) -> Deny:
    return Deny(Reason.OVERLOADED, rules.LIMITS_INSPECTION_WORKERS, detail)
