"""Runs a bridge until a signal stops it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

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
from ibcm_bridge.addons.renewal.renewal import keep_current
from ibcm_bridge.addons.run.background import run_in_background
from ibcm_bridge.addons.run.credential_files import CredentialFiles
from ibcm_bridge.addons.run.generations import Generations
from ibcm_bridge.addons.run.handover import Inherited
from ibcm_bridge.addons.run.master import BridgeMaster
from ibcm_bridge.addons.run.one_process import OneProcess
from ibcm_bridge.addons.run.reload import PolicySource, Reload
from ibcm_bridge.addons.run.startup import Startup
from ibcm_bridge.addons.server.open_sockets import close_sockets, open_all
from ibcm_bridge.addons.server.stopping import Stop, close_all, drain
from ibcm_bridge.decisions.observing import NOTICE
from ibcm_bridge.os_errors import ListenError
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Policy

if TYPE_CHECKING:
    from ibcm_bridge.addons.web.web_page import WebPage

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
"""How long another thread that computes may keep the interpreter lock when the event loop wants it.
With Python's default of 5 ms, the loop waited so long after each system call while a thread built a
policy."""


async def run(
    policy: Policy,
    source: PolicySource,
    ready: Callable[[list[Address]], None],
    startup: Startup,
    page: WebPage | None = None,
) -> bool:
    """Run until SIGTERM or Ctrl-C. `ready` is called with the addresses. Raises StartError.

    SIGHUP reads the policy again, and the control socket gives orders. `page`, if given, is served
    meanwhile and shows the traffic. Return as `serve` does.
    """
    stop = stopped_by_signals()
    numbers = Numbers()
    observers: list[TrafficObserver] = traffic_metrics(policy, numbers)

    def started(reload: Reload) -> None:
        def read_again() -> None:
            run_in_background(reload.run(source))

        by_signal(("SIGHUP",), read_again)
        if startup.reload_asked():
            read_again()
        run_in_background(keep_current(CredentialFiles(bridge, reload, source.read)))
        controlled = OneProcess(bridge, reload, source, stop, setup, startup=startup)
        startup.control(controlled, asyncio.get_running_loop())
        run_in_background(_close_at(stop, startup))

    def serving(addresses: list[Address]) -> None:
        exclude_from_collection()
        ready(addresses)
        run_in_background(asyncio.to_thread(startup.finish))

    async with contextlib.AsyncExitStack() as stack:
        stack.callback(startup.close)
        sockets = _listen(policy, startup.inherited, stack)
        setup = OperationsSetup(listen(policy.operations, stack, startup.inherited.sockets))
        if page is not None:
            observers.append(await stack.enter_async_context(page))
        bridge = Bridge(policy, observers, sockets=sockets)
        if page is not None:
            page.show_notice(lambda: _notice(bridge.generation.policy))
        operations = operating(bridge, numbers, setup)
        return await serve(bridge, serving, stop, operations, started)


def _listen(
    policy: Policy, inherited: Inherited, opened: contextlib.AsyncExitStack
) -> Mapping[Address, Sequence[socket.socket]]:
    """Open the listeners that were not inherited. Raise StartError."""
    addresses = policy.listen_addresses
    inherited.close_others(policy.all_addresses)
    found = inherited.of(addresses)
    try:
        more = open_all(address for address in addresses if address not in found)
    except ListenError as error:
        raise StartError(error.strerror) from error
    opened.callback(close_sockets, more)
    return {**found, **more}


async def _close_at(stop: Stop, startup: Startup) -> None:
    """Accept no further orders from the moment the bridge stops."""
    await stop.begun.wait()
    startup.close()


def _notice(policy: Policy) -> str:
    """Return what the page says of a policy with publications that observe."""
    names = [
        publication.name
        for _, publication in policy.bridged()
        if publication.observe_because is not None
    ]
    return f"{NOTICE} ({', '.join(names)})" if names else ""


def exclude_from_collection() -> None:
    """Exclude all objects that exist now from garbage collection: they live as long as the process.

    Only for a process that runs one bridge. Of the bridges that ran before, nothing would be freed.
    """
    gc.freeze()


def stopped_by_signals() -> Stop:
    """Return what asks the bridge to stop. A signal asks, a second one stops it at once."""
    stop = Stop()
    by_signal(("SIGTERM", "SIGINT"), stop.ask)
    ignore_user_signals()
    return stop


def by_signal(names: Sequence[str], function: Callable[[], object]) -> None:
    """Call a function on the event loop at each signal."""
    loop = asyncio.get_running_loop()
    for number in _signals(*names):
        try:
            loop.add_signal_handler(number, function)
        except NotImplementedError:  # event loops on Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(function))


def ignore_user_signals() -> None:
    """Ignore signals that other programs use to reopen logs. They would end the process."""
    for number in _signals("SIGUSR1", "SIGUSR2"):
        signal.signal(number, signal.SIG_IGN)


def _signals(*names: str) -> list[int]:
    """Return the signals of these names that the system has. Windows has few."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


async def serve(
    bridge: Bridge,
    ready: Callable[[list[Address]], None],
    stop: Stop,
    operations: contextlib.AbstractAsyncContextManager[None] | None = None,
    started: Callable[[Reload], None] = lambda _: None,
) -> bool:
    """Serve until `stop`, then wait for open requests and tunnels. Raises StartError.

    `operations` is entered while the bridge is open. `started` is called before `ready`, with what
    can replace the policy. Return True if all requests and tunnels ended in time.
    """
    with contextlib.closing(bridge):
        async with bridge.running(), operations or contextlib.nullcontext():
            return await _serve(bridge, ready, stop, started)


async def _serve(
    bridge: Bridge,
    ready: Callable[[list[Address]], None],
    stop: Stop,
    started: Callable[[Reload], None],
) -> bool:
    master = BridgeMaster(bridge)
    serving = asyncio.create_task(master.run())
    try:
        async with Generations(bridge) as generations:
            await _until_listening(master, serving)
            started(Reload(bridge, master, generations))
            sys.setswitchinterval(SWITCH_SECONDS)
            ready(master.addresses())
            stopping = asyncio.create_task(stop.begun.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            left = await _drain(master, stop.at_once)
            cut_off = f"requests and tunnels cut off: {left}"
            bridge.shared.audit.outcome = cut_off if left else "drained"
        await close_all(master.servers.connections)
        generations.release()
        return not left
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


async def _drain(master: BridgeMaster, at_once: asyncio.Event) -> int:
    """Stop accepting connections, then wait for those that are open."""
    master.runtime.draining = True
    for server in master.servers.servers:
        if server.is_running:
            await server.stop()
    connections, limits = master.runtime.connections, master.runtime.generation.policy.limits
    left = await drain(master.servers.connections, connections, at_once, limits.drain_seconds)
    if left:
        logger.warning("open requests and tunnels that are cut off: %d", left)
    return left
