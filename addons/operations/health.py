"""Why this process should get no traffic, and problems that all machines share."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from ibcm_bridge.addons.operations.machine import SPARE_MEMORY, available_memory, out_of_files
from ibcm_bridge.addons.policy_generation import Generation, SharedState
from ibcm_bridge.storage.open_files import open_file_limit

logger = logging.getLogger(__name__)


def not_ready(shared: SharedState, generation: Generation) -> Iterator[str]:
    """Yield problems of this machine, for the operator."""
    if shared.audit.problem is not None:
        yield f"the audit cannot be written: {shared.audit.problem}"
    for problem in (shared.bindings.problem(), shared.uploads.problem()):
        if problem is not None:
            yield problem
    if generation.workers.problem is not None:
        yield f"no inspection process can be started: {generation.workers.problem}"
    if (problem := out_of_files(open_file_limit())) is not None:
        yield problem
    memory = available_memory()
    if memory is not None and memory < SPARE_MEMORY:
        yield f"only {memory >> 20} MiB of memory are left"


def degraded(shared: SharedState, generation: Generation) -> Iterator[str]:
    """Yield problems with which this machine still serves clients.

    Other machines have some of them too. A balancer that took this one away would help nobody.
    """
    if shared.audit.not_reopened is not None:
        yield f"the audit file was renamed, and cannot be opened again: {shared.audit.not_reopened}"
    for problem in (shared.bindings.failure(), shared.uploads.failure()):
        if problem is not None:
            yield problem
    yield from generation.site_systems.problems()


class Changes:
    """Logs each problem once when it begins, and once when it has ended."""

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()

    def update(self, problems: Iterable[str]) -> None:
        """Compare with the problems of the last call."""
        now = frozenset(problems)
        for problem in sorted(now - self._known):
            logger.error("not ready: %s", problem)
        for problem in sorted(self._known - now):
            logger.warning("no longer: %s", problem)
        self._known = now
