"""The sockets of a connection: dialled, read and closed, with back-pressure.

mitmproxy reads each socket in a task, and drains all writers after each read. Here the event loop
calls the layers at once. After a read, a socket is paused while any socket has too much to send, or
while the connection waits for a hook. So each socket adds at most one read to what is stored.
"""

from __future__ import annotations

import abc
import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, mode_servers, server_hooks
from mitmproxy.proxy.server import ConnectionIO

from ibcm_bridge.addons.events import DataLent, Forwarded
from ibcm_bridge.addons.server.forwarding import forward
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.server.splice import ReceiverFailed


class SocketHandler(mode_servers.ProxyConnectionHandler):
    """mitmproxy's connection handler, with sockets that call it.

    The reader of a connection is its `LegSocket`, and the writer is that socket's transport.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._sockets: dict[Connection, LegSocket] = {}

    @abc.abstractmethod
    def process(self, event: events.Event) -> None:
        """Process an event and everything that follows from it."""

    @abc.abstractmethod
    def _fail(self, where: str, error: BaseException) -> None:
        """Abort the connection because of a defect."""

    @abc.abstractmethod
    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something, guarded."""

    @property
    @abc.abstractmethod
    def _waits(self) -> bool:
        """True while no socket should be read."""

    # Reading

    async def handle_connection(self, connection: Connection) -> None:
        """Read a socket until its end. If it can still be written to, wait for its close."""
        _store_task(self.transports[connection])
        socket, cancelled, writable = self.transports[connection].reader, None, False
        assert isinstance(socket, LegSocket)
        self._sockets[connection] = socket
        socket.emptied = functools.partial(self._called, self.read_on)
        received = functools.partial(self._received, connection, socket)
        try:
            socket.read(functools.partial(self._called, received))
            writable = await socket.ended
        except asyncio.CancelledError as error:
            cancelled = error
        self._fail_if_defect(socket)
        if writable:
            connection.state &= ~ConnectionState.CAN_READ
        else:
            connection.state = ConnectionState.CLOSED
        self.process(events.ConnectionClosed(connection))
        if connection.state is ConnectionState.CAN_WRITE:
            try:
                await socket.lost
            except asyncio.CancelledError as error:
                cancelled = error
        socket.release()
        socket.transport.close()
        del self.transports[connection], self._sockets[connection]
        self.read_on()
        self._fail_if_defect(socket)
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                # Its traceback has this frame.
                del cancelled

    def _fail_if_defect(self, socket: LegSocket) -> None:
        if socket.defect is not None:
            self._fail("socket", socket.defect)

    def _received(self, connection: Connection, socket: LegSocket, data: memoryview) -> None:
        if not connection.state & ConnectionState.CAN_READ:
            return  # It was closed, but its task has not run yet.
        event = DataLent(connection, data)
        self.process(event)
        event.take_back()
        if self._blocked:
            socket.pause()

    def _called(self, function: Callable[..., None], *arguments: Any) -> None:
        """Run what the event loop calls, guarded."""
        try:
            function(*arguments)
        except BaseException as error:
            self._fail("socket", error)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise

    # Back-pressure

    @property
    def _blocked(self) -> bool:
        return self._waits or any(socket.full for socket in self._sockets.values())

    def read_on(self) -> None:
        """Read the sockets again, if nothing prevents it."""
        if not self._blocked:
            for socket in self._sockets.values():
                socket.resume()

    # Tunnels

    def forward(self, connection: Connection, receiver: Connection) -> None:
        """Forward everything that a connection receives to another one."""
        source, target = self.transports[connection].reader, self.transports[receiver].reader
        assert isinstance(source, LegSocket)
        assert isinstance(target, LegSocket)
        source.held = True
        source.pause()
        task = self._task(self._forward(connection, source, receiver, target), "forwarding")
        source.ended.add_done_callback(lambda _: task.cancel())

    async def _forward(
        self, connection: Connection, source: LegSocket, receiver: Connection, target: LegSocket
    ) -> None:
        try:
            whole = await forward(
                source, target, lambda count: self.server_event(Forwarded(connection, count))
            )
        except ReceiverFailed as error:
            whole = True
            self._close(receiver, f"Error sending data: {error}")
        except asyncio.CancelledError:
            self._close(connection, "cancelled")
            raise
        source.held = False
        if whole:
            source.end()
        elif not self._blocked:
            source.resume()

    def _close(self, connection: Connection, why: str) -> None:
        """Close a connection, as mitmproxy does after a failure."""
        io = self.transports.get(connection)
        if io is not None and io.handler is not None:
            io.handler.cancel(why)

    # Dialling

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Connect to a site system, with mitmproxy's hooks, and read it until its end."""
        server = command.connection
        assert isinstance(server, Server)
        assert server.address is not None
        data = server_hooks.ServerConnectionHookData(client=self.client, server=server)
        await self.handle_hook(server_hooks.ServerConnectHook(data))
        if server.error:
            await self._not_opened(command, data, f"Connection killed: {server.error}")
            return
        async with self.max_conns[server.address]:
            try:
                server.timestamp_start = time.time()
                transport, socket = await asyncio.get_running_loop().create_connection(
                    LegSocket, *server.address, local_addr=server.sockname
                )
            except (OSError, asyncio.CancelledError) as error:
                server.error = str(error) or "connection cancelled"
                await self._not_opened(command, data, server.error)
                if isinstance(error, asyncio.CancelledError):
                    raise
                return
            server.timestamp_tcp_setup = time.time()
            server.state = ConnectionState.OPEN
            server.peername = transport.get_extra_info("peername")
            server.sockname = transport.get_extra_info("sockname")
            self.transports[server] = ConnectionIO(asyncio.current_task(), socket, transport)  # type: ignore[arg-type]
            await self.handle_hook(server_hooks.ServerConnectedHook(data))
            self.process(events.OpenConnectionCompleted(command, None))
            try:
                await self.handle_connection(server)
            finally:
                server.timestamp_end = time.time()
                await self.handle_hook(server_hooks.ServerDisconnectedHook(data))

    async def _not_opened(
        self,
        command: commands.OpenConnection,
        data: server_hooks.ServerConnectionHookData,
        error: str,
    ) -> None:
        await self.handle_hook(server_hooks.ServerConnectErrorHook(data))
        self.process(events.OpenConnectionCompleted(command, error))


def _store_task(io: ConnectionIO) -> None:
    """Store the task of a socket. mitmproxy does so after the first data, which may close it.

    In a variable of that task, `io` and a traceback would be a reference cycle.
    """
    if io.handler is None:
        io.handler = asyncio.current_task()
