"""The order in which a request tries the site systems of its role.

A site system whose breaker is open comes last, but is not left out: while none is known to accept
connections, each is tried, so a breaker alone refuses no request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ibcm_bridge.policy.site_systems import Order, SiteSystem, SiteSystems
from ibcm_bridge.site_system_leg.breaker import Breaker


@dataclass(frozen=True, slots=True)
class Attempts[Place]:
    """The site systems that a request tries, in order."""

    places: tuple[Place, ...]
    probe: Place | None = None
    """The first one, if its breaker is open and this request probes it."""


def preferred(site_systems: SiteSystems, client: bytes) -> Sequence[SiteSystem]:
    """Return the site systems in the order for a client while all accept connections.

    `client` identifies the client. By client, the weight of each site system depends on its name
    and the client only (rendezvous hashing: Thaler and Ravishankar, "Using Name-Based Mappings to
    Increase Hit Rates", 1998). If one is removed, only its own clients change to another.
    """
    if site_systems.order is Order.AS_LISTED or len(site_systems.listed) == 1:
        return site_systems.listed

    def weight(site_system: SiteSystem) -> bytes:
        name = site_system.name.encode("ascii")
        return hashlib.sha256(b"%d:%b%b" % (len(name), name, client)).digest()

    return sorted(site_systems.listed, key=weight, reverse=True)


def attempts[Place](
    places: Sequence[Place], breaker_of: Callable[[Place], Breaker], now: float
) -> Attempts[Place]:
    """Return the order for a request, from that of its client."""
    if len(places) == 1:
        return Attempts(tuple(places))
    closed = [place for place in places if not breaker_of(place).is_open]
    opened = [place for place in places if breaker_of(place).is_open]
    due = next((place for place in opened if breaker_of(place).is_due(now)), None)
    if due is None:
        return Attempts((*closed, *opened))
    others = [place for place in (*closed, *opened) if place != due]
    return Attempts((due, *others), due)


def share_of_time(seconds: float, left: int) -> float:
    """Return the time for one attempt in seconds, of those that are left for `left` site systems.

    So one that does not respond leaves time for the others.
    """
    return max(0.0, seconds) / left
