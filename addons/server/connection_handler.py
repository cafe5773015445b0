"""Runs a connection and its layers guarded: any exception refuses and closes the connection.

mitmproxy logs an exception in a hook and continues as if the hook had not run. So the bridge does
not use mitmproxy's hook dispatch:

1. `hook_dispatch.Hooks` has the functions for each hook name, and calls them directly.
2. Any exception, including a panic of an extension module, becomes a defect. The layer that waits
   for a decision gets a `Deny`, or the hook's data is changed to a refusal (`_WITHDRAW`). The
   audit records `bridge-defect`, and the connection is closed.
3. `BridgeConnectionHandler.server_event` replaces mitmproxy's. When a layer raises, it processes
   no further events and aborts both legs; mitmproxy would leave them open.

Cancellation and interrupts close the connection in the same way and are then raised again.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, Protocol

from mitmproxy import ctx
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events, mode_servers, server_hooks
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.tls import TlsData
from mitmproxy.utils import asyncio_utils

from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.events import Defect, DefectHook, Forward, Forwarded, GiveWay
from ibcm_bridge.addons.server.forwarding import ForwardingReader
from ibcm_bridge.addons.server.hook_dispatch import Hooks, data_of
from ibcm_bridge.addons.stages import DECISIONS, Decide, Decided
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import Listener, PlaintextListener

logger = logging.getLogger(__name__)

MUST_RERAISE = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


class ServedPolicy(Protocol):
    """The parts of a policy that a connection uses, from its start to its end."""

    hooks: Hooks
    listeners: Mapping[int, Listener | PlaintextListener]

    def front_door(self, context: Context) -> Layer:
        """Return the first layer of a connection."""


class Runtime(Protocol):
    """The parts of the running bridge that a new connection uses."""

    connections: Connections

    @property
    def generation(self) -> ServedPolicy:
        """The generation of new connections."""


def log_defect(where: str, error: BaseException) -> None:
    """Log the place and type of an exception. Its text may quote client data: debug level only."""
    trace = "".join(traceback.format_tb(error.__traceback__))
    logger.error("defect in %s: %s; refused\n%s", where, type(error).__name__, trace)
    logger.debug("exception text: %s", error)


def current_runtime() -> Runtime:
    runtime: Runtime = ctx.master.runtime  # type: ignore[attr-defined]
    return runtime


def _withdraw_tls(data: TlsData) -> None:
    data.ssl_conn = None


def _withdraw_dial(data: server_hooks.ServerConnectionHookData) -> None:
    data.server.error = "refused by the bridge"


_WITHDRAW: Mapping[type[object], Callable[[Any], None]] = {
    TlsData: _withdraw_tls,
    server_hooks.ServerConnectionHookData: _withdraw_dial,
}
"""How to refuse in a hook's data, for the hooks whose data mitmproxy acts on."""

_LAYER_REFUSES = DECISIONS | {"requestheaders", "request", "responseheaders", "reply_shown"}
"""Hooks whose layer can still send a response. If one of these raises, the layer gets a Deny,
refuses and closes; if any other hook raises, the handler aborts."""


class BridgeConnectionHandler(mode_servers.ProxyConnectionHandler):
    """Runs one client connection, and fails closed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self.generation = current_runtime().generation
        self._queue: collections.deque[events.Event] = collections.deque()
        self._busy = False
        self._ended = False
        self._waiting_hooks: set[asyncio.Task[None]] = set()
        self._receivers: dict[Connection, Connection] = {}
        """The connection to forward a connection to."""

    async def handle_connection(self, connection: Connection) -> None:
        """Read as mitmproxy does, and forward if the layer asked for it."""
        io = self.transports[connection]
        reader: Any = ForwardingReader(
            io,
            lambda: self._receiver_of(connection),
            lambda count: self.server_event(Forwarded(connection, count)),
        )
        io.reader = reader
        # mitmproxy expects only OSError of a reader.
        await self._guarded(super().handle_connection(connection), "connection")

    def _receiver_of(self, connection: Connection) -> ConnectionIO | None:
        receiver = self._receivers.get(connection) if self._receivers else None
        return self.transports.get(receiver) if receiver else None

    async def drain_writers(self) -> None:
        """Drain as mitmproxy does, and wait for running hooks before more is read.

        The layer that waits for a hook would buffer input without limit.
        """
        await super().drain_writers()  # type: ignore[no-untyped-call]
        while self._waiting_hooks:
            await asyncio.wait(self._waiting_hooks)

    def give_way(self, denial: Deny) -> None:
        """End the connection soon, because another client needs what it holds."""
        asyncio.get_running_loop().call_soon(self._end_for_another, GiveWay(denial))

    def _end_for_another(self, event: GiveWay) -> None:
        if not self._ended:
            self._task(self.server_event(event), "give way")

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Call the hook's functions, guarded. mitmproxy calls this for connection hooks."""
        try:
            waiting = self.generation.hooks.call(hook)
            if waiting is not None:
                await waiting
        except BaseException as error:  # a panic passes `except Exception`
            self._fail_hook(hook, error)
            if isinstance(error, MUST_RERAISE):
                raise

    async def server_event(self, event: events.Event) -> None:
        """Process an event and everything that follows from it.

        Replaces mitmproxy's method, whose `except Exception` leaves the connection open. A
        synchronous hook runs here, not in a separate task.
        """
        self._queue.append(event)
        if self._busy:
            # An eager task (a dial, a hook) calls this from within the loop below.
            return
        self._busy = True
        try:
            while self._queue and not self._ended:
                self.timeout_watchdog.register_activity()
                for command in self.layer.handle_event(self._queue.popleft()):
                    if self._ended:
                        break
                    self._execute(command)
        except BaseException as error:
            self._fail("layer", error)
            if isinstance(error, MUST_RERAISE):
                raise
        finally:
            self._busy = False

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.StartHook | Decide):
            self._call(command)
        elif isinstance(command, commands.OpenConnection):
            assert command.connection not in self.transports
            task = self._task(self.open_connection(command), "site-system connection")
            self.transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            self.wakeup_timer.add(self._task(self.wakeup(command), "timer"))
        elif isinstance(command, commands.ConnectionCommand):
            if command.connection in self.transports:
                self._for_connection(command)
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise TypeError(f"not a command: {command!r}")

    def _for_connection(self, command: commands.ConnectionCommand) -> None:
        if isinstance(command, commands.SendData):
            writer = self.transports[command.connection].writer
            assert writer
            if not writer.is_closing():
                writer.write(command.data)
        elif isinstance(command, Forward):
            self._receivers[command.connection] = command.receiver
        elif isinstance(command, commands.CloseTcpConnection):
            self.close_connection(command.connection, command.half_close)
        elif isinstance(command, commands.CloseConnection):
            self.close_connection(command.connection, False)
        else:
            raise TypeError(f"not a command: {command!r}")

    def _call(self, command: commands.StartHook | Decide) -> None:
        try:
            reply = self.generation.hooks.call(command)
        except BaseException as error:
            reply = self._fail_hook(command, error)
            if isinstance(error, MUST_RERAISE):
                raise
        if isinstance(reply, CoroutineType):
            task = self._task(self._wait_for(command, reply), _name(command))
            self._waiting_hooks.add(task)
            task.add_done_callback(self._waiting_hooks.discard)
        elif command.blocking:
            self._queue.append(_completed(command, reply))

    async def _wait_for(
        self, command: commands.StartHook | Decide, waiting: Awaitable[Any]
    ) -> None:
        try:
            reply = await waiting
        except BaseException as error:
            reply = self._fail_hook(command, error)
            if isinstance(error, MUST_RERAISE):
                raise
        if command.blocking:
            await self.server_event(_completed(command, reply))

    def _fail_hook(self, command: commands.StartHook | Decide, error: BaseException) -> Deny:
        """Report the defect, then abort, unless the layer itself refuses by the returned Deny."""
        name = _name(command)
        # After a cancellation or interrupt the layer does not run again, not even to refuse.
        refused = name in _LAYER_REFUSES and not isinstance(error, MUST_RERAISE)
        defect = Defect(self.client, name, type(error).__name__, refused)
        layer_refuses = False
        try:
            self._report_defect(defect)
            log_defect(f"hook {name}", error)
            if isinstance(command, commands.StartHook):
                data = data_of(command)
                _WITHDRAW.get(type(data), lambda _: None)(data)
            layer_refuses = refused
        finally:
            if not layer_refuses:
                self._abort()
        return defect.denial

    def _fail(self, where: str, error: BaseException) -> None:
        if self._ended:
            return
        try:
            self._report_defect(Defect(self.client, where, type(error).__name__))
            log_defect(where, error)
        finally:
            self._abort()

    def _report_defect(self, defect: Defect) -> None:
        """Call the defect hooks. Raises only cancellation and interrupts."""
        for function in self.generation.hooks.of(DefectHook.name):
            try:
                function(defect)
            except MUST_RERAISE:
                raise
            except BaseException:
                logger.critical("a defect in %s could not be written to the audit", defect.where)

    def _abort(self) -> None:
        """Abort both legs without flushing: queued data must not be sent after a defect."""
        self._ended = True
        self._queue.clear()
        self.client.error = "aborted by the bridge"
        for connection, io in list(self.transports.items()):
            # Otherwise mitmproxy waits forever for the close of a half-closed connection.
            connection.state = ConnectionState.CLOSED
            if isinstance(io.writer, asyncio.StreamWriter):
                io.writer.transport.abort()
            if io.handler is not None:
                io.handler.cancel("aborted by the bridge")

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio_utils.create_task(
            self._guarded(work, name), name=name, keep_ref=True, client=self.client.peername
        )
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task. If it raised unguarded, its layer would wait forever."""
        try:
            await work
        except asyncio.CancelledError:
            raise  # how a connection is closed
        except BaseException as error:
            self._fail(name, error)
            if isinstance(error, MUST_RERAISE):
                raise

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Log mitmproxy's messages below ERROR at debug level: the audit has the traffic."""
        if level < logging.ERROR:
            level = logging.DEBUG
        if logger.isEnabledFor(level):
            logger.log(level, message, exc_info=exc_info)


def _name(command: commands.StartHook | Decide) -> str:
    return command.stage.hook if isinstance(command, Decide) else command.name


def _completed(command: commands.StartHook | Decide, reply: Any) -> events.CommandCompleted:
    if isinstance(command, Decide):
        return Decided(command, reply)
    return events.HookCompleted(command, reply)
