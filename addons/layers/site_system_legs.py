"""The site-system legs of a client connection: chosen, opened, kept for the next request, closed.

Each is a small layer stack of its own (`site_system_leg`). Its events are found here and given to
it. What it reports is given to the procedure, but only of the leg in use: on any other nothing was
asked, so a response there is no response, and that leg is closed. The one thing else that counts
is the end of a leg on which the client is authenticated, between two requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import h11
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.layers.client_stream import Patience
from ibcm_bridge.addons.layers.procedure import Item, Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed, News, Opened, Received, SiteSystemLeg
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import TlsVersion
from ibcm_bridge.site_system_leg.origination import (
    Origination,
    WhenClosed,
    authentication_lost,
    certificate_rejected,
    closed_without_response,
    timed_out,
    when_closed,
)
from ibcm_bridge.site_system_leg.response_head import (
    ResponseReader,
    next_response,
    response_reader,
)

LegKey = tuple[Address, str, tuple[str, TlsVersion] | None]
"""Address, names and what was demanded: what was verified as one site system is not another."""


class KeptLegClosed(Refused):
    """A kept leg was closed as the request came, and nothing of a response came back."""

    def __init__(self, denial: Deny, then: WhenClosed) -> None:
        super().__init__(denial)
        self.then = then


@dataclass(frozen=True, slots=True)
class ResponseBegun:
    """The head of a response has come, and none of it has been passed on."""

    approved: Approved
    """What was sent."""
    leg: SiteSystemLeg
    reader: ResponseReader
    response: h11.Response


class SiteSystemLegs:
    """All legs of one client connection, at most one of them in use."""

    def __init__(
        self,
        context: Context,
        connection: ConnectionRecord,
        feed: Callable[[Item], CommandGenerator[None]],
        idle_seconds: float,
    ) -> None:
        """`feed` takes what the leg in use reports; a leg is kept for `idle_seconds`."""
        self.kept: dict[LegKey, SiteSystemLeg] = {}
        self._context = context
        self._connection = connection
        self._feed = feed
        self._idle_seconds = idle_seconds
        self._in_use: SiteSystemLeg | None = None
        self._asked_by: dict[commands.Command, SiteSystemLeg] = {}

    # Events

    def leg_of(self, event: events.Event) -> SiteSystemLeg | None:
        """The leg that an event is of."""
        if isinstance(event, events.CommandCompleted):
            return self._asked_by.pop(event.command, None)
        if isinstance(event, events.ConnectionEvent):
            for leg in self.kept.values():
                if leg.server == event.connection:
                    return leg
        return None

    def carry_out(
        self, leg: SiteSystemLeg, steps: CommandGenerator[None]
    ) -> CommandGenerator[None]:
        """Carry out what a leg does, and take in what it reports."""
        for command in steps:
            if not isinstance(command, News):
                if command.blocking:
                    self._asked_by[command] = leg
                yield command
            elif leg is self._in_use:
                yield from self._feed(command)
            elif isinstance(command, Received):
                yield from self.close_leg(leg)
            elif isinstance(command, Closed) and leg.authenticates and self._in_use is None:
                # It was a part of who the client is, who has to hear of it.
                yield from self._feed(command)

    # Steps of the procedure

    def use(self, terms: Origination, patience: Patience) -> Steps[SiteSystemLeg]:
        """The leg with these terms: one that was kept, or a new one."""
        # Two roles may name one site system and differ in what they demand of it.
        demanded = (terms.tls.verify_name, terms.tls.highest) if terms.tls is not None else None
        key = (terms.address, terms.server_name, demanded)
        leg = self.kept.get(key)
        if leg is not None and self.usable(leg):
            self._in_use = leg
            return leg
        if leg is not None:
            yield from self.close_leg(leg)
            if leg.authenticates:
                raise Refused(authentication_lost(terms.server_name))
        leg = self.kept[key] = self._in_use = SiteSystemLeg(self._context, terms)
        self._connection.may_dial = terms.address
        yield from patience.deadline.move(patience.handshake_seconds)
        yield from self.carry_out(leg, leg.open())
        while not isinstance(item := (yield from patience.next_item()), Opened):
            if isinstance(item, events.Wakeup):
                connected = leg.server.timestamp_tcp_setup is not None
                raise Refused(timed_out(terms.server_name, connected=connected))
        patience.deadline.lift()
        self._connection.may_dial = None
        if item.error is not None:
            raise Refused(_not_opened(leg, item.error))
        return leg

    def ask(
        self, leg: SiteSystemLeg, approved: Approved, patience: Patience
    ) -> Steps[ResponseBegun]:
        """Send exactly what was approved, and read the head of the response."""
        head = approved.authorized.head
        leg.authenticates |= bool(head.values(b"authorization"))
        yield from self.carry_out(leg, leg.send(head.to_bytes() + approved.body))
        reader = response_reader(head, approved.body)
        yield from patience.deadline.move(patience.response_seconds)
        nothing_came = True
        while (response := next_response(reader)) is None:
            item = yield from patience.next_item()
            if isinstance(item, Received):
                nothing_came = False
                reader.receive_data(item.data)
            elif isinstance(item, Closed):
                if (refused := _closed(leg, approved, nothing_came=nothing_came)) is not None:
                    raise refused
                # h11 tells an unfinished head from a connection closed without one.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                silent = Deny(Reason.SITE_SYSTEM_SLOW, rules.LIMITS_RESPONSE_SECONDS, "no response")
                raise Refused(silent)
        patience.deadline.lift()
        if isinstance(response, Deny):
            raise Refused(response)
        return ResponseBegun(approved, leg, reader, response)

    def usable(self, leg: SiteSystemLeg) -> bool:
        """Whether another request can be sent on a leg that was kept."""
        return leg.usable(self._idle_seconds)

    def release(self) -> None:
        """The request is done: no leg is in use, and none may be opened."""
        self._in_use = None
        self._connection.may_dial = None

    def close_in_use(self) -> Steps[None]:
        """Close the leg in use: what is left of its response is for nobody."""
        if self._in_use is not None:
            yield from self.close_leg(self._in_use)
            self._in_use = None

    def close_leg(self, leg: SiteSystemLeg) -> CommandGenerator[None]:
        """Close one."""
        yield from self.carry_out(leg, leg.close())

    def close(self) -> Steps[None]:
        """Close all of them."""
        for leg in self.kept.values():
            yield from self.close_leg(leg)


def _not_opened(leg: SiteSystemLeg, error: str) -> Deny:
    terms = leg.terms
    refused = certificate_rejected(terms.server_name, leg.alert)
    if refused is not None:
        return refused
    connected = leg.server.timestamp_tcp_setup is not None
    reason = Reason.SITE_SYSTEM_UNVERIFIED if connected else Reason.SITE_SYSTEM_UNREACHABLE
    failure = leg.verification_failure
    if failure is not None and terms.tls is not None:
        error = f"cannot be verified as {terms.tls.verify_name}: {failure}"
    return Deny(reason, rules.SITE_SYSTEM, f"{terms.server_name}: {error}")


def _closed(leg: SiteSystemLeg, approved: Approved, *, nothing_came: bool) -> Refused | None:
    """Why there is no response on a leg that was closed; None where there may be one yet."""
    refused = certificate_rejected(leg.server.sni or "", leg.alert)
    if refused is not None:
        return Refused(refused)
    # An alert is a response, too.
    if not leg.kept or not nothing_came or leg.alert is not None:
        return None
    lost = authentication_lost if leg.authenticates else closed_without_response
    authorized = approved.authorized
    then = when_closed(
        authorized.head.method, acts=authorized.acts, authenticates=leg.authenticates
    )
    return KeptLegClosed(lost(leg.terms.server_name), then)
