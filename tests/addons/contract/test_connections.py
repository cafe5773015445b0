"""The undocumented behavior of mitmproxy's connections and layers that the addons rely on.

Each private or undocumented part has a test of the behavior that is relied on. If a test fails
after an upgrade, review the module that it names before you allow the version
(`tested_mitmproxy.TESTED`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mitmproxy import hooks
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, mode_servers, mode_specs, server, server_hooks, tunnel
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import _hooks
from mitmproxy.tls import TlsData
from mitmproxy.utils import asyncio_utils

from ibcm_bridge.addons import tested_mitmproxy
from ibcm_bridge.addons.layers.client_tls import BridgedClientTls
from ibcm_bridge.addons.server import guarded_hooks
from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.addons.server.listener import BridgeInstance, BridgeMode
from ibcm_bridge.addons.stages import DECISIONS, Waited, WaitFor
from tests.addons.contract.signatures import parameters
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import Running

# The connection handler (connection_handler, listener)


def test_the_tested_mitmproxy_is_a_version_that_the_bridge_accepts() -> None:
    assert tested_mitmproxy.why_untested() is None


def test_connection_io_has_a_handler_a_reader_and_a_writer() -> None:
    names = [field.name for field in dataclasses.fields(server.ConnectionIO)]
    assert names == ["handler", "reader", "writer"]
    assert server.ConnectionIO() == server.ConnectionIO(None, None, None)


def test_a_connection_handler_has_the_parts_that_the_bridge_uses() -> None:
    handler = server.ConnectionHandler
    assert parameters(handler.open_connection) == ["self", "command"]
    assert parameters(handler.handle_connection) == ["self", "connection"]
    assert parameters(handler.close_connection) == ["self", "connection", "half_close"]
    assert parameters(handler.server_event) == ["self", "event"]
    assert parameters(handler.handle_hook) == ["self", "hook"]
    assert parameters(handler.log) == ["self", "message", "level", "exc_info"]
    for name in ("open_connection", "handle_connection", "server_event", "handle_hook"):
        assert inspect.iscoroutinefunction(getattr(handler, name)), name
    assert not inspect.iscoroutinefunction(handler.close_connection)
    assert issubclass(BridgeConnectionHandler, handler)
    assert "timer.cancel()" in inspect.getsource(handler.handle_client)


def test_a_running_connection_handler_has_transports_a_layer_a_watchdog_and_timers(
    running: Running,
) -> None:
    seen: list[BridgeConnectionHandler] = []

    def look(_: Any) -> None:
        seen.extend(asyncio_handlers())

    def asyncio_handlers() -> list[Any]:
        from mitmproxy import ctx  # noqa: PLC0415 - bound when a master runs

        return list(ctx.master.addons.get("proxyserver").connections.values())  # type: ignore[attr-defined]

    running.add_hook("request", look)
    running.assert_serves()
    (handler,) = seen
    assert isinstance(handler, BridgeConnectionHandler)
    assert isinstance(handler.layer, Layer)
    assert isinstance(handler.transports, dict)
    assert isinstance(handler.wakeup_timer, set)


def test_a_connection_uses_nothing_of_its_watchdog_but_its_task() -> None:
    """The bridge has one without a task. `disarm` is in a hook that the bridge replaces."""
    source = inspect.getsource(server) + inspect.getsource(mode_servers)
    used = re.findall(r"self\.timeout_watchdog\.(\w+)", source)
    assert sorted(used) == ["disarm", "register_activity", "watch"]
    replaced = inspect.getsource(mode_servers.ProxyConnectionHandler.handle_hook)
    assert "timeout_watchdog.disarm" in replaced
    assert "timeout_watchdog.register_activity" in inspect.getsource(
        server.ConnectionHandler.server_event
    )


def test_only_server_event_calls_a_layer() -> None:
    """The bridge replaces it. Any other code that called the layer would bypass the guard."""
    source = inspect.getsource(server.ConnectionHandler)
    assert source.count("layer.handle_event(") == 1
    assert "layer.handle_event(" in inspect.getsource(server.ConnectionHandler.server_event)


def test_a_transport_can_be_the_writer_of_a_connection() -> None:
    source = inspect.getsource(server)
    used = set(re.findall(r"\bwriter\.(\w+)\(", source)) - {"drain"}
    assert used == {"close", "get_extra_info", "is_closing", "write", "write_eof"}
    for name in used:
        assert callable(getattr(asyncio.Transport, name))
    for name in ("drain_writers", "handle_connection", "open_connection", "server_event"):
        # The bridge replaces what drains and reads.
        source = source.replace(inspect.getsource(getattr(server.ConnectionHandler, name)), "")
    assert ".drain(" not in source
    assert ".read(" not in source


def test_a_server_connection_hook_carries_the_client_and_the_server() -> None:
    names = [field.name for field in dataclasses.fields(server_hooks.ServerConnectionHookData)]
    assert names == ["server", "client"]


def test_hook_data_has_the_types_in_the_withdrawal_table() -> None:
    assert set(guarded_hooks._WITHDRAW) == {TlsData, server_hooks.ServerConnectionHookData}
    for hook in (tls.TlsStartClientHook, tls.TlsStartServerHook, tls.TlsEstablishedClientHook):
        assert inspect.get_annotations(hook, eval_str=True)["data"] is TlsData


@pytest.mark.parametrize(
    ("command", "completed"),
    [(_hooks.HttpRequestHook(None), events.HookCompleted), (WaitFor(None, None), Waited)],  # type: ignore[arg-type]
)
def test_a_layer_gets_the_reply_to_the_command_it_waits_for(
    lab: Lab, command: commands.Command, completed: Callable[..., events.Event]
) -> None:
    given: list[object] = []

    class Waiting(Layer):
        def _handle_event(self, _: events.Event) -> Iterator[commands.Command]:
            given.append((yield command))

    layer = Waiting(open_connection(lab)[0])
    assert list(layer.handle_event(events.Start())) == [command]
    assert not given
    list(layer.handle_event(completed(command, "a reply")))
    assert given == ["a reply"]


def test_the_hooks_after_which_a_layer_refuses_are_hooks() -> None:
    assert hooks.all_hooks.keys() | DECISIONS >= guarded_hooks._LAYER_REFUSES


def test_a_mode_and_its_instance_register_by_being_defined() -> None:
    mode = mode_specs.ProxyMode.parse("bridge:policy@127.0.0.1:8443")
    assert isinstance(mode, BridgeMode)
    assert (mode.data, mode.listen_host(), mode.listen_port()) == ("policy", "127.0.0.1", 8443)
    assert type(mode_servers.ServerInstance.make(mode, None)) is BridgeInstance  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ibcm-bridge run"):
        mode_specs.ProxyMode.parse("bridge:x@8443")


def test_an_instance_passes_each_connection_to_handle_stream() -> None:
    assert parameters(mode_servers.AsyncioServerInstance.listen) == ["self", "host", "port"]
    assert "handle_stream" in inspect.getsource(mode_servers.AsyncioServerInstance.listen)


# Layers (front_door, site_system_leg, tls_ending, exchange, tunnel)


def test_the_tls_layer_has_the_parts_that_the_bridge_uses() -> None:
    for name in ("receive_handshake_data", "receive_data", "send_data", "send_close"):
        assert len(parameters(getattr(tls.TLSLayer, name))) == 2, name
    for name in ("tls_interact", "receive_close", "start_tls"):
        assert parameters(getattr(tls.TLSLayer, name)) == ["self"], name
    assert parameters(tls.TLSLayer.on_handshake_error) == ["self", "err"]
    assert tls.TLSLayer.tls is None
    assert callable(tls.ClientTLSLayer.errored)
    assert issubclass(tls.ServerTLSLayer, tls.TLSLayer)
    assert parameters(tls.ServerTLSLayer.__init__) == ["self", "context", "conn"]


def test_a_tls_layer_without_an_openssl_connection_closes() -> None:
    source = inspect.getsource(tls.TLSLayer.start_tls)
    assert source.index("if not tls_start.ssl_conn") < source.index("CloseConnection(self.conn)")


def test_a_client_tls_layer_needs_only_the_front_door_below(lab: Lab) -> None:
    context, _ = open_connection(lab)
    Layer.__init__(BridgeLikeLayer.__new__(BridgeLikeLayer), context)
    layer = BridgedClientTls(context)
    assert context.client.tls
    assert not layer.server_tls_available
    assert layer.tunnel_state is tunnel.TunnelState.INACTIVE
    assert parameters(tunnel.TunnelLayer._handshake_finished) == ["self", "err"]


class BridgeLikeLayer(Layer):
    def _handle_event(self, event: events.Event) -> Any:
        yield from ()


def test_a_child_layer_can_be_set_before_the_start(lab: Lab) -> None:
    context, _ = open_connection(lab)
    stack = tls.ServerTLSLayer(context.fork(), Server(address=("127.0.0.1", 1)))
    stack.child_layer = child = BridgeLikeLayer(context)
    assert stack.child_layer is child


def test_a_layer_waits_only_for_its_own_blocking_commands(lab: Lab) -> None:
    context, _ = open_connection(lab)
    server_connection = Server(address=("127.0.0.1", 1))

    class Dials(BridgeLikeLayer):
        def _handle_event(self, event: events.Event) -> Any:
            command = commands.OpenConnection(server_connection)
            command.blocking = self.blocking
            yield command

        blocking: Any = True

    for blocking, waits in ((True, True), (False, False), (BridgeLikeLayer(context), False)):
        layer = Dials(context)
        layer.blocking = blocking
        (command,) = layer.handle_event(events.Start())
        assert bool(layer._paused) is waits
        assert (command.blocking is layer) is waits


def test_only_hooks_and_open_connection_are_blocking() -> None:
    assert commands.StartHook.blocking is True
    assert commands.OpenConnection.blocking is True
    for command in (commands.SendData, commands.CloseConnection, commands.RequestWakeup):
        assert command.blocking is False


def test_connection_states_are_flags() -> None:
    assert ConnectionState.OPEN & ~ConnectionState.CAN_READ is ConnectionState.CAN_WRITE
    assert ConnectionState.CAN_WRITE & ~ConnectionState.CAN_WRITE is ConnectionState.CLOSED


def test_a_client_hello_is_recognized_only_at_the_start() -> None:
    assert parameters(tls.parse_client_hello) == ["data"]
    assert tls.parse_client_hello(b"\x16\x03\x01") is None
    assert starts_like_tls_record(b"\x16\x03\x01")
    assert not starts_like_tls_record(b"\x16\x03")
    with pytest.raises(ValueError):
        tls.parse_client_hello(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00GET / HTTP")


# The event loop


def test_an_eager_task_runs_before_create_task_returns() -> None:
    """mitmproxy's master makes all tasks eager; `server_event` depends on that."""
    order = []

    async def inner() -> None:
        order.append("inner")

    async def outer() -> None:
        with asyncio_utils.set_eager_task_factory():
            task = asyncio.create_task(inner())
            order.append("outer")
            await task

    asyncio.run(outer())
    assert order == ["inner", "outer"]
