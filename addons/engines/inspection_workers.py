"""Large bodies are looked at in processes of their own.

YARA-X and expat hold the interpreter for as long as a call takes, and a YARA-X scanner must stay on
the thread that made it: a thread would neither let the bridge go on nor work. A process also can be
ended when it hangs, and takes nothing with it when it crashes.

1. A worker is started when it is first needed and then kept, at most `size` of them.
2. At most as many bodies wait as `WAITING` says, for at most `WAIT_SECONDS`; more are refused.
3. A worker that does not report in time, dies, or says anything else is killed, and what it was
   asked about is refused. The next body gets another worker.
4. When there are other rules, workers that are idle are ended, and others when they are done.
5. Workers end with their input, so none outlives the bridge, however that ends.
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

logger = logging.getLogger(__name__)

WAITING = 16
"""Bodies that may wait, for each worker."""

WAIT_SECONDS = 60.0
START_SECONDS = 30.0
INSPECTION_SECONDS = 60.0
"""For one body; a payload at the limit takes one or two. Longer than the engines' own limits."""

# -P: nothing is imported from the folder that the bridge was started in.
COMMAND = (sys.executable, "-P", "-m", "ibcm_bridge.addons.engines.inspection_worker")

_FAILURES = (OSError, EOFError, ValueError, TimeoutError)
"""What speaking to a worker can come to; ReportError and over-long lines are ValueErrors."""


class InspectionWorkers:
    """The workers of one bridge."""

    def __init__(self, setup: EngineSetup, size: int, command: Sequence[str] = COMMAND) -> None:
        self._setup = setup
        self._size = size
        self._command = command
        self._free = asyncio.Semaphore(size)
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._under_way = 0
        self._stopped = False
        self._ending: list[_Worker] = []
        """Killed, and not waited for yet."""

    @property
    def under_way(self) -> int:
        """Bodies being looked at or waiting for it."""
        return self._under_way

    async def inspect(self, subject: Subject) -> Report | Deny:
        """What a worker has to say of a subject. Never raises but for cancellation."""
        if self._under_way >= self._size * (1 + WAITING):
            return _too_many("too many large bodies are waiting to be inspected")
        self._under_way += 1
        try:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._free.acquire()
            except TimeoutError:
                return _too_many("no worker was free in time")
            try:
                return await self._ask(subject)
            finally:
                self._free.release()
        finally:
            self._under_way -= 1

    def renew(self, setup: EngineSetup) -> None:
        """Have every body that is asked about from now on looked at by these engines."""
        self._setup = setup
        idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
            self._ending.append(worker)

    async def stop(self) -> None:
        """End all workers; what they were looking at is refused."""
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
            return no_report("the bridge stops")
        worker: _Worker | None = None
        report: Report | None = None
        try:
            worker = await self._worker()
            report = await worker.ask(subject)
        except _FAILURES as error:
            logger.error("an inspection worker failed: %s", type(error).__name__)
            return no_report(type(error).__name__)
        finally:
            # Also when cancelled: the report of another body must never be waiting in its pipe.
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
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.setup: EngineSetup | None = None
        """What its engines were made of."""

    @classmethod
    async def start(cls, command: Sequence[str]) -> Self:
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # What it could say in its own words may quote what a client sent.
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
        # A daemon that never answers is to be told from a worker that hangs.
        async with asyncio.timeout(INSPECTION_SECONDS + (clamav.seconds if clamav else 0)):
            return read_report(await self._exchange(subject))

    async def _exchange(self, message: object) -> bytes:
        given, said = self._process.stdin, self._process.stdout
        assert given is not None
        assert said is not None
        given.write(framed(message))
        await given.drain()
        line = await said.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> None:
        """Wait until it has; nothing of it stays behind."""
        await self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()


def _too_many(detail: str) -> Deny:
    return Deny(Reason.OVERLOADED, rules.LIMITS_INSPECTION_WORKERS, detail)
