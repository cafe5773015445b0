"""The choice of a site system for a request, and the failover to another one.

Only a site system that cannot be connected to is replaced, with the TLS handshake and the
certificates of both sides. Then no byte of the request has been sent, so no request is processed
twice (RFC 9110 §9.2.2). After an error or a bad response, a sent request goes to no other site
system. A resend can: that of a GET, HEAD or PROPFIND whose kept leg closed without a response.

An upload stays with the site system that has its session, and Windows authentication with the leg
on which it began: another site system knows neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.layers.client_stream import LegWait
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.addons.layers.site_system_legs import NotConnected, SiteSystemLegs
from ibcm_bridge.addons.layers.site_system_states import SiteSystemState, SiteSystemStates
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.policy.site_systems import SiteSystem
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.site_system_leg.origination import originate
from ibcm_bridge.site_system_leg.selection import attempts, preferred, share_of_time


@dataclass(slots=True)
class Tried:
    """The site systems that were tried for a request."""

    site_system: str | None = None
    """The name of the last one."""
    sent: bool = False
    """True if the request was sent, and is sent again on a new leg."""
    failures: list[Deny] = field(default_factory=list)
    """Why the ones before it were not connected to."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the audit."""
        return tuple(f"another site system was tried: {each.detail}" for each in self.failures)


class SiteSystemChoice:
    """Chooses the site systems for the requests of one client connection."""

    def __init__(
        self, connection: ConnectionRecord, legs: SiteSystemLegs, states: SiteSystemStates
    ) -> None:
        self._connection = connection
        self._legs = legs
        self._states = states

    def leg(
        self,
        publication: HttpPublication,
        authorized: Authorized,
        bound_to: str | None,
        wait: LegWait,
        tried: Tried,
    ) -> Steps[SiteSystemLeg]:
        """Return a leg for an authorized request, and note in `tried` which were tried.

        `bound_to` names the only site system for the request, if there is one. Raise Refused if
        there is no leg: by the last one that was tried.
        """

        role = authorized.role.name
        if len(authorized.site_systems.listed) == 1:
            only = authorized.site_systems.first
            state = self._states.of(publication.name, role, only.name)
            tried.site_system = only.name
            return (yield from self._use(publication, only, state, wait, wait.connect_seconds))

        def state_of(site_system: SiteSystem) -> SiteSystemState:
            return self._states.of(publication.name, role, site_system.name)

        now = wait.deadline.now()
        until = now + wait.connect_seconds
        places = self._places(publication, authorized, bound_to)
        found = attempts(places, lambda place: state_of(place).breaker, now)
        if found.probe is not None:
            state_of(found.probe).probed(now)
        *others, last = found.places
        for left, site_system in zip(range(len(others), 0, -1), others, strict=True):
            tried.site_system, state = site_system.name, state_of(site_system)
            seconds = share_of_time(until - wait.deadline.now(), left + 1)
            new = tried.sent or site_system is found.probe
            using = self._use(publication, site_system, state, wait, seconds, new=new)
            try:
                return (yield from using)
            except NotConnected as failed:
                tried.failures.append(failed.denial)
                yield from self._legs.give_up()
        tried.site_system, state = last.name, state_of(last)
        seconds = share_of_time(until - wait.deadline.now(), 1)
        return (yield from self._use(publication, last, state, wait, seconds, new=tried.sent))

    def _use(
        self,
        publication: HttpPublication,
        site_system: SiteSystem,
        state: SiteSystemState,
        wait: LegWait,
        seconds: float,
        *,
        new: bool = False,
    ) -> Steps[SiteSystemLeg]:
        """Return a leg to this site system. Raise NotConnected."""
        terms = originate(publication, site_system)
        try:
            return (yield from self._legs.use(terms, state, wait, seconds, new=new))
        except NotConnected as failed:
            state.failed(failed.denial.detail, wait.deadline.now())
            raise

    def _places(
        self, publication: HttpPublication, authorized: Authorized, bound_to: str | None
    ) -> Sequence[SiteSystem]:
        """Return the site systems for a request, in the order for its client."""
        site_systems = authorized.site_systems
        for site_system in site_systems.listed:
            leg = self._legs.of(originate(publication, site_system))
            is_bound = leg is not None and leg.authenticates
            if site_system.name == bound_to or (bound_to is None and is_bound):
                return (site_system,)
        return preferred(site_systems, self._client_key)

    @property
    def _client_key(self) -> bytes:
        client = self._connection.authenticated
        if isinstance(client, AuthenticatedClient):
            return client.certificate.public_key
        return str(self._connection.holder).encode()
