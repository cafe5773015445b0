"""Runs a bridge until it is told to stop."""

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
from ibcm_bridge.addons.renewal.renewal import keep_current, stopped
from ibcm_bridge.addons.server import listener
from ibcm_bridge.policy.addresses import Address, socket_address
from ibcm_bridge.policy.policy import Policy

if TYPE_CHECKING:
    from ibcm_bridge.addons.web.web_page import WebPage

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""How long requests under way may take to finish when the bridge is told to stop."""


class NoOtherDials:
    """Refuses every connection to a server that is not opened by `BridgeConnectionHandler`.

    Ours calls its hooks itself (`listener`). What goes through mitmproxy's own dispatch is another:
    a replayed flow, which would be sent without a decision.
    """

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Say no, as mitmproxy wants it said."""
        data.server.error = "refused by the bridge"


class BridgeMaster(Master):
    """A lean master: mitmproxy's core and server, and none of its traffic-changing addons."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(options.Options())
        self.runtime = bridge
        self.servers = Proxyserver()
        self.addons.add(Core(), self.servers, NoOtherDials())
        self.options.update(
            mode=[
                f"{listener.BridgeMode.type_name}:{index}@{_listen_spec(one.address)}"
                for index, one in bridge.generation.listeners.items()
            ],
            connection_strategy="lazy",
            http2=False,
            # Ours are shorter; this one is only mitmproxy's last resort.
            tcp_timeout=86_400,
        )

    def addresses(self) -> list[Address]:
        """What is listened on."""
        return [socket_address(name) for name in self.servers.listen_addrs()]


async def run(
    policy: Policy, ready: Callable[[list[Address]], None], page: WebPage | None = None
) -> None:
    """Run until SIGTERM or Ctrl-C. `ready` is told the addresses. Raises StartError.

    `page` is served meanwhile, and shows what passes.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # A hangup would otherwise end the process at once, audit and all.
    names = ("SIGTERM", "SIGINT", "SIGHUP")  # Windows has no SIGHUP
    for number in [getattr(signal, name) for name in names if hasattr(signal, name)]:
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows has no such loop
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with page or contextlib.nullcontext():
        await serve(Bridge(policy, [page] if page else ()), ready, stop)


async def serve(
    bridge: Bridge, ready: Callable[[list[Address]], None], stop: asyncio.Event
) -> None:
    """Serve until `stop` is set, then let what is under way finish. Raises StartError."""
    with contextlib.closing(bridge):
        master = BridgeMaster(bridge)
        serving = asyncio.create_task(master.run())
        renewing = [asyncio.create_task(keep_current(one)) for one in bridge.generation.renewals]
        try:
            await _until_listening(master, serving, len(bridge.generation.listeners))
            # What has been built lives as long as the process: collections need not look at it.
            gc.freeze()
            ready(master.addresses())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            await _drain(master)
        finally:
            for task in renewing:
                await stopped(task)
            await bridge.generation.workers.stop()
            master.shutdown()  # type: ignore[no-untyped-call]
            await serving


async def _until_listening(master: BridgeMaster, serving: asyncio.Task[None], count: int) -> None:
    while not master.servers.is_running:
        if serving.done():
            serving.result()
            raise StartError("mitmproxy stopped before it listened")
        await asyncio.sleep(0.01)
    failed = [_why(one.last_exception) for one in master.servers.servers if not one.is_running]
    if failed or len(master.servers.servers) != count:
        raise StartError("; ".join(failed) or "not every listener could be opened")


def _why(error: BaseException | None) -> str:
    """In words, without what mitmproxy puts around them."""
    cause = error.__cause__ or error if error else None
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause)


async def _drain(master: BridgeMaster) -> None:
    """Stop accepting, then let what is under way finish for a while."""
    for server in master.servers.servers:
        if server.is_running:
            await server.stop()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    while _under_way(master) and loop.time() < deadline:
        await asyncio.sleep(0.05)
    # Who still waits for an inspection is refused, rather than left without an answer.
    await master.runtime.generation.workers.stop()
    for handler in list(master.servers.connections.values()):
        for io in list(handler.transports.values()):
            if io.handler is not None:
                io.handler.cancel("the bridge stops")
    while master.servers.connections and loop.time() < deadline + 1.0:
        await asyncio.sleep(0.01)


def _under_way(master: BridgeMaster) -> bool:
    return any(
        master.runtime.connections.of(handler.client).under_way
        for handler in master.servers.connections.values()
    )


def _listen_spec(address: Address) -> str:
    # As mitmproxy takes it apart: at the last colon, with no brackets around IPv6.
    host, port = address
    return f"{host}:{port}"
