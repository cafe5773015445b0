"""The time that a scene may take. Its end on an idle machine is a matter of `benchmarks.scenes`.

Each wait of a scene has its own timeout: 10 s for a response, 20 s for a program of Kerberos. Many
of them, one after the other, would still be a scene that does not seem to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 60.0
"""Three times the goal for an idle machine."""


class TooLong(Exception):
    """A scene that takes longer than its limit."""


class TimeLimit:
    """Counts the time in which a scene acts, and not the time in which its output waits.

    A reader such as `less` does not end a scene.
    """

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._spent = 0.0
        self._began: float | None = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time within the context."""
        self._began = self._clock()
        try:
            yield
        finally:
            self._spent += self._clock() - self._began
            self._began = None

    def check(self) -> None:
        """Raise TooLong after the limit. A scene calls it in a loop that yields nothing."""
        running = 0.0 if self._began is None else self._clock() - self._began
        if self._spent + running > self._seconds:
            raise TooLong(
                f"it took longer than {self._seconds:.0f} seconds; play it again when the machine "
                "is less busy"
            )
