"""The first layer of a connection: it detects the protocol and selects the publication.

1. Bytes are stored until they contain a whole ClientHello, with limits in size and time.
2. If they do not begin like TLS, the client gets a short HTTP response with the reason, and the
   connection is closed (BRIDGE-HTTPS-ONLY). A plaintext listener does the reverse: TLS gets an
   alert, HTTP gets the exchange layer, and the steps below do not apply.
3. `routing.route` maps the server name to a publication or a refusal, which is a TLS alert.
4. A tunneled publication gets the relay. A bridged one gets TLS with client authentication and the
   exchange layer. The new layer gets the stored bytes, and this layer only forwards events.
"""

from __future__ import annotations

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.tunnel import TunnelState

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import (
    ConnectionRefusedHook,
    GiveWay,
    RefusedConnection,
    TurnedAwayHook,
)
from ibcm_bridge.addons.layers.client_tls import BridgedClientTls
from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.layers.small_layer import SmallLayer
from ibcm_bridge.addons.layers.tunnel import RelayLayer
from ibcm_bridge.addons.stages import GuardedHooks
from ibcm_bridge.addons.tls.alerts import alert_record
from ibcm_bridge.authentication.client import admit_anonymous
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.publications import Listener, PlaintextListener, TunnelPublication
from ibcm_bridge.routing.client_hello import read_client_hello, whole_client_hello
from ibcm_bridge.routing.proxy_header import starts_like_proxy_header
from ibcm_bridge.routing.publication import route

_TLS_HANDSHAKE = 0x16
_TLS_PREFIX = 3

_NO_BALANCER = Deny(
    Reason.PROXY_HEADER,
    rules.LISTENER_PROXY_PROTOCOL,
    "the listener accepts no PROXY header from this address",
)


class FrontDoorLayer(SmallLayer):
    """Decides what a connection becomes."""

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
        self._hooks = hooks
        self._states = states
        self._received = bytearray()
        self._deadline = Deadline()
        self._child: Layer | None = None
        self._successor: Layer | None = None
        """The child, when this layer has nothing left to decide."""
        self._closed = False

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event, or let the child handle it if nothing is left to decide."""
        if self._successor is not None:
            return self._successor.handle_event(event)
        return super().handle_event(event)

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Wakeup) and (yield from self._deadline.passed(event)):
            yield from self._time_out()
        elif isinstance(event, GiveWay) and not self._settled:
            yield from self._turn_away()
        elif self._child is not None:
            yield from self._pass_to(self._child, event)
        elif isinstance(event, events.Start):
            yield from self._deadline.move(self._limits.handshake_seconds)
        elif self._closed:
            pass
        elif isinstance(event, events.DataReceived):
            self._received += event.data
            yield from self._decide()
        elif isinstance(event, events.ConnectionClosed):
            # No request, so no refusal: for example a health check.
            yield from self._close()

    @property
    def _settled(self) -> bool:
        """True after the handshake of a bridged connection, and for a tunnel."""
        connection = self._connection
        tunneled = isinstance(connection.publication, TunnelPublication)
        return connection.authenticated is not None or tunneled

    def _decide(self) -> CommandGenerator[None]:
        data = bytes(self._received)
        if isinstance(self._connection.listener, PlaintextListener):
            return (yield from self._decide_plaintext(self._connection.listener, data))
        if data[0] != _TLS_HANDSHAKE:
            if starts_like_proxy_header(data):
                return (yield from self._refuse(_NO_BALANCER))
            return (yield from self._refuse_plaintext())
        if len(data) >= _TLS_PREFIX and not starts_like_tls_record(data):
            return (
                yield from self._refuse(Deny(Reason.NOT_TLS, rules.LISTENER, "not a TLS record"))
            )
        # The limit also applies to a ClientHello that arrives at once.
        within = data[: self._limits.client_hello]
        hello = whole_client_hello(within)
        if isinstance(hello, Deny):
            return (yield from self._refuse(hello))
        if hello is None:
            if len(data) > self._limits.client_hello:
                size = f"more than {self._limits.client_hello} bytes"
                too_large = Deny(Reason.CLIENT_HELLO_TOO_LARGE, rules.LIMITS_CLIENT_HELLO, size)
                yield from self._refuse(too_large)
            return None
        facts = read_client_hello(hello)
        if isinstance(facts, Deny):
            return (yield from self._refuse(facts))
        self._connection.server_name = facts.server_name
        publication = route(self._connection.listener, facts)
        if isinstance(publication, Deny):
            return (yield from self._refuse(publication))
        self._connection.publication = publication
        if isinstance(publication, TunnelPublication):
            if not self._connection.open_tunnel():
                return (yield from self._turn_away())
            self._deadline.lift()
            child: Layer = RelayLayer(
                self.context, self._connection, publication, self._limits, self._states
            )
        else:
            self._connection.client_hello = within
            self.context.client.sni = facts.server_name
            connection = self._connection
            child = BridgedClientTls(self.context, lambda: connection.handshake_refusal is not None)
            child.child_layer = self._exchange_layer()
        return (yield from self._continue_with(child, data))

    def _decide_plaintext(self, listener: PlaintextListener, data: bytes) -> CommandGenerator[None]:
        """Serve HTTP for the only publication of a plaintext listener (VERB-FSP)."""
        if data[0] == _TLS_HANDSHAKE:
            tls_here = Deny(
                Reason.TLS_ON_PLAINTEXT, rules.LISTENER_PLAINTEXT, "TLS on an HTTP port"
            )
            return (yield from self._refuse(tls_here))
        client = admit_anonymous(listener.publication)
        if isinstance(client, Deny):
            return (yield from self._refuse(client))
        self._connection.publication = listener.publication
        if not self._connection.admit(client):
            return (yield from self._turn_away())
        self._deadline.lift()
        return (yield from self._continue_with(self._exchange_layer(), data))

    def _exchange_layer(self) -> ExchangeLayer:
        return ExchangeLayer(
            self.context, self._connection, self._limits, self._hooks, self._states
        )

    def _continue_with(self, child: Layer, data: bytes) -> CommandGenerator[None]:
        self._child = child
        yield from child.handle_event(events.Start())
        yield from self._pass_to(child, events.DataReceived(self.context.client, data))
        self._received.clear()

    def _pass_to(self, child: Layer, event: events.Event) -> CommandGenerator[None]:
        yield from child.handle_event(event)
        if getattr(child, "tunnel_state", None) is not TunnelState.ESTABLISHING:
            self._deadline.lift()
            self._successor = child

    def _time_out(self) -> CommandGenerator[None]:
        if self._closed:
            return
        late = Deny(Reason.TOO_SLOW, rules.LIMITS_HANDSHAKE_SECONDS, "no handshake in time")
        yield ConnectionRefusedHook(RefusedConnection(self._connection, late))
        yield from self._close()

    def _turn_away(self) -> CommandGenerator[None]:
        """Close a connection for which there is no room."""
        if self._closed:
            return
        # Later, the client could not read a record that OpenSSL has not made.
        can_alert = self._child is None and isinstance(self._connection.listener, Listener)
        if can_alert:
            self._connection.alert = "internal_error"
        yield TurnedAwayHook(self._connection)
        if can_alert:
            yield commands.SendData(self.context.client, alert_record("internal_error"))
        yield from self._close()

    def _refuse_plaintext(self) -> CommandGenerator[None]:
        plaintext = Deny(Reason.PLAINTEXT, rules.LISTENER_TLS, "plaintext on a TLS port")
        yield ConnectionRefusedHook(RefusedConnection(self._connection, plaintext))
        response = response_bytes(plaintext, self._connection.reference)
        yield commands.SendData(self.context.client, response)
        yield from self._close()

    def _refuse(self, denial: Deny) -> CommandGenerator[None]:
        alert = refusal(denial).alert or "handshake_failure"
        self._connection.alert = alert
        yield ConnectionRefusedHook(RefusedConnection(self._connection, denial))
        yield commands.SendData(self.context.client, alert_record(alert))
        yield from self._close()

    def _close(self) -> CommandGenerator[None]:
        self._closed = True
        self._deadline.lift()
        yield commands.CloseConnection(self.context.client)
