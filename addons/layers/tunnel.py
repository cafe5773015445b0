"""A tunneled connection (TUNNEL-PASS): bytes are forwarded and counted, but not stored.

The content cannot be inspected (TUNNEL-BLIND). Each direction closes separately, and an idle tunnel
is closed. Only data that the client sends before the site system is connected is stored, up to a
limit. Until then another site system can be tried, if the publication has several.
"""

from __future__ import annotations

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import EndedTunnel, Forward, Forwarded, GiveWay, TunnelEndedHook
from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.addons.layers.site_system_states import SiteSystemState, SiteSystemStates
from ibcm_bridge.addons.layers.small_layer import SmallLayer
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.os_errors import not_connected
from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.policy.publications import TunnelPublication
from ibcm_bridge.site_system_leg.selection import attempts, share_of_time

MAX_AHEAD = 131_072
"""The number of bytes that a client may send before the site system is connected: a ClientHello and
one read."""


class RelayLayer(SmallLayer):
    """Forwards TLS from the Internet to the site system without termination."""

    def __init__(
        self,
        context: Context,
        connection: ConnectionRecord,
        publication: TunnelPublication,
        limits: Limits,
        states: SiteSystemStates,
    ) -> None:
        super().__init__(context)
        self._connection = connection
        self._publication = publication
        self._limits = limits
        self._idle_seconds = limits.tunnel_idle_seconds
        self._states = states
        self._site_system: Address = publication.site_systems[0]
        """The one that is connected, or tried."""
        self._others: list[Address] = []
        """Those still to be tried."""
        self._failures: list[str] = []
        """Why those before were not connected to."""
        self._connects_until = 0.0
        self._deadline = Deadline()
        self._from_client = 0
        self._to_client = 0
        self._ahead: bytearray | None = bytearray()
        """Data of the client, until the site system is connected; then None."""
        self._ended = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield from self._open()
        elif self._ended:
            return
        elif isinstance(event, events.OpenConnectionCompleted):
            yield from self._opened(event)
        elif isinstance(event, Forwarded):
            yield from self._deadline.move(self._idle_seconds)
            self._count(event.connection, event.count)
        elif isinstance(event, events.DataReceived):
            if self._ahead is None:
                yield from self._deadline.move(self._idle_seconds)
            yield from self._forward(event)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._close_direction(event)
        elif isinstance(event, events.Wakeup) and (yield from self._deadline.passed(event)):
            yield from self._time_out()
        elif isinstance(event, GiveWay):
            yield from self._end(event.denial.detail)

    def _open(self) -> CommandGenerator[None]:
        now = self._deadline.now()
        found = attempts(
            self._publication.site_systems, lambda address: self._state_of(address).breaker, now
        )
        if found.probe is not None:
            self._state_of(found.probe).probed(now)
        self._others = list(found.places)
        self._connects_until = now + self._limits.connect_seconds
        yield from self._connect()

    def _connect(self) -> CommandGenerator[None]:
        """Connect to the next site system."""
        seconds = self._idle_seconds
        if len(self._publication.site_systems) > 1:
            left = self._connects_until - self._deadline.now()
            seconds = share_of_time(left, len(self._others))
        self._site_system = self._others.pop(0)
        self._connection.may_dial = self._site_system
        server = self.context.server = Server(address=self._site_system)
        dial = commands.OpenConnection(server)
        # Not blocking: mitmproxy would store the client's data meanwhile, without limit.
        dial.blocking = False
        yield dial
        yield from self._deadline.move(seconds)

    def _state_of(self, address: Address) -> SiteSystemState:
        return self._states.of(self._publication.name, "", address_text(address))

    def _not_connected(self, cause: str) -> CommandGenerator[None]:
        """Try the next site system: no byte was forwarded. Without another one, end."""
        self._state_of(self._site_system).failed(cause, self._deadline.now())
        if not self._others:
            yield from self._end(cause)
            return
        self._failures.append(cause)
        yield from self._connect()

    def _time_out(self) -> CommandGenerator[None]:
        if self._ahead is None or len(self._publication.site_systems) == 1:
            yield from self._end("idle")
            return
        # The dial is cancelled; its completion is that of a connection that was given up.
        yield commands.CloseConnection(self.context.server)
        address = address_text(self._site_system)
        yield from self._not_connected(f"connection to {address} timed out")

    def _opened(self, event: events.OpenConnectionCompleted) -> CommandGenerator[None]:
        if event.command.connection is not self.context.server:
            return
        self._connection.may_dial = None
        if event.reply:
            yield from self._not_connected(not_connected(event.reply, self._site_system))
            return
        self._state_of(self._site_system).connected()
        yield from self._deadline.move(self._idle_seconds)
        client, server = self.context.client, self.context.server
        ahead, self._ahead = self._ahead, None
        if ahead:
            self._from_client += len(ahead)
            yield commands.SendData(server, bytes(ahead))
        yield Forward(client, server)
        yield Forward(server, client)

    def _forward(self, event: events.DataReceived) -> CommandGenerator[None]:
        if self._ahead is not None:
            self._ahead += event.data
            if len(self._ahead) > MAX_AHEAD:
                text = f"more than {MAX_AHEAD} bytes before the site system was connected"
                yield from self._end(text)
            return
        self._count(event.connection, len(event.data))
        yield commands.SendData(self._other(event.connection), event.data)

    def _count(self, connection: Connection, size: int) -> None:
        if connection == self.context.client:
            self._from_client += size
        else:
            self._to_client += size

    def _other(self, connection: Connection) -> Connection:
        client, server = self.context.client, self.context.server
        return server if connection == client else client

    def _close_direction(self, event: events.ConnectionClosed) -> CommandGenerator[None]:
        # Fully closed: the second direction to close, or a broken connection. The tunnel ends.
        if self._ahead is not None:
            yield from self._end("the client disconnected before the site system was reached")
        elif event.connection.state is ConnectionState.CLOSED:
            yield from self._end(None)
        else:
            yield commands.CloseTcpConnection(self._other(event.connection), half_close=True)

    def _end(self, error: str | None) -> CommandGenerator[None]:
        self._ended = True
        denial = None if self._ahead is None else _not_reached(error)
        self._ahead = None
        self._connection.may_dial = None
        self._deadline.lift()
        yield TunnelEndedHook(
            EndedTunnel(
                self._connection,
                denial,
                self._from_client,
                self._to_client,
                error,
                self._site_system,
                tuple(f"another site system was tried: {cause}" for cause in self._failures),
            )
        )
        for connection in (self.context.server, self.context.client):
            if connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(connection)


def _not_reached(error: str | None) -> Deny:
    detail = error or ""
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.SITE_SYSTEM, detail, "TUNNEL-PASS")
