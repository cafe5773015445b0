"""What recent requests show of each site system: whether it can be reached, and lets the bridge in.

The states are those of one process and one policy. They choose between site systems, and are for
the operator: nothing is allowed or refused by them.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import TunnelPublication
from ibcm_bridge.policy.site_systems import DEFAULT_PER_SITE_SYSTEM, PerSiteSystem
from ibcm_bridge.site_system_leg.breaker import Breaker
from ibcm_bridge.site_system_leg.refusing_bridge import ResponseCounts

logger = logging.getLogger(__name__)


class SiteSystemKey(NamedTuple):
    """A site system in a role of a publication. A tunnel has no role."""

    publication: str
    role: str
    name: str


class SiteSystemState:
    """The state of one site system. Times are in seconds, by a clock that never goes back."""

    def __init__(self, key: SiteSystemKey, limits: PerSiteSystem = DEFAULT_PER_SITE_SYSTEM) -> None:
        self.breaker = Breaker(limits=limits)
        self._counts = ResponseCounts()
        place = f"{key.publication}: {key.role}" if key.role else key.publication
        self._prefix = f"{key.name}: "
        self.text = f"{place}: {key.name}"

    @property
    def is_available(self) -> bool:
        """Whether the last attempts to connect did not all fail."""
        return not self.breaker.is_open

    @property
    def refuses_bridge(self) -> bool:
        """Whether nearly every client gets 403."""
        return self._counts.refuses_bridge

    def probed(self, now: float) -> None:
        """Note that a request begins to probe it."""
        self.breaker = self.breaker.probed(now)

    def failed(self, cause: str, now: float) -> None:
        """Note a failed attempt to connect. `cause` is for the log."""
        before, self.breaker = self.breaker, self.breaker.failed(now)
        if self.breaker.is_open and not before.is_open:
            logger.warning("%s is not available: %s", self.text, cause.removeprefix(self._prefix))

    def connected(self) -> None:
        """Note that a new connection works."""
        before, self.breaker = self.breaker, self.breaker.connected()
        if before.is_open:
            logger.warning("%s is available again", self.text)

    def responded(self, status: int, client: Hashable, now: float) -> None:
        """Count a response."""
        if not self._counts.count(status, client, now):
            return
        if self.refuses_bridge:
            text = "%s responds with 403 to nearly every client: it seems to refuse the bridge's "
            text += "client certificate; run check --connect, and see the substatus in the IIS log"
            logger.error(text, self.text)
        else:
            logger.warning("%s no longer responds with 403 to nearly every client", self.text)


class SiteSystemStates:
    """The states of all site systems of a policy."""

    def __init__(self, policy: Policy) -> None:
        self._limits = policy.per_site_system
        self._states: dict[tuple[str, str, str], SiteSystemState] = {}
        for _, publication in policy.publications():
            if isinstance(publication, TunnelPublication):
                for address in publication.site_systems:
                    self.of(publication.name, "", address_text(address))
                continue
            for role in publication.directories.values():
                for site_system in role.site_systems.listed:
                    self.of(publication.name, role.profile.name, site_system.name)

    def of(self, publication: str, role: str, name: str) -> SiteSystemState:
        """Return the state of a site system."""
        # Equal to the named tuple, and cheaper to make for each request.
        key: tuple[str, str, str] = publication, role, name
        found = self._states.get(key)
        if found is None:
            named = SiteSystemKey(*key)
            found = self._states[named] = SiteSystemState(named, self._limits)
        return found

    def problems(self) -> Iterator[str]:
        """Yield the roles without an available site system, and the site systems that refuse."""
        roles: dict[tuple[str, str], list[SiteSystemState]] = {}
        for (publication, role, _), state in self._states.items():
            roles.setdefault((publication, role), []).append(state)
        for (publication, role), states in roles.items():
            if not any(state.is_available for state in states):
                place = f"{publication}: {role}" if role else publication
                yield f"{place}: no site system can be connected to"
        for state in self._states.values():
            if state.refuses_bridge:
                yield f"{state.text} responds with 403 to nearly every client"

    def all(self) -> Iterator[tuple[tuple[str, str, str], SiteSystemState]]:
        """Yield each state with its publication, role and name, in the order of the policy."""
        yield from self._states.items()
