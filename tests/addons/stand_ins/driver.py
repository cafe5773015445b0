"""A driver for layers without a bridge: no sockets, and a clock that the test sets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Self

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord
from ibcm_bridge.addons.events import Forward
from ibcm_bridge.addons.layers.tls_ending import CutOff
from ibcm_bridge.addons.stages import Stage
from ibcm_bridge.policy.policy import Limits
from tests.addons.stand_ins.lab import Lab


class Clock:
    """Replaces `time` for deadlines and for the age of legs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def all_watched(_name: str) -> bool:
    """Every hook is called."""
    return True


class CalledHooks:
    """Replaces the hooks of a connection, and records which of mitmproxy's hooks were called."""

    def __init__(self, has: Callable[[str], bool] = all_watched) -> None:
        self.has = has
        self.functions: dict[str, Callable[[Any], Any]] = {}
        self.calls: list[tuple[str, Any]] = []

    def call(self, called: commands.StartHook | Stage[Any]) -> Any:
        if isinstance(called, Stage):
            return self.functions[called.hook](called)
        (data,) = called.args()
        self.calls.append((called.name, data))
        if function := self.functions.get(called.name):
            function(data)
        return None


class Driver:
    """Drives a layer: passes events to it, and simulates its commands.

    `to(connection)` is the data sent to a connection. Connections open at once, unless
    `refuse_dial` is an error. `hooks` has the functions for hooks and decisions, and `hook_calls`
    the hooks that were called. Timers fire when `advance` reaches them.
    """

    def __init__(
        self, layer: Layer, client: Client, clock: Clock, called: CalledHooks | None = None
    ) -> None:
        self.layer = layer
        self.client = client
        self.clock = clock
        self._called = called or CalledHooks()
        self.hooks = self._called.functions
        self.hook_calls = self._called.calls
        self.dialled: list[Server] = []
        self.refuse_dial: str | None = None
        self.hold_dial = False
        self.dialling: list[commands.OpenConnection] = []
        self.half_closed: list[Connection] = []
        self.closed: list[Connection] = []
        self.cut_off: list[Connection] = []
        self.forwarding: list[tuple[Connection, Connection]] = []
        self._sent: dict[str, bytearray] = {}
        self._timers: list[tuple[float, commands.RequestWakeup]] = []
        self._queue: list[events.Event] = []

    def start(self) -> Self:
        self.feed(events.Start())
        return self

    def feed(self, event: events.Event) -> None:
        self._queue.append(event)
        while self._queue:
            for command in self.layer.handle_event(self._queue.pop(0)):
                self._execute(command)

    def receive(self, data: bytes, connection: Connection | None = None) -> None:
        self.feed(events.DataReceived(connection or self.client, data))

    def close(self, connection: Connection | None = None) -> None:
        """Simulate that the peer closes a connection."""
        closed = connection or self.client
        closed.state &= ~ConnectionState.CAN_READ
        self.feed(events.ConnectionClosed(closed))

    def advance(self, seconds: float) -> None:
        """Advance the clock, and fire the timers that are due, in order."""
        end = self.clock.now + seconds
        while due := sorted(
            (timer for timer in self._timers if timer[0] <= end), key=lambda timer: timer[0]
        ):
            self._timers.remove(due[0])
            self.clock.now = due[0][0]
            self.feed(events.Wakeup(due[0][1]))
        self.clock.now = end

    def complete_dial(self, error: str | None = None) -> None:
        self._dial(self.dialling.pop(0), error)
        self.feed(self._queue.pop(0))

    def to(self, connection: Connection) -> bytes:
        return bytes(self._sent.get(connection.id, b""))

    def to_client(self) -> bytes:
        """Return the data sent to the client since the last call."""
        return bytes(self._sent.pop(self.client.id, b""))

    @property
    def server(self) -> Server:
        """The site-system connection opened last."""
        return self.dialled[-1]

    @property
    def gone(self) -> bool:
        """True if the client connection was closed."""
        return self.client in self.closed

    def _execute(self, command: commands.Command) -> None:
        if isinstance(command, commands.StartHook):
            self._queue.append(events.HookCompleted(command, self._called.call(command)))
        elif isinstance(command, commands.OpenConnection):
            if self.hold_dial:
                self.dialling.append(command)
            else:
                self._dial(command, self.refuse_dial)
        elif isinstance(command, commands.RequestWakeup):
            self._timers.append((self.clock.now + command.delay, command))
        elif isinstance(command, commands.SendData):
            assert command.connection not in self.closed, "sent after it was closed"
            self._sent.setdefault(command.connection.id, bytearray()).extend(command.data)
        elif isinstance(command, commands.CloseTcpConnection) and command.half_close:
            command.connection.state &= ~ConnectionState.CAN_WRITE
            self.half_closed.append(command.connection)
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = ConnectionState.CLOSED
            self.closed.append(command.connection)
            if isinstance(command, CutOff):
                self.cut_off.append(command.connection)
        elif isinstance(command, Forward):
            self.forwarding.append((command.connection, command.receiver))
        else:
            assert isinstance(command, commands.Log), command

    def _dial(self, command: commands.OpenConnection, error: str | None) -> None:
        if error is None:
            command.connection.state = ConnectionState.OPEN
            command.connection.timestamp_tcp_setup = time.time()
            self.dialled.append(command.connection)
        self._queue.append(events.OpenConnectionCompleted(command, error))


LIMITS = Limits(
    client_hello=4096,
    request_head=8192,
    header_fields=40,
    handshake_seconds=5,
    connect_seconds=7,
    connection_requests=100,
    head_seconds=10,
    body_seconds=30,
    response_seconds=20,
    idle_seconds=60,
    site_system_idle_seconds=40,
    tunnel_idle_seconds=120,
    connections=100,
    buffered_bytes=16_777_216,
    inspection_workers=1,
)


def open_connection(lab: Lab, name: str | None = None) -> tuple[Context, ConnectionRecord]:
    """Return the context of a client connection without a socket, and its record."""
    client = Client(
        peername=("127.0.0.1", 50_000),
        sockname=("127.0.0.1", 443),
        timestamp_start=1.0,
        state=ConnectionState.OPEN,
    )
    listener = lab.policy.listeners[0]
    capacity = Capacity(LIMITS.connections, LIMITS.buffered_bytes)
    record = ConnectionRecord(client, listener, capacity=capacity)
    if name is not None:
        record.server_name, record.publication = name, listener.publications[name]
    return Context(client, Options()), record
