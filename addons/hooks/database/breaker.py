"""Whether a database is asked at all, after it has failed.

A request that asks a shared database without a response waits for the whole time limit. After one
such wait, the others are refused at once; one at a time tries again. A file fails at once, so each
request tries it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ibcm_bridge.storage.database import DatabaseError

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
REPORT_SECONDS = 600.0
"""For how long a failure is reported. On a quiet day, nothing would show that it is over."""


class DatabaseBreaker:
    """The state of one database. For any thread."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._next_try = 0.0
        self._failed = 0.0
        self.problem: str | None = None
        """Why the database cannot be used; None if it can."""

    def waiting(self) -> str | None:
        """Return why the next try is not yet due; None if the database may be asked."""
        return self.problem if self._clock() < self._next_try else None

    def refusal(self) -> str | None:
        """Return why the database must not be asked now; None if the caller asks it."""
        if self.problem is None:
            return None
        if (problem := self.waiting()) is not None:
            return problem
        self._next_try = self._clock() + self._retry_seconds
        return None

    def reported(self) -> str | None:
        """Return the problem for the health of the bridge, if it is recent; None otherwise."""
        is_recent = self._clock() - self._failed < REPORT_SECONDS
        return self.problem if is_recent else None

    def failed(self, problem: str) -> None:
        """Count a failure of the database, not of a statement."""
        if self.problem is None:
            logger.error("%s", problem)
        self.problem = problem
        self._failed = self._clock()
        self._next_try = self._failed + self._retry_seconds

    def succeeded(self) -> None:
        """Count a response."""
        if self.problem is not None:
            logger.warning("no longer: %s", self.problem)
        self.problem = None


def of_a_file() -> DatabaseBreaker:
    """Return the state of a file: each request tries to change it."""
    return DatabaseBreaker(retry_seconds=0.0)


def guarded[Found](
    breaker: DatabaseBreaker,
    work: Callable[[], Found],
    unavailable: type[DatabaseError],
) -> Found:
    """Work with a database in a thread, unless it has failed just now: then raise `unavailable`.

    Work that only reads can succeed while every change fails, so it needs a breaker of its own.
    """
    if (refusal := breaker.refusal()) is not None:
        raise unavailable(refusal)
    try:
        found = work()
    except DatabaseError as error:
        if not error.of_statement:
            breaker.failed(str(error))
        raise
    breaker.succeeded()
    return found
