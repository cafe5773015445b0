"""The site-system legs of a client connection: selected, opened, kept for later requests, closed.

Each leg is a small layer stack (`site_system_leg`). This module passes events to their leg, and the
reports of the leg in use to the procedure. Other legs have no request, so data on one of them is
not a response: that leg is closed. The only other relevant report is the close of an authenticated
leg between two requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.layers.client_stream import LegWait
from ibcm_bridge.addons.layers.procedure import Item, Steps
from ibcm_bridge.addons.layers.site_system_leg import (
    Closed,
    LegReport,
    Opened,
    Received,
    SiteSystemLeg,
)
from ibcm_bridge.addons.layers.site_system_states import SiteSystemState
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.os_errors import not_connected
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.tls_settings import TlsSettings
from ibcm_bridge.site_system_leg.origination import (
    Origination,
    WhenClosed,
    authentication_lost,
    certificate_rejected,
    closed_without_response,
    not_negotiated,
    timed_out,
    unreachable,
    when_closed,
)
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_reader import (
    ResponseReader,
    next_response,
    response_reader,
)

LegKey = tuple[Address, str, tuple[str, TlsSettings] | None]
"""Address, names and TLS terms. A leg that was verified for one site system is not used for
another."""


class NotConnected(Refused):
    """There is no connection to a site system, and no byte of the request was sent."""


class KeptLegClosed(Refused):
    """A kept leg was closed when the request was sent, before any response data."""

    def __init__(self, denial: Deny, then: WhenClosed) -> None:
        super().__init__(denial)
        self.then = then


@dataclass(frozen=True, slots=True)
class ResponseBegun:
    """The head of a response was read; none of it was forwarded yet."""

    approved: Approved
    """The request that was sent."""
    leg: SiteSystemLeg
    reader: ResponseReader
    response: ReceivedHead


class SiteSystemLegs:
    """All legs of one client connection, at most one of them in use."""

    def __init__(
        self,
        context: Context,
        connection: ConnectionRecord,
        feed: Callable[[Item], CommandGenerator[None]],
        idle_seconds: float,
    ) -> None:
        """`feed` gets the reports of the leg in use. A leg is kept for `idle_seconds`."""
        self.kept: dict[LegKey, SiteSystemLeg] = {}
        self._context = context
        self._connection = connection
        self._feed = feed
        self._idle_seconds = idle_seconds
        self._in_use: SiteSystemLeg | None = None
        self._pending: dict[commands.Command, SiteSystemLeg] = {}

    # Events

    def leg_of(self, event: events.Event) -> SiteSystemLeg | None:
        """Return the leg that an event belongs to, or None."""
        if isinstance(event, events.CommandCompleted):
            return self._pending.pop(event.command, None)
        if isinstance(event, events.ConnectionEvent):
            for leg in self.kept.values():
                if leg.server is event.connection:
                    return leg
        return None

    def execute(self, leg: SiteSystemLeg, steps: CommandGenerator[None]) -> CommandGenerator[None]:
        """Forward the commands of a leg, and handle its reports."""
        for command in steps:
            if not isinstance(command, LegReport):
                if command.blocking:
                    self._pending[command] = leg
                yield command
            elif leg is self._in_use:
                yield from self._feed(command)
            elif isinstance(command, Received):
                yield from self.close_leg(leg)
            elif isinstance(command, Closed) and leg.authenticates and self._in_use is None:
                # The client's authentication is lost, so its connection must be closed too.
                yield from self._feed(command)

    # Steps of the procedure

    def of(self, terms: Origination) -> SiteSystemLeg | None:
        """Return the kept leg with these terms, which may be closed already."""
        return self.kept.get(_key(terms))

    def use(
        self,
        terms: Origination,
        state: SiteSystemState,
        wait: LegWait,
        seconds: float,
        *,
        new: bool = False,
    ) -> Steps[SiteSystemLeg]:
        """Return a leg with these terms: a kept one unless it must be `new`, or a new one.

        Raise NotConnected if the site system cannot be connected to within `seconds`.
        """
        key = _key(terms)
        leg = self.kept.get(key)
        if leg is not None and not new and self.usable(leg):
            self._in_use = leg
            return leg
        if leg is not None:
            yield from self.close_leg(leg)
            if leg.authenticates:
                raise Refused(authentication_lost(terms.server_name))
        leg = self.kept[key] = self._in_use = SiteSystemLeg(self._context, terms, state)
        self._connection.may_dial = terms.address
        yield from wait.deadline.move(seconds)
        yield from self.execute(leg, leg.open())
        while not isinstance(item := (yield from wait.next_item()), Opened):
            if isinstance(item, events.Wakeup):
                connected = leg.server.timestamp_tcp_setup is not None
                raise NotConnected(timed_out(terms.server_name, connected=connected))
        wait.deadline.lift()
        self._connection.may_dial = None
        if item.error is not None:
            raise NotConnected(_not_opened(leg, item.error))
        return leg

    def give_up(self) -> Steps[None]:
        """Give up the leg in use, which may still be connecting."""
        leg, self._in_use = self._in_use, None
        assert leg is not None
        del self.kept[_key(leg.terms)]
        self._connection.may_dial = None
        is_open = leg.server.state is not ConnectionState.CLOSED
        # Not through the layers of the leg, which wait until it is open.
        if is_open or leg in self._pending.values():
            yield commands.CloseConnection(leg.server)

    def send(self, leg: SiteSystemLeg, approved: Approved, wait: LegWait) -> Steps[ResponseBegun]:
        """Send exactly what was approved, and read the head of the response."""
        head = approved.authorized.head
        leg.authenticates |= bool(head.values(b"authorization"))
        yield from self.execute(leg, leg.send(head.to_bytes() + approved.body))
        reader = response_reader(head, approved.body)
        yield from wait.deadline.move(wait.response_seconds)
        nothing_came = True
        while (response := next_response(reader)) is None:
            item = yield from wait.next_item()
            if isinstance(item, Received):
                nothing_came = False
                reader.receive_data(item.data)
            elif isinstance(item, Closed):
                self._note_rejected(leg, wait)
                if (refused := _closed(leg, approved, nothing_came=nothing_came)) is not None:
                    raise refused
                # The reader detects an unfinished head.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                silent = Deny(Reason.SITE_SYSTEM_SLOW, rules.LIMITS_RESPONSE_SECONDS, "no response")
                raise Refused(silent)
        wait.deadline.lift()
        if isinstance(response, Deny):
            raise Refused(response)
        if not leg.kept:
            # Not before: in TLS 1.3 the site system may reject the bridge's certificate until now.
            leg.state.connected()
        leg.state.responded(response.status, self._connection.holder, wait.deadline.now())
        return ResponseBegun(approved, leg, reader, response)

    def _note_rejected(self, leg: SiteSystemLeg, wait: LegWait) -> None:
        rejected = certificate_rejected(leg.terms.server_name, leg.alert)
        if rejected is not None:
            leg.state.failed(rejected.detail, wait.deadline.now())

    def usable(self, leg: SiteSystemLeg) -> bool:
        """Return whether a kept leg can carry another request."""
        return leg.usable(self._idle_seconds)

    def release(self) -> None:
        """End the use of legs by the current request; no new leg may be opened."""
        self._in_use = None
        self._connection.may_dial = None

    def close_in_use(self) -> Steps[None]:
        """Close the leg in use, and discard the rest of its response."""
        if self._in_use is not None:
            yield from self.close_leg(self._in_use)
            self._in_use = None

    def close_leg(self, leg: SiteSystemLeg) -> CommandGenerator[None]:
        """Close one leg."""
        yield from self.execute(leg, leg.close())

    def close(self) -> Steps[None]:
        """Close all legs."""
        for leg in self.kept.values():
            yield from self.close_leg(leg)


def _key(terms: Origination) -> LegKey:
    # Two roles may use the same site system with different TLS terms.
    tls = (terms.tls.verify_name, terms.tls.settings) if terms.tls is not None else None
    return terms.address, terms.server_name, tls


def _not_opened(leg: SiteSystemLeg, error: str) -> Deny:
    terms = leg.terms
    refused = certificate_rejected(terms.server_name, leg.alert)
    if refused is not None:
        return refused
    if leg.server.timestamp_tcp_setup is None:
        return unreachable(terms.server_name, not_connected(error, terms.address))
    failure = leg.verification_failure
    if failure is not None and terms.tls is not None:
        error = f"cannot be verified as {terms.tls.verify_name}: {failure}"
    elif terms.tls is not None:
        error = not_negotiated(leg.alert, terms.tls.settings) or error
    detail = f"{terms.server_name}: {error}"
    return Deny(Reason.SITE_SYSTEM_UNVERIFIED, rules.SITE_SYSTEM, detail)


def _closed(leg: SiteSystemLeg, approved: Approved, *, nothing_came: bool) -> Refused | None:
    """Return why a closed leg has no response, or None if a response may have arrived."""
    refused = certificate_rejected(leg.server.sni or "", leg.alert)
    if refused is not None:
        return Refused(refused)
    # An alert counts as response data: the request is not resent.
    if not leg.kept or not nothing_came or leg.alert is not None:
        return None
    lost = authentication_lost if leg.authenticates else closed_without_response
    authorized = approved.authorized
    then = when_closed(
        authorized.head.method, acts=authorized.acts, authenticates=leg.authenticates
    )
    return KeptLegClosed(lost(leg.terms.server_name), then)
