"""The listener: a mitmproxy proxy mode, and the server that accepts its connections."""

from __future__ import annotations

import asyncio
import enum
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from mitmproxy import ctx
from mitmproxy.proxy import mode_servers, mode_specs
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.events import ConnectionRefusedHook, RefusedConnection, TurnedAwayHook
from ibcm_bridge.addons.server import tasks
from ibcm_bridge.addons.server.connection_handler import (
    BridgeConnectionHandler,
    current_runtime,
    logger,
)
from ibcm_bridge.addons.server.guarded_hooks import MUST_RERAISE, log_defect
from ibcm_bridge.addons.server.leg_socket import CLIENT_BYTES, LegSocket
from ibcm_bridge.addons.server.open_sockets import BACKLOG
from ibcm_bridge.addons.server.proxy_protocol import receive_proxy_header
from ibcm_bridge.addons.tls.alerts import alert_record
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import Address, is_in
from ibcm_bridge.policy.publications import Listener
from ibcm_bridge.routing.proxy_header import ProxyHeader

FLUSH_SECONDS = 10.0
"""How long a client may take nothing of what a closed connection has still to send, in seconds."""


@dataclass(frozen=True)
class BridgeMode(mode_specs.ProxyMode):
    """`bridge:policy@host:port`: the listener of the policy with this address."""

    transport_protocol: ClassVar[str] = "tcp"  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.data != "policy":
            raise ValueError("bridge mode is internal; `ibcm-bridge run` sets it from the policy")

    @property
    def description(self) -> str:
        """The name in mitmproxy's log lines."""
        return "ibcm-bridge listener"


class BridgeInstance(mode_servers.AsyncioServerInstance[BridgeMode]):
    """Accepts connections for one listener."""

    def make_top_layer(self, context: Context) -> Layer:
        """Never called: the generation of a connection makes its first layer."""
        raise NotImplementedError

    @property
    def _address(self) -> Address:
        host, port = self.mode.custom_listen_host, self.mode.custom_listen_port
        assert host is not None
        assert port is not None
        return host, port

    async def listen(self, host: str, port: int) -> list[Any]:
        """Listen as mitmproxy does, but with a larger backlog and without UDP."""
        loop = asyncio.get_running_loop()
        if sockets := current_runtime().sockets.get((host, port)):
            return [
                await loop.create_server(self._socket, sock=opened, backlog=BACKLOG)
                for opened in sockets
            ]
        with listening_at((host, port)):
            return [await loop.create_server(self._socket, host, port, backlog=BACKLOG)]

    def _socket(self) -> LegSocket:
        return LegSocket(CLIENT_BYTES, self._accept)

    def _accept(self, socket: LegSocket) -> None:
        tasks.start(self.handle_stream(socket, socket.transport), "connection")

    async def handle_stream(self, reader: Any, writer: Any = None) -> None:
        """Serve one connection, and always close it."""
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            # No task awaits this one, and some versions of asyncio would log it as unhandled.
            logger.debug("a connection was cancelled")
        except BaseException as error:
            # asyncio would log the text of the exception.
            log_defect("connection", error)
            if isinstance(error, MUST_RERAISE):
                raise
        finally:
            if not reader.lost.done():
                writer.abort()

    async def _serve(self, reader: Any, writer: Any) -> None:
        runtime = current_runtime()
        handler = BridgeConnectionHandler(ctx.master, reader, writer, ctx.options, self.mode)
        client, generation = handler.client, handler.generation
        listener = generation.listeners.get(self._address)
        if listener is None:
            return  # a reload has removed it before this task ran
        record = runtime.connections.open(client, listener, generation.digest)
        try:
            await self._handle(handler, record, reader, writer)
            del handler  # It uses memory.
            # The socket still counts, and can be closed for another client.
            record.give_way = lambda _: writer.abort()
            await _flush(reader, runtime.connections)
        finally:
            runtime.connections.release(record)

    async def _handle(
        self, handler: BridgeConnectionHandler, record: ConnectionRecord, reader: Any, writer: Any
    ) -> None:
        runtime, generation = current_runtime(), handler.generation
        client = handler.client
        generation.connections += 1
        # Until it has a layer.
        record.give_way = lambda _: writer.abort()
        try:
            # From now on a bridge that stops waits for it.
            with self.manager.register_connection(client.id, handler):
                if (admitted := await _admitted(handler, record, reader)) is not Admission.ADMITTED:
                    if admitted is Admission.TURNED_AWAY:
                        is_tls = isinstance(record.listener, Listener)
                        record.alert = "internal_error" if is_tls else None
                        await handler.handle_hook(TurnedAwayHook(record))
                        if is_tls:
                            writer.write(alert_record("internal_error"))
                    return
                record.give_way = handler.give_way
                handler.layer = generation.front_door(handler.layer.context, handler.hooks)
                await handler.handle_client()
        except BaseException as error:
            handler._fail("connection", error)
            if isinstance(error, MUST_RERAISE):
                raise
        finally:
            runtime.connections.close(client)
            generation.connections -= 1
            # mitmproxy lists the layers in their context: a reference cycle.
            handler.layer.context.layers.clear()


async def _flush(socket: LegSocket, connections: Connections) -> None:
    """Close a socket, and wait until it has sent everything, or the client takes nothing more."""
    socket.transport.close()
    before: float = math.inf
    connections.flushing += 1
    try:
        while 0 < (unsent := socket.transport.get_write_buffer_size()) < before:
            before = unsent
            await asyncio.wait([socket.lost], timeout=FLUSH_SECONDS)
    finally:
        connections.flushing -= 1


class Admission(enum.Enum):
    """Whether a connection is served."""

    ADMITTED = enum.auto()
    TURNED_AWAY = enum.auto()
    """A limit is reached."""
    ENDED = enum.auto()
    """It was closed, or refused and recorded."""


async def _admitted(
    handler: BridgeConnectionHandler, record: ConnectionRecord, reader: LegSocket
) -> Admission:
    """Find out who the client is, and count the connection for it."""
    connections, per_source = current_runtime().connections, handler.generation.per_source
    relayed = is_in(record.client.peername[0], record.listener.balancers)
    # A source over its own limits must not displace a connection of another one.
    if not relayed and not connections.enter(record, per_source):
        return Admission.TURNED_AWAY
    if not record.hold_handshake():
        return Admission.TURNED_AWAY
    if not relayed:
        return Admission.ADMITTED
    header = await receive_proxy_header(reader)
    if not record.slot.size:
        return Admission.TURNED_AWAY
    if isinstance(header, Deny):
        await handler.handle_hook(ConnectionRefusedHook(RefusedConnection(record, header)))
    if not isinstance(header, ProxyHeader):
        return Admission.ENDED
    if header.source is not None:
        record.set_client(header.source)
    entered = connections.enter(record, per_source)
    return Admission.ADMITTED if entered else Admission.TURNED_AWAY
