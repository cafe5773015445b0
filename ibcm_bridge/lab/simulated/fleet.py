"""Many clients: all stay connected, and some of them send at a time."""

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
"""Called with the name of a phase and the number of clients that completed it."""

MAKING = "keys and certificates"


@dataclass(frozen=True)
class Phase:
    """One action of all clients. `waited`: sorted latencies in seconds, without failures."""

    name: str
    failures: Counter[str]
    """Error -> number of clients."""
    waited: Sequence[float]
    seconds: float

    @property
    def clients(self) -> int:
        """The number of clients."""
        return len(self.waited) + self.failures.total()

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latency in seconds (nearest rank)."""
        return self.waited[max(0, ceil(len(self.waited) * percent / 100) - 1)]


class Fleet:
    """Clients, created by `make` from their numbers. The caller must close it."""

    def __init__(
        self, make: Callable[[int], SimulatedClient], count: int, at_once: int, progress: Progress
    ) -> None:
        self._make = make
        self._count = count
        self._progress = progress
        self._pool = ThreadPoolExecutor(at_once)
        self._clients: list[SimulatedClient] = []

    def run(self, polls: int) -> Iterator[Phase]:
        """Create the keys, register, and request policy `polls` times.

        It ends early if all clients fail.
        """
        yield self._phase(MAKING, range(self._count), self._create)
        steps = {"registration": REGISTRATION}
        steps |= {f"poll {number}": POLICY_REQUEST for number in range(1, polls + 1)}
        for name, step in steps.items():
            phase = self._phase(name, self._clients, _running(step))
            yield phase
            if not phase.waited:
                return

    def close(self) -> None:
        """Cancel waiting actions, complete running ones, and close the clients."""
        self._pool.shutdown(cancel_futures=True)
        for client in self._clients:
            client.close()

    def _create(self, number: int) -> str:
        self._clients.append(self._make(number))
        return ""

    def _phase[T](self, name: str, items: Sequence[T], act: Callable[[T], str]) -> Phase:
        failures: Counter[str] = Counter()
        waited: list[float] = []

        def timed(item: T) -> tuple[str, float]:
            began = time.perf_counter()
            return act(item), time.perf_counter() - began

        began = time.perf_counter()
        for done, (failure, seconds) in enumerate(self._pool.map(timed, items), 1):
            if failure:
                failures[failure] += 1
            else:
                waited.append(seconds)
            self._progress(name, done)
        return Phase(name, failures, sorted(waited), time.perf_counter() - began)


def _running(step: Step) -> Callable[[SimulatedClient], str]:
    """Return a function that runs the step, and returns the error or an empty string."""

    def run(client: SimulatedClient) -> str:
        (action,) = client.run(step)
        return "" if action.result is Result.GOOD else action.response

    return run
