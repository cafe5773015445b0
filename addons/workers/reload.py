"""Reloads the policy of all workers as one act, from the parent.

1. The parent reads the policy, and opens new listeners. Each worker gets the text of the policy and
   its own new sockets, builds everything, and reports.
2. If all have built it, all take it. If one cannot, or has ended, or is too slow, none does.
3. From the signal to stop, every reload is refused.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from socket import socket
from typing import NamedTuple, Protocol

from ibcm_bridge.addons.run.reload import DRAINING, PolicyText
from ibcm_bridge.addons.workers.orders import DROP, PREPARED, TAKE, Prepare
from ibcm_bridge.addons.workers.process import WorkerProcess
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy_file import PolicyError

logger = logging.getLogger(__name__)

BUILD_SECONDS = 60.0
"""How long a worker may take to build a policy."""

type Done = Callable[[Sequence[str]], None]
"""Called with the problems of a reload."""


class NewPolicy(NamedTuple):
    """A policy that the parent has read and checked."""

    text: PolicyText
    sockets: Sequence[Mapping[Address, Sequence[socket]]]
    """The new sockets of each worker."""


class ReloadedParent(Protocol):
    """The parent, as a reload sees it."""

    def prepare(self) -> NewPolicy:
        """Read the policy and open new listeners. Raise PolicyError."""

    def take(self) -> None:
        """Use the policy for workers that are started later."""

    def drop(self) -> None:
        """Close the new listeners again."""

    def report(self, problems: Sequence[str]) -> None:
        """Report the outcome."""


class WorkersReload:
    """The reloads of a bridge, one after another."""

    def __init__(self, parent: ReloadedParent) -> None:
        self._parent = parent
        self._asked = False
        self._askers: list[Done] = []
        """Those who asked since the last reload began."""
        self._waiting: list[Done] = []
        """Those who wait for the present reload."""
        self._number = 0
        self._workers: list[WorkerProcess] = []
        """The workers that are building a policy; empty without a reload."""
        self._deadline = 0.0
        self._stopped = False

    def ask(self, done: Done | None = None) -> None:
        """Reload as soon as all workers are ready. Then call `done` with the problems."""
        self._asked = True
        if done is not None:
            self._askers.append(done)
        if self._stopped:
            self._refuse_all()

    def stop(self) -> None:
        """Refuse the present reload and every later one. Called before the workers stop."""
        self._stopped = True
        if self._workers or self._asked:
            self._refuse_all()

    def _refuse_all(self) -> None:
        workers, self._workers, self._asked = self._workers, [], False
        self._waiting, self._askers = self._waiting + self._askers, []
        self._refuse(workers, [DRAINING])

    @property
    def due(self) -> float | None:
        """When the workers must have reported, if they build a policy."""
        return self._deadline if self._workers else None

    def go_on(self, workers: Sequence[WorkerProcess | None]) -> None:
        """Do what is possible now. Called after every change of a worker."""
        if self._workers:
            self._await_reports()
        elif self._asked and all(worker is not None and worker.is_ready for worker in workers):
            self._asked = False
            self._begin([worker for worker in workers if worker is not None])

    def _begin(self, workers: list[WorkerProcess]) -> None:
        self._number += 1
        self._waiting, self._askers = self._askers, []
        try:
            policy = self._parent.prepare()
            for worker, sockets in zip(workers, policy.sockets, strict=True):
                worker.reports.clear()
                Prepare(self._number, policy.text, sockets).send_to(worker)
        except PolicyError as error:
            self._refuse(workers, error.problems)
        except Exception as error:  # a defect must not stop the bridge
            logger.exception("defect in a reload")
            self._refuse(workers, [f"defect in the reload: {type(error).__name__}"])
        else:
            self._workers = workers
            self._deadline = time.monotonic() + BUILD_SECONDS

    def _await_reports(self) -> None:
        late = time.monotonic() >= self._deadline
        problems = dict.fromkeys(
            problem
            for number, worker in enumerate(self._workers, 1)
            for problem in self._problems(number, worker, late=late)
        )
        if problems:
            workers, self._workers = self._workers, []
            self._refuse(workers, list(problems))
        elif all(self._report_of(worker) is not None for worker in self._workers):
            for worker in self._workers:
                worker.order(TAKE)
            self._workers = []
            self._parent.take()
            self._report([])

    def _refuse(self, workers: Sequence[WorkerProcess], problems: Sequence[str]) -> None:
        for worker in workers:
            worker.order(DROP)
        self._parent.drop()
        self._report(problems)

    def _report(self, problems: Sequence[str]) -> None:
        self._parent.report(problems)
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(problems)

    def _problems(self, number: int, worker: WorkerProcess, *, late: bool) -> list[str]:
        if worker.status is not None:
            return [f"worker {number} ended during the reload"]
        report = self._report_of(worker)
        if report is None:
            return [f"worker {number} did not report in {BUILD_SECONDS:g} s"] if late else []
        return [] if report == PREPARED else report.split("\n")

    def _report_of(self, worker: WorkerProcess) -> str | None:
        """Return what a worker reports of this reload. It can still report an earlier one."""
        for message in worker.reports:
            number, _, text = message.decode("utf-8", "replace").partition("\n")
            if number == str(self._number):
                return text
        return None
