"""Many clients at once: all of them stay connected, some of them speak at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

from ibcm_bridge.lab.clients.life_cycle import POLICY_REQUEST, REGISTRATION, Step
from ibcm_bridge.lab.simulated.client import Result, SimulatedClient

type Progress = Callable[[str, int], None]
"""Told the name of a phase, and how many clients are through with it."""

MAKING = "keys and certificates"


@dataclass(frozen=True)
class Phase:
    """What all clients did once. Times in seconds, shortest first; of who did not fail."""

    name: str
    failures: Counter[str]
    """What they were told, and how many were."""
    waited: Sequence[float]
    seconds: float

    @property
    def clients(self) -> int:
        """How many there were."""
        return len(self.waited) + self.failures.total()

    def percentile(self, percent: float) -> float:
        """The time within which so many of a hundred were answered (nearest rank)."""
        return self.waited[max(0, ceil(len(self.waited) * percent / 100) - 1)]


class Fleet:
    """Clients, made by `make` from their numbers. To be closed in the end."""

    def __init__(
        self, make: Callable[[int], SimulatedClient], count: int, at_once: int, progress: Progress
    ) -> None:
        self._make = make
        self._count = count
        self._progress = progress
        self._pool = ThreadPoolExecutor(at_once)
        self._clients: list[SimulatedClient] = []

    def run(self, polls: int) -> Iterator[Phase]:
        """All make their keys, all register, all ask for policy so many times.

        It ends early where none of them was answered.
        """
        yield self._all(MAKING, range(self._count), self._made)
        steps = {"registration": REGISTRATION}
        steps |= {f"poll {number}": POLICY_REQUEST for number in range(1, polls + 1)}
        for name, step in steps.items():
            phase = self._all(name, self._clients, _taking(step))
            yield phase
            if not phase.waited:
                return

    def close(self) -> None:
        """Who waits is sent away; what is being done is finished."""
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()

    def _made(self, number: int) -> str:
        self._clients.append(self._make(number))
        return ""

    def _all[One](self, name: str, ones: Sequence[One], act: Callable[[One], str]) -> Phase:
        failures: Counter[str] = Counter()
        waited: list[float] = []

        def timed(one: One) -> tuple[str, float]:
            began = time.perf_counter()
            return act(one), time.perf_counter() - began

        began = time.perf_counter()
        for done, (failure, seconds) in enumerate(self._pool.map(timed, ones), 1):
            if failure:
                failures[failure] += 1
            else:
                waited.append(seconds)
            self._progress(name, done)
        return Phase(name, failures, sorted(waited), time.perf_counter() - began)


def _taking(step: Step) -> Callable[[SimulatedClient], str]:
    """What went wrong; empty where nothing did."""

    def take(client: SimulatedClient) -> str:
        (action,) = client.take(step)
        return "" if action.result is Result.GOOD else action.answer

    return take
