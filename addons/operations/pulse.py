"""Checks the bridge every second, and publishes its state.

It runs with and without metrics: problems of files and of the machine are also logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Protocol

from ibcm_bridge.addons.operations import health, metrics
from ibcm_bridge.addons.operations.board import Board
from ibcm_bridge.addons.operations.clamd import Clamd
from ibcm_bridge.addons.operations.list_checks import check_lists
from ibcm_bridge.addons.operations.numbers import Numbers, Snapshot, together
from ibcm_bridge.addons.operations.readings import (
    CertificateEnds,
    Reading,
    machine_readings,
    readings,
)
from ibcm_bridge.addons.operations.service_manager import WATCHDOG, notify, watchdog_seconds
from ibcm_bridge.addons.operations.stored_counts import StoredCounts
from ibcm_bridge.addons.policy_generation import Generation, SharedState
from ibcm_bridge.addons.renewal.renewal import Kind

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""The interval of the checks."""

SLOW_SECONDS = 15.0
"""The interval of counting the rows of databases and descriptors, and of asking clamd."""

GONE_SECONDS = 10.0
"""A worker that has published nothing for so long has ended, or its event loop is blocked."""


_ACCEPTED, _REFUSED = "accepted", "refused"


class Reloads(Protocol):
    """The reloads of a bridge."""

    done: int
    """Policies that were taken after the start."""
    refused: int
    problems: tuple[str, ...]
    """The problems of the last reload."""


class Observed(Protocol):
    """The parts of a bridge that are observed."""

    shared: SharedState
    generation: Generation

    @property
    def reloads(self) -> Reloads:
        """The reloads since the start."""

    draining: bool
    """True from the signal to stop to the end of the process."""

    def file_problems(self) -> Mapping[Kind, Sequence[str]]:
        """Return why new files are not in use, for the operator, by the kind of the files."""


class Pulse:
    """The checks of one process."""

    def __init__(self, bridge: Observed, numbers: Numbers, board: Board) -> None:
        self._bridge = bridge
        self._numbers = numbers
        self._board = board
        self._changes = health.Changes()
        self._certificates = CertificateEnds(bridge.generation)
        self._slow: list[Reading] = []
        """What takes longer to read."""
        self._counts = StoredCounts()
        self._clamav = Clamd()
        self._lost = 0
        self._reloads = {_ACCEPTED: 0, _REFUSED: 0}
        self._lag = 0.0
        if (before := board.before()) is not None:
            # Counters continue, so that they never decrease.
            numbers.add(before.counters, before.histograms)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check until the exit."""
        self.publish()
        tasks = [asyncio.create_task(task) for task in (self._checks(), self._slow_checks())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def publish(self) -> Snapshot:
        """Check, and publish a snapshot."""
        bridge, numbers = self._bridge, self._numbers
        shared, generation = bridge.shared, bridge.generation
        shared.audit.probe()
        numbers.count(metrics.AUDIT_LOST, more=shared.audit.lost - self._lost)
        self._lost = shared.audit.lost
        self._count_reloads()
        problems = list(health.not_ready(shared, generation))
        self._changes.update(problems)
        if bridge.draining:
            problems.append("the bridge is stopping")
        lists = check_lists(generation, shared.clock())
        degraded = list(health.degraded(shared, generation))
        degraded += [problem for checked in lists for problem in checked.problems()]
        if self._clamav.problem is not None:
            degraded.append(self._clamav.problem)
        if bridge.reloads.problems:
            degraded.append("the last reload was refused; the previous policy stays in use")
        files = {kind: set(texts) for kind, texts in bridge.file_problems().items()}
        degraded += [text for texts in files.values() for text in sorted(texts)]
        # Listeners can have publications of the same name, with the same files.
        degraded = list(dict.fromkeys(degraded))
        gauges = dict(self._gauges())
        gauges.update(value for checked in lists for value in checked.readings())
        for kind, texts in files.items():
            gauges[metrics.FILE_PROBLEMS.name, (kind.value,)] = len(texts)
        gauges[metrics.READY.name, ()] = not problems
        gauges[metrics.DEGRADED.name, ()] = len(degraded)
        snapshot = Snapshot(
            time.monotonic(),
            numbers.counters,
            numbers.histograms,
            gauges,
            tuple(problems),
            tuple(degraded),
        )
        self._board.publish(snapshot)
        return snapshot

    def state(self) -> Snapshot:
        """Return the state of all processes, and the present one of this process."""
        self.publish()
        since = time.monotonic() - GONE_SECONDS
        snapshots = self._board.all()
        state = together([found for found in snapshots if found is not None], since)
        problems = [
            f"worker {number} is not running"
            for number, found in enumerate(snapshots, 1)
            if found is None or found.at < since
        ]
        return _with_workers(state, len(snapshots) - len(problems), problems)

    def _gauges(self) -> Iterator[Reading]:
        shared, generation = self._bridge.shared, self._bridge.generation
        if self._certificates.generation is not generation:
            self._certificates = CertificateEnds(generation)
        yield from readings(shared, generation)
        yield from self._certificates.readings(shared.clock())
        yield from self._slow
        yield from self._counts.readings()
        yield (metrics.POLICY.name, (generation.digest,)), 1.0
        yield (metrics.RELOADED.name, ()), float(not self._bridge.reloads.problems)
        yield (metrics.LOOP_LAG.name, ()), self._lag

    def _count_reloads(self) -> None:
        reloads = self._bridge.reloads
        for outcome, count in ((_ACCEPTED, reloads.done), (_REFUSED, reloads.refused)):
            self._numbers.count(metrics.RELOADS, outcome, more=count - self._reloads[outcome])
            self._reloads[outcome] = count

    async def _checks(self) -> None:
        watchdog = watchdog_seconds()
        interval = min(SECONDS, watchdog or SECONDS)
        while True:
            due = time.monotonic() + interval
            await asyncio.sleep(interval)
            self._lag = max(0.0, time.monotonic() - due)
            if watchdog is not None:
                notify(WATCHDOG)
            try:
                self.publish()
            except Exception as error:  # a defect here must not stop the bridge
                self._defect(error)

    async def _slow_checks(self) -> None:
        while True:
            try:
                generation = self._bridge.generation
                await self._clamav.check(generation.policy.clamav)
                self._slow = [*self._clamav.readings(), *machine_readings()]
                await generation.workers.try_again()
                await self._counts.read(self._bridge.shared)
            except Exception as error:
                self._defect(error)
            await asyncio.sleep(SLOW_SECONDS)

    def _defect(self, error: Exception) -> None:
        self._numbers.count(metrics.DEFECTS)
        logger.error("defect in the checks of the bridge: %s", type(error).__name__)


def _with_workers(state: Snapshot, running: int, problems: list[str]) -> Snapshot:
    gauges = {**state.gauges, (metrics.WORKERS.name, ()): float(running)}
    # The remaining workers serve new connections of the others as soon as these are replaced.
    degraded = (*state.degraded, *problems)
    return Snapshot(state.at, state.counters, state.histograms, gauges, state.not_ready, degraded)
