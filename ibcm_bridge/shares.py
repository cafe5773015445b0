"""A capacity that several holders share, such as memory or connections.

Nothing is reserved: while there is room, each holder gets what it asks for. When the capacity is
full, the holder with the most gives way, unless the one that asks would then have as much: that one
is refused. So a holder with less than an equal share is never refused. This is "longest queue drop"
(Suter, Lakshman, Stiliadis, Choudhury: "Design Considerations for Supporting TCP with Per-flow
Queueing", INFOCOM 1998).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

type Holder = Hashable
"""Who the held amounts count for, such as a client's key or a source address."""

IPV6_PREFIX = 64
"""Bits. One host can use every address of such a network (RFC 4291 §2.5.1)."""


def source_holder(host: str) -> Holder:
    """The holder for a source address: the IPv4 address, or the IPv6 network of `IPV6_PREFIX`."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return int(address) >> (128 - IPV6_PREFIX)


def _nothing() -> None:
    pass


def _never() -> bool:
    return False


class Hold:
    """An amount that one thing, such as a connection, holds for its holder."""

    __slots__ = ("_ended", "_gave_way", "_give_way", "_holder", "_shares", "busy", "size")

    def __init__(
        self,
        shares: Shares,
        holder: Holder,
        give_way: Callable[[], object],
        busy: Callable[[], bool] = _never,
    ) -> None:
        """`give_way` is called when this hold is ended for another holder. It must not raise.

        Where all holds are equally large, those that are not `busy` give way first.
        """
        self.size = 0
        self.busy = busy
        self._shares = shares
        self._holder = holder
        self._give_way = give_way
        self._ended = False
        self._gave_way = False

    def change(self, to: int) -> bool:
        """Hold `to` from now on. Return False and change nothing if there is no room."""
        if self._ended:
            # Nothing would release it. Code that still runs holds its memory only briefly.
            return not self._gave_way or to == 0
        more = to - self.size
        if not more:
            return True
        if more > 0 and not self._shares.make_room(self._holder, more):
            return False
        self._shares.add(self, self._holder, more)
        self.size = to
        return True

    def count_for(self, holder: Holder, shares: Shares | None = None) -> None:
        """Count the amount for another holder, or in other shares, from now on."""
        self._shares.add(self, self._holder, -self.size)
        self._holder, self._shares = holder, shares or self._shares
        self._shares.add(self, self._holder, self.size)

    def move(self, shares: Shares) -> bool:
        """Hold the amount in other shares from now on. Return False if there is no room.

        It holds nothing then. Of shares within each other, only the new ones need room.
        """
        size = self.size
        self.change(0)
        self._shares = shares
        return self.change(size)

    def end(self) -> None:
        """Release the amount. Later changes have no effect."""
        self.change(0)
        self._ended = True
        # They may refer to what has this hold.
        self._give_way, self.busy = _nothing, _never

    def give_way(self) -> None:
        """End for another holder. Later changes are refused."""
        give_way = self._give_way
        self.end()
        self._gave_way = True
        give_way()


def gives_way[Key: Holder](amounts: Mapping[Key, int], holder: Key, more: int) -> Key | None:
    """The holder that gives way to `holder`, which wants `more`; None if `holder` is refused.

    `amounts` has what each holder holds of a capacity without room.
    """
    most = max(amounts, key=amounts.__getitem__, default=None)
    if most is None or amounts.get(holder, 0) + more >= amounts[most]:
        return None
    return most


class Total(Protocol):
    """What several processes hold of one capacity."""

    processes: int
    """How many have the capacity."""

    def elsewhere(self, at_least: int) -> int:
        """Return what the other processes hold. Each counts for `at_least` if it holds less."""

    def publish(self, held: int) -> None:
        """Tell the other processes what this one holds."""


RESERVED = 2
"""Half of a capacity that several processes have is divided equally among them. A flood that only
some of them get cannot use up the part of the others, where clients with little are then served."""


class Shares:
    """A capacity, and how much of it each holder holds.

    Several processes can have one capacity. Each has a part for itself (`RESERVED`), the rest is
    for all, and the holders of one process share what it may hold. Two processes that count at the
    same moment do not see each other: every process but one can exceed the limit by one addition.
    """

    def __init__(
        self, limit: int, within: Shares | None = None, total: Total | None = None
    ) -> None:
        """`within` is a capacity that this one is a part of."""
        self.limit = limit
        self.held = 0
        self._within = within
        self._total = total
        self._amounts: dict[Holder, int] = {}
        self._holds: dict[Holder, dict[Hold, None]] = {}
        """Of each holder, in the order in which they began."""

    @property
    def is_full(self) -> bool:
        """Whether there is no room, unless a holder gives way."""
        return not self._fits(self.held + 1)

    def make_room(self, holder: Holder, more: int) -> bool:
        """Return whether the holder may have `more`. Others may have to give way for it."""
        while not self._fits(self.held + more):
            most = gives_way(self._amounts, holder, more)
            if most is None:
                return False
            min(self._holds[most], key=_reluctance).give_way()
        return self._within is None or self._within.make_room(holder, more)

    def add(self, hold: Hold, holder: Holder, more: int) -> None:
        """Count `more` for a hold of a holder, or less if negative. Used by `Hold` only."""
        if self._within is not None:
            self._within.add(hold, holder, more)
        if not more:
            return
        self.held += more
        if self._total is not None:
            self._total.publish(self.held)
        holds = self._holds.get(holder)
        if holds is None:
            self._holds[holder], self._amounts[holder] = {hold: None}, more
            return
        self._amounts[holder] += more
        if hold.size + more:
            holds[hold] = None
        else:
            del holds[hold]
            if not holds:
                del self._holds[holder], self._amounts[holder]

    def _fits(self, wanted: int) -> bool:
        """Return whether this process may hold `wanted` in total."""
        if self._total is None:
            return wanted <= self.limit
        own = self.limit // (RESERVED * self._total.processes)
        return wanted <= own or wanted <= self.limit - self._total.elsewhere(own)


def _reluctance(hold: Hold) -> tuple[int, bool]:
    """The largest gives way first, then one that is not busy, then the oldest."""
    return -hold.size, hold.busy()
