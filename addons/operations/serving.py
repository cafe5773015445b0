"""Starts and stops what a bridge has for its operation: checks, metrics and probes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ibcm_bridge.addons.events import TrafficObserver
from ibcm_bridge.addons.operations.board import Board, OwnBoard
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.pulse import Observed, Pulse
from ibcm_bridge.addons.operations.traffic_metrics import TrafficMetrics
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.policy import Operations, Policy

if TYPE_CHECKING:
    from ibcm_bridge.addons.operations.server import OperationsServer, State


class OperationsSetup:
    """The sockets and the board of all processes that serve clients."""

    def __init__(self, sockets: Sequence[socket.socket], board: Board | None = None) -> None:
        """Without sockets there are no metrics and probes, only checks."""
        self.sockets = sockets
        self.board = board or OwnBoard()
        self._server: OperationsServer | None = None

    def serve(self, state: State) -> None:
        """Serve the state, if there are sockets."""
        if self.sockets:
            # It takes a while to import this.
            from ibcm_bridge.addons.operations.server import OperationsServer  # noqa: PLC0415

            self._server = OperationsServer(self.sockets, state)

    async def stop_serving(self) -> None:
        """Stop listening, and close all connections."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop()


def listen(
    operations: Operations | None,
    opened: contextlib.ExitStack | contextlib.AsyncExitStack,
    inherited: Mapping[Address, Sequence[socket.socket]],
) -> list[socket.socket]:
    """Listen for scrapes and probes, if the policy says so. Raise ListenError.

    If the address has an `inherited` socket, that is used.
    """
    if operations is None:
        return []
    if operations.listen in inherited:
        return [opened.enter_context(listener) for listener in inherited[operations.listen]]
    host, port = operations.listen
    with listening_at(operations.listen):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = opened.enter_context(socket.create_server((host, port), family=family))
    listening.setblocking(False)
    return [listening]


def traffic_metrics(policy: Policy, numbers: Numbers) -> list[TrafficObserver]:
    """Return the observer that counts the traffic, if anything serves the numbers."""
    return [] if policy.operations is None else [TrafficMetrics(numbers)]


@contextlib.asynccontextmanager
async def operating(
    bridge: Observed, numbers: Numbers, setup: OperationsSetup
) -> AsyncIterator[None]:
    """Check the bridge, and serve metrics and probes, until the exit."""
    pulse = Pulse(bridge, numbers, setup.board)
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(pulse.running())
        setup.serve(pulse.state)
        stack.push_async_callback(setup.stop_serving)
        yield
