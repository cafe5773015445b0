"""The layer of a bridged connection: HTTP/1.1, one request after another (`exchange`).

Events of a site-system leg go to that leg, all others to the procedure `_serve`.
"""

from __future__ import annotations

from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import ExchangeEndedHook
from ibcm_bridge.addons.layers.client_stream import ClientDisconnected, ClientStream
from ibcm_bridge.addons.layers.exchange import BridgedConnection, Exchange
from ibcm_bridge.addons.layers.procedure import Procedure, Steps
from ibcm_bridge.addons.layers.site_system_choice import SiteSystemChoice
from ibcm_bridge.addons.layers.site_system_legs import KeptLegClosed, SiteSystemLegs
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.layers.small_layer import SmallLayer
from ibcm_bridge.addons.layers.withdrawal import withdraw
from ibcm_bridge.addons.stages import GuardedHooks, result_of
from ibcm_bridge.decisions.denial import Refused
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.site_system_leg.origination import WhenClosed


class ExchangeLayer(SmallLayer):
    """Serves HTTP/1.1 to the client, with separate legs to the site systems."""

    def __init__(
        self,
        context: Context,
        connection: ConnectionRecord,
        limits: Limits,
        hooks: GuardedHooks,
        states: SiteSystemStates,
    ) -> None:
        super().__init__(context)
        self._connection = connection
        self._limits = limits
        self._requests = 0
        self._stream = ClientStream(context.client, connection, limits)
        self._procedure = Procedure()
        self.legs = SiteSystemLegs(
            context, connection, self._procedure.feed, limits.site_system_idle_seconds
        )
        choice = SiteSystemChoice(connection, self.legs, states)
        self._bridged = BridgedConnection(
            context, connection, self._stream, self.legs, choice, hooks
        )

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        leg = self.legs.leg_of(event)
        if leg is not None:
            yield from self.legs.execute(leg, leg.stack.handle_event(event))
        elif isinstance(event, events.Start):
            yield from self._procedure.begin(self._serve())
        elif isinstance(event, events.Wakeup):
            if (yield from self._stream.deadline.passed(event)):
                yield from self._procedure.feed(event)
        elif (
            not isinstance(event, events.ConnectionEvent) or event.connection is self.context.client
        ):
            # Events of a replaced leg are ignored.
            yield from self._procedure.feed(event)

    def _serve(self) -> Steps[None]:
        began = self._stream.deadline.now()
        while (yield from self._stream.await_request()):
            self._requests += 1
            age = self._stream.deadline.now() - began
            if self._requests >= self._limits.connection_requests or (
                age >= self._limits.connection_seconds
            ):
                self._connection.ends_after_response = True
            if not (yield from self._one_request()):
                break
        yield from self.legs.close()
        yield from self._stream.close()

    def _one_request(self) -> Steps[bool]:
        exchange = Exchange(self._bridged, self._stream.wait())
        self._connection.begin_request(exchange)
        keep_alive = False
        try:
            keep_alive = yield from self._respond(exchange)
        except ClientDisconnected:
            yield from exchange.incomplete("the client closed the connection")
        self.legs.release()
        self._connection.end_request()
        if (ended := exchange.end()) is not None:
            yield from result_of(self._bridged.hooks, ExchangeEndedHook(ended))
        yield from self._stream.end_request(keep_alive=keep_alive)
        return keep_alive

    def _respond(self, exchange: Exchange) -> Steps[bool]:
        try:
            return (yield from exchange.serve())
        except Refused as refused:
            denial = refused.denial
            exchange.deny(denial)
            if isinstance(refused, KeptLegClosed) and refused.then is WhenClosed.CLOSE:
                # With a response the client would not resend the request (protocol.md §1.2).
                yield from exchange.show_error(denial.reason.value)
                return False
            yield from withdraw(self._bridged, exchange, denial)
            yield from exchange.refuse(denial)
            return False
