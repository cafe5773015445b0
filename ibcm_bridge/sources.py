"""Limits for one source address: its connections, and its handshakes of a minute."""

from __future__ import annotations

import collections
from typing import Protocol

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import is_in
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.shares import Holder, source_holder

MINUTE = 60.0

MOST_SOURCES = 65_536
"""Sources whose handshakes are counted. Of more in a minute, those that were seen last count."""


class Elsewhere(Protocol):
    """What sources have at the other processes of a bridge."""

    def connections(self, source: Holder) -> int:
        """Return the number of its connections there."""

    def count(self, source: Holder, more: int) -> None:
        """Tell them of more connections here, or fewer if negative."""

    def full_at(self, source: Holder) -> float:
        """Return when it may make all handshakes of a minute at once again, at all processes."""

    def set_full_at(self, source: Holder, when: float) -> None:
        """Set that time. It never becomes earlier."""


class Sources:
    """What each source has. IPv6 addresses count by their network, as for `shares`.

    With several processes, those that count in the same moment do not see each other: each of them
    but one can exceed a limit by one.
    """

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        """`elsewhere`: the other processes that have the limits too."""
        self._elsewhere = elsewhere
        self._connections: collections.Counter[Holder] = collections.Counter()
        self._full: collections.OrderedDict[Holder, float] = collections.OrderedDict()
        """When a source may make all handshakes of a minute at once again: a leaky bucket."""

    def enter(self, host: str, limits: PerSource, now: float) -> Deny | None:
        """Count a connection, and its handshake. Refuse it over a limit."""
        source = source_holder(host)
        if not is_in(host, limits.exceptions):
            most, rate = limits.connections, limits.handshakes_per_minute
            if most is not None and self._held(source) >= most:
                return Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_PER_SOURCE_CONNECTIONS)
            if rate is not None and not self._has_turn(source, rate, now):
                return Deny(Reason.TOO_MANY_HANDSHAKES, rules.LIMITS_PER_SOURCE_HANDSHAKES)
        self._count(source, 1)
        return None

    def leave(self, host: str) -> None:
        """Count the end of a connection that has entered."""
        self._count(source_holder(host), -1)

    def _held(self, source: Holder) -> int:
        there = self._elsewhere.connections(source) if self._elsewhere is not None else 0
        return self._connections[source] + there

    def _count(self, source: Holder, more: int) -> None:
        self._connections[source] += more
        if not self._connections[source]:
            del self._connections[source]
        if self._elsewhere is not None:
            self._elsewhere.count(source, more)

    def _has_turn(self, source: Holder, rate: int, now: float) -> bool:
        there = self._elsewhere
        before = self._full.get(source, now) if there is None else there.full_at(source)
        full = max(now, before) + MINUTE / rate
        # The tolerance is far below a handshake, and above what rounding adds up to.
        if full - now > MINUTE + 1e-6:
            return False
        if there is not None:
            there.set_full_at(source, full)
            return True
        self._full[source] = full
        self._full.move_to_end(source)
        if len(self._full) > MOST_SOURCES:
            self._full.popitem(last=False)
        return True
