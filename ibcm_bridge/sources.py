"""Limits for one source address: its connections, and its handshakes of a minute."""

from __future__ import annotations

import collections

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import is_in
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.shares import Holder, source_holder

MINUTE = 60.0

MOST_SOURCES = 65_536
"""Sources whose handshakes are counted. Of more in a minute, those that were seen last count."""


class Sources:
    """What each source has. IPv6 addresses count by their network, as for `shares`."""

    def __init__(self) -> None:
        self._connections: collections.Counter[Holder] = collections.Counter()
        self._full: collections.OrderedDict[Holder, float] = collections.OrderedDict()
        """When a source may make all handshakes of a minute at once again: a leaky bucket."""

    def enter(self, host: str, limits: PerSource, now: float) -> Deny | None:
        """Count a connection, and its handshake. Refuse it over a limit."""
        source = source_holder(host)
        if not is_in(host, limits.exceptions):
            most, rate = limits.connections, limits.handshakes_per_minute
            if most is not None and self._connections[source] >= most:
                return Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_PER_SOURCE_CONNECTIONS)
            if rate is not None and not self._has_turn(source, rate, now):
                return Deny(Reason.TOO_MANY_HANDSHAKES, rules.LIMITS_PER_SOURCE_HANDSHAKES)
        self._connections[source] += 1
        return None

    def leave(self, host: str) -> None:
        """Count the end of a connection that has entered."""
        source = source_holder(host)
        self._connections[source] -= 1
        if not self._connections[source]:
            del self._connections[source]

    def _has_turn(self, source: Holder, rate: int, now: float) -> bool:
        full = max(now, self._full.get(source, now)) + MINUTE / rate
        # The tolerance is far below a handshake, and above what rounding adds up to.
        if full - now > MINUTE + 1e-6:
            return False
        self._full[source] = full
        self._full.move_to_end(source)
        if len(self._full) > MOST_SOURCES:
            self._full.popitem(last=False)
        return True
