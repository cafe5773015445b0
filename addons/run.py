"""Runs a bridge until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from mitmproxy import options
from mitmproxy.addons.core import Core
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.master import Master
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ibcm_bridge.addons.bridge import Bridge
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import TrafficObserver
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.serving import (
    OperationsSetup,
    listen,
    operating,
    traffic_metrics,
)
from ibcm_bridge.addons.server import listener
from ibcm_bridge.policy.addresses import Address, socket_address
from ibcm_bridge.policy.policy import Policy

if TYPE_CHECKING:
    from ibcm_bridge.addons.web.web_page import WebPage

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long requests under way may take to finish when the bridge stops."""

CLOSE_SECONDS = 1.0
"""How long connections may then take to close."""


class NoOtherDials:
    """Refuses every server connection that `BridgeConnectionHandler` does not open.

    That handler calls its hooks itself. mitmproxy's dispatch is only reached by other connections,
    such as a replayed flow, which would be sent without a decision.
    """

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Refuse the connection in the way that mitmproxy expects."""
        data.server.error = "refused by the bridge"


class BridgeMaster(Master):
    """A minimal master: mitmproxy's core and server, without its other addons."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(options.Options())
        self.runtime = bridge
        self.servers = Proxyserver()
        self.addons.add(Core(), self.servers, NoOtherDials())
        self.options.update(
            mode=[
                f"{listener.BridgeMode.type_name}:{index}@{_listen_spec(published.address)}"
                for index, published in bridge.generation.listeners.items()
            ],
            connection_strategy="lazy",
            http2=False,
            # Only mitmproxy's last resort: the bridge's own timeouts are shorter.
            tcp_timeout=86_400,
        )

    def addresses(self) -> list[Address]:
        """Return the addresses of the open listeners."""
        return [socket_address(name) for name in self.servers.listen_addrs()]


async def run(
    policy: Policy, ready: Callable[[list[Address]], None], page: WebPage | None = None
) -> None:
    """Run until SIGTERM or Ctrl-C. `ready` is called with the addresses. Raises StartError.

    `page`, if given, is served meanwhile and shows the traffic.
    """
    stop = stopped_by_signals()
    numbers = Numbers()
    observers: list[TrafficObserver] = traffic_metrics(policy, numbers)
    async with contextlib.AsyncExitStack() as stack:
        setup = OperationsSetup(listen(policy.operations, stack))
        if page is not None:
            observers.append(await stack.enter_async_context(page))
        bridge = Bridge(policy, observers)
        await serve(bridge, ready, stop, operating(bridge, numbers, setup))


def stopped_by_signals() -> asyncio.Event:
    """Return an event that a signal to stop the process sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A hangup would otherwise end the process at once, without the records of open requests.
    names = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # event loops on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    return stop


async def serve(
    bridge: Bridge,
    ready: Callable[[list[Address]], None],
    stop: asyncio.Event,
    operations: contextlib.AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Serve until `stop` is set, then wait for requests under way. Raises StartError.

    `operations` is entered while the bridge is open.
    """
    with contextlib.closing(bridge):
        async with operations or contextlib.nullcontext():
            await _serve(bridge, ready, stop)


async def _serve(
    bridge: Bridge, ready: Callable[[list[Address]], None], stop: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    master = BridgeMaster(bridge)
    serving = asyncio.create_task(master.run())
    try:
        async with bridge.generation.running():
            await _until_listening(master, serving)
            # These objects live as long as the process: exclude them from garbage collection.
            gc.freeze()
            ready(master.addresses())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            bridge.draining = True
            deadline = loop.time() + DRAIN_SECONDS
            await _drain(master, deadline)
        await _close_connections(master, deadline + CLOSE_SECONDS)
    finally:
        master.shutdown()  # type: ignore[no-untyped-call]
        await serving


async def _until_listening(master: BridgeMaster, serving: asyncio.Task[None]) -> None:
    while not master.servers.is_running:
        if serving.done():
            serving.result()
            raise StartError("mitmproxy stopped before it opened the listeners")
        await asyncio.sleep(0.01)
    servers = master.servers.servers
    failed = [_why(server.last_exception) for server in servers if not server.is_running]
    if failed or len(servers) != len(master.options.mode):
        raise StartError("; ".join(failed) or "not every listener could be opened")


def _why(error: BaseException | None) -> str:
    """Return the text of an error, without mitmproxy's prefix."""
    cause = error.__cause__ or error if error else None
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause)


async def _drain(master: BridgeMaster, deadline: float) -> None:
    """Stop accepting connections, then wait for requests under way."""
    for server in master.servers.servers:
        if server.is_running:
            await server.stop()
    loop = asyncio.get_running_loop()
    while _under_way(master) and loop.time() < deadline:
        await asyncio.sleep(0.05)


async def _close_connections(master: BridgeMaster, deadline: float) -> None:
    """Close all connections. Requests that waited for an inspection were refused before."""
    loop = asyncio.get_running_loop()
    for handler in list(master.servers.connections.values()):
        for io in list(handler.transports.values()):
            if io.handler is not None:
                io.handler.cancel("the bridge is stopping")
    while master.servers.connections and loop.time() < deadline:
        await asyncio.sleep(0.01)


def _under_way(master: BridgeMaster) -> bool:
    return any(
        master.runtime.connections.of(handler.client).under_way
        for handler in master.servers.connections.values()
    )


def _listen_spec(address: Address) -> str:
    # mitmproxy splits at the last colon, and expects IPv6 addresses without brackets.
    host, port = address
    return f"{host}:{port}"
