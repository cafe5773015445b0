"""Whether a site system accepts connections, as far as recent attempts show.

Only attempts to connect count, with the TLS handshake and the certificates of both sides. Responses
do not count, because a client could cause a bad one.

    closed --FAILURES within WINDOW_SECONDS, none succeeded in between--> open
    open   --PROBE_SECONDS after the last failure or probe--> one request probes
    open   --an attempt succeeds--> closed
"""

from __future__ import annotations

from dataclasses import dataclass

FAILURES = 3
WINDOW_SECONDS = 60.0
PROBE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """A state of the breaker. Times are in seconds, by a clock that never goes back."""

    failures: tuple[float, ...] = ()
    """The times of the last failures in a row, at most `FAILURES`."""
    next_probe: float | None = None
    """When the next request may probe the site system; None while the breaker is closed."""

    @property
    def is_open(self) -> bool:
        """Whether others are tried first."""
        return self.next_probe is not None

    def is_due(self, now: float) -> bool:
        """Return whether the next request probes the site system."""
        return self.next_probe is not None and now >= self.next_probe

    def probed(self, now: float) -> Breaker:
        """Return the state after a request begins to probe: no other probes meanwhile."""
        return Breaker(self.failures, now + PROBE_SECONDS)

    def failed(self, now: float) -> Breaker:
        """Return the state after a failed attempt."""
        failures = (*self.failures, now)[-FAILURES:]
        opens = len(failures) == FAILURES and now - failures[0] <= WINDOW_SECONDS
        return Breaker(failures, now + PROBE_SECONDS if opens or self.is_open else None)


CLOSED = Breaker()
"""The state at the start, and after an attempt that succeeded."""
