"""Reloads the policy of all workers as one act, from the parent.

1. The parent reads the policy, and opens new listeners. Each worker gets the text of the policy and
   its own new sockets, builds everything, and reports.
2. If all have built it, all take it. If one cannot, or has ended, or is too slow, none does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from socket import socket
from typing import NamedTuple, Protocol

from ibcm_bridge.addons.workers.orders import DROP, PREPARED, TAKE, Prepare
from ibcm_bridge.addons.workers.process import WorkerProcess
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy_file import PolicyError

BUILD_SECONDS = 60.0
"""How long a worker may take to build a policy."""


class NewPolicy(NamedTuple):
    """A policy that the parent has read and checked."""

    source: bytes
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
        self._workers: list[WorkerProcess] = []
        """The workers that are building a policy; empty without a reload."""
        self._deadline = 0.0

    def ask(self) -> None:
        """Reload as soon as all workers are ready."""
        self._asked = True

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
        try:
            policy = self._parent.prepare()
        except PolicyError as error:
            self._parent.report(error.problems)
            return
        for worker, sockets in zip(workers, policy.sockets, strict=True):
            worker.reports.clear()
            Prepare(policy.source, sockets).send_to(worker)
        self._workers = workers
        self._deadline = time.monotonic() + BUILD_SECONDS

    def _await_reports(self) -> None:
        late = time.monotonic() >= self._deadline
        problems = dict.fromkeys(
            problem
            for number, worker in enumerate(self._workers, 1)
            for problem in _problems(number, worker, late=late)
        )
        if not problems and not all(worker.reports for worker in self._workers):
            return
        for worker in self._workers:
            worker.order(DROP if problems else TAKE)
        self._workers = []
        if problems:
            self._parent.drop()
        else:
            self._parent.take()
        self._parent.report(list(problems))


def _problems(number: int, worker: WorkerProcess, *, late: bool) -> list[str]:
    if worker.status is not None:
        return [f"worker {number} ended during the reload"]
    if not worker.reports:
        return [f"worker {number} did not report in {BUILD_SECONDS:g} s"] if late else []
    first = worker.reports[0]
    return [] if first == PREPARED else first.decode("utf-8", "replace").split("\n")
