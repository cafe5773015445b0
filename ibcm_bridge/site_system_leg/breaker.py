"""Whether a site system accepts connections, as far as recent attempts show.

Only attempts to connect count, with the TLS handshake and the certificates of both sides. Responses
do not count, because a client could cause a bad one.

    closed --`failures` within `within_seconds`, none succeeded in between--> open
    open   --`probe_seconds` after the last failure or probe--> one request probes
    open   --an attempt succeeds--> closed

The limits are those of the policy: `limits.per_site_system`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.policy.site_systems import DEFAULT_PER_SITE_SYSTEM, PerSiteSystem


@dataclass(frozen=True, slots=True)
class Breaker:
    """A state of the breaker. Times are in seconds, by a clock that never goes back."""

    failures: tuple[float, ...] = ()
    """The times of the last failures in a row, at most `limits.failures`."""
    next_probe: float | None = None
    """When the next request may probe the site system; None while the breaker is closed."""
    limits: PerSiteSystem = DEFAULT_PER_SITE_SYSTEM

    @property
    def is_open(self) -> bool:
        """Whether others are tried first."""
        return self.next_probe is not None

    def is_due(self, now: float) -> bool:
        """Return whether the next request probes the site system."""
        return self.next_probe is not None and now >= self.next_probe

    def probed(self, now: float) -> Breaker:
        """Return the state after a request begins to probe: no other probes meanwhile."""
        return Breaker(self.failures, now + self.limits.probe_seconds, self.limits)

    def failed(self, now: float) -> Breaker:
        """Return the state after a failed attempt."""
        limits = self.limits
        failures = (*self.failures, now)[-limits.failures :]
        is_full = len(failures) == limits.failures
        opens = is_full and now - failures[0] <= limits.within_seconds
        next_probe = now + limits.probe_seconds if opens or self.is_open else None
        return Breaker(failures, next_probe, limits)

    def connected(self) -> Breaker:
        """Return the state after an attempt that succeeded."""
        return Breaker(limits=self.limits)


CLOSED = Breaker()
"""The state at the start, with the limits of a policy that does not change them."""
