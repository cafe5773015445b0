"""Runs a connection and its layers guarded: any exception refuses and closes the connection.

1. `hook_dispatch.Hooks` has the functions for each hook name. `guarded_hooks` calls them, for the
   layers and for mitmproxy's own hooks, and turns any exception into a refusal.
2. `BridgeConnectionHandler.server_event` replaces mitmproxy's. When a layer raises, it processes
   no further events and aborts both legs; mitmproxy would leave them open.

Cancellation and interrupts close the connection in the same way and are then raised again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from mitmproxy import ctx
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.server import ConnectionIO, TimeoutWatchdog

from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.events import Defect, Forward, GiveWay
from ibcm_bridge.addons.server import tasks
from ibcm_bridge.addons.server.guarded_hooks import MUST_RERAISE, ConnectionHooks, log_defect
from ibcm_bridge.addons.server.hook_dispatch import Hooks
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.server.socket_handler import SocketHandler
from ibcm_bridge.addons.stages import GuardedHooks, Waited, WaitFor
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.policy.publications import Listener, PlaintextListener

logger = logging.getLogger(__name__)


class ServedPolicy(Protocol):
    """The parts of a policy that a connection uses, from its start to its end."""

    hooks: Hooks
    connections: int
    """The number of open connections that began with it."""
    listeners: Mapping[Address, Listener | PlaintextListener]
    per_source: PerSource

    @property
    def digest(self) -> str:
        """The digest of the policy."""

    def front_door(self, context: Context, hooks: GuardedHooks) -> Layer:
        """Return the first layer of a connection."""


class Runtime(Protocol):
    """The parts of the running bridge that a new connection uses."""

    connections: Connections
    sockets: Mapping[Address, Sequence[socket.socket]]
    """The sockets at which a listener listens already. Without any, it opens its own."""

    @property
    def generation(self) -> ServedPolicy:
        """The generation of new connections."""


def current_runtime() -> Runtime:
    runtime: Runtime = ctx.master.runtime  # type: ignore[attr-defined]
    return runtime


def _weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls a method as long as its object exists.

    A method in an attribute of its own object is a reference cycle. A closed connection would keep
    its memory until the garbage collector finds it.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> Any:
        found = reference()
        return None if found is None else found(*arguments)

    return call


class _NoWatchdog(TimeoutWatchdog):
    """Ends nothing. The layers have deadlines; mitmproxy's has a task in each connection."""

    def __init__(self) -> None:
        """Have no timeout."""

    async def watch(self) -> None:
        """Return."""


class BridgeConnectionHandler(SocketHandler):
    """Runs one client connection, and fails closed."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.generation = current_runtime().generation
        # Short. An empty deque takes 760 bytes.
        self._queue: list[events.Event] = []
        self._busy = False
        self._ended = False
        self.hooks = ConnectionHooks(self.generation.hooks, self.client, _weak(self._abort))
        self.timeout_watchdog = _NoWatchdog()
        self._waiting_hooks: set[asyncio.Task[None]] = set()

    @property
    def _waits(self) -> bool:
        """True while a hook runs: the layer that waits for it would store input without limit."""
        return bool(self._waiting_hooks)

    async def handle_connection(self, connection: Connection) -> None:
        """Read a socket, guarded. mitmproxy would only log an exception."""
        await self._guarded(super().handle_connection(connection), "socket")

    def give_way(self, denial: Deny) -> None:
        """End the connection soon, because another client needs what it holds."""
        asyncio.get_running_loop().call_soon(self._end_for_another, GiveWay(denial))

    def _end_for_another(self, event: GiveWay) -> None:
        if not self._ended:
            self._task(self.server_event(event), "give way")

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Call the hook's functions. mitmproxy calls this for connection hooks."""
        called = self.hooks.call(hook)
        if isinstance(called, WaitFor):
            await self.hooks.wait(called)

    async def server_event(self, event: events.Event) -> None:
        """Process an event. Replaces mitmproxy's method, which leaves connections open."""
        self.process(event)

    def process(self, event: events.Event) -> None:
        """Process an event and everything that follows from it.

        mitmproxy's `except Exception` leaves the connection open. A synchronous hook runs here, not
        in a separate task.
        """
        self._queue.append(event)
        if self._busy:
            # An eager task (a dial, a hook) calls this from within the loop below.
            return
        self._busy = True
        try:
            while self._queue and not self._ended:
                for command in self.layer.handle_event(self._queue.pop(0)):
                    if self._ended:
                        break
                    self._execute(command)
            self.hooks.raise_interrupt()
        except BaseException as error:
            self._fail("layer", error)
            if isinstance(error, MUST_RERAISE):
                raise
        finally:
            self._busy = False

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.StartHook):
            self._call(command)
        elif isinstance(command, WaitFor):
            self._wait_for(command, command)
        elif isinstance(command, commands.OpenConnection):
            assert command.connection not in self.transports
            task = self._task(self.open_connection(command), "site-system connection")
            self.transports[command.connection] = ConnectionIO(handler=task)
        elif isinstance(command, commands.RequestWakeup):
            self._set_timer(command)
        elif isinstance(command, commands.ConnectionCommand):
            io = self.transports.get(command.connection)
            if io is not None:
                self._for_connection(command, io)
        elif isinstance(command, commands.Log):
            self.log(command.message, command.level)
        else:
            raise TypeError(f"not a command: {command!r}")

    def _set_timer(self, command: commands.RequestWakeup) -> None:
        """Wake the layer later. mitmproxy would have a sleeping task meanwhile."""

        timer: Any = None

        def wake() -> None:
            nonlocal timer
            self.wakeup_timer.discard(timer)
            timer = None  # It has this function: a reference cycle.
            if not self._ended:
                self._task(self.server_event(events.Wakeup(command)), "timer")

        timer = asyncio.get_running_loop().call_later(command.delay, wake)
        # When the connection ends, mitmproxy cancels everything in this set.
        self.wakeup_timer.add(timer)

    def _for_connection(self, command: commands.ConnectionCommand, io: ConnectionIO) -> None:
        if isinstance(command, commands.SendData):
            writer, socket = io.writer, io.reader
            assert writer
            if writer.is_closing():
                return
            if isinstance(command.data, memoryview):
                assert isinstance(socket, LegSocket)
                socket.write_lent(command.data)
            else:
                writer.write(command.data)
        elif isinstance(command, Forward):
            self.forward(command.connection, command.receiver)
        elif isinstance(command, commands.CloseTcpConnection):
            self.close_connection(command.connection, command.half_close)
        elif isinstance(command, commands.CloseConnection):
            self.close_connection(command.connection, False)
        else:
            raise TypeError(f"not a command: {command!r}")

    def _call(self, hook: commands.StartHook) -> None:
        called = self.hooks.call(hook)
        if isinstance(called, WaitFor):
            if not self._ended:
                self._wait_for(called, hook)
        elif hook.blocking:
            self._queue.append(events.HookCompleted(hook, called))

    def _wait_for(self, wait: WaitFor, command: commands.StartHook | WaitFor) -> None:
        """Complete a command when the hook or the decision has ended."""
        task = self._task(self._complete(wait, command), "hook")
        self._waiting_hooks.add(task)
        task.add_done_callback(self._hook_ended)

    def _hook_ended(self, task: asyncio.Task[None]) -> None:
        self._waiting_hooks.discard(task)
        self.read_on()

    async def _complete(self, wait: WaitFor, command: commands.StartHook | WaitFor) -> None:
        reply = await self.hooks.wait(wait)
        if isinstance(command, WaitFor):
            await self.server_event(Waited(command, reply))
        elif command.blocking:
            await self.server_event(events.HookCompleted(command, reply))

    def _fail(self, where: str, error: BaseException) -> None:
        if self._ended:
            return
        try:
            self.hooks.report(Defect(self.client, where, type(error).__name__))
            log_defect(where, error)
        finally:
            self._abort()

    def _abort(self) -> None:
        """Abort both legs without flushing: queued data must not be sent after a defect."""
        self._ended = True
        self._queue.clear()
        self.client.error = "aborted by the bridge"
        for connection, io in list(self.transports.items()):
            # Otherwise mitmproxy waits forever for the close of a half-closed connection.
            connection.state = ConnectionState.CLOSED
            if isinstance(io.writer, asyncio.Transport):
                io.writer.abort()
            if io.handler is not None:
                io.handler.cancel("aborted by the bridge")

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return tasks.start(self._guarded(work, name), name)

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
