"""A tunneled connection (TUNNEL-PASS): bytes are forwarded and counted, but not stored.

The content cannot be inspected (TUNNEL-BLIND). Each direction closes separately, and an idle tunnel
is closed. Only data that the client sends before the site system is connected is stored, up to a
limit.
"""

from __future__ import annotations

from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import EndedTunnel, Forward, Forwarded, GiveWay, TunnelEndedHook
from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.os_errors import not_connected
from ibcm_bridge.policy.publications import TunnelPublication

MAX_AHEAD = 131_072
"""The number of bytes that a client may send before the site system is connected: a ClientHello and
one read."""


class RelayLayer(Layer):
    """Forwards TLS from the Internet to the site system without termination."""

    def __init__(
        self,
        context: Context,
        connection: ConnectionRecord,
        publication: TunnelPublication,
        idle_seconds: float,
    ) -> None:
        super().__init__(context)
        self._connection = connection
        self._publication = publication
        self._idle_seconds = idle_seconds
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
            yield from self._opened(event.reply)
        elif isinstance(event, Forwarded):
            yield from self._deadline.move(self._idle_seconds)
            self._count(event.connection, event.count)
        elif isinstance(event, events.DataReceived):
            yield from self._deadline.move(self._idle_seconds)
            yield from self._forward(event)
        elif isinstance(event, events.ConnectionClosed):
            yield from self._close_direction(event)
        elif isinstance(event, events.Wakeup) and (yield from self._deadline.passed(event)):
            yield from self._end("idle")
        elif isinstance(event, GiveWay):
            yield from self._end(event.denial.detail)

    def _open(self) -> CommandGenerator[None]:
        server = self.context.server
        server.address = self._publication.site_system
        self._connection.may_dial = self._publication.site_system
        dial = commands.OpenConnection(server)
        # Not blocking: mitmproxy would store the client's data meanwhile, without limit.
        dial.blocking = False
        yield dial
        yield from self._deadline.move(self._idle_seconds)

    def _opened(self, error: str | None) -> CommandGenerator[None]:
        self._connection.may_dial = None
        if error:
            yield from self._end(not_connected(error, self._publication.site_system))
            return
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
            EndedTunnel(self._connection, denial, self._from_client, self._to_client, error)
        )
        for connection in (self.context.server, self.context.client):
            if connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(connection)


def _not_reached(error: str | None) -> Deny:
    detail = error or ""
    return Deny(Reason.SITE_SYSTEM_UNREACHABLE, rules.SITE_SYSTEM, detail, "TUNNEL-PASS")
