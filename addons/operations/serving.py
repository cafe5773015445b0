"""Starts and stops what a bridge has for its operation: checks, metrics and probes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

from ibcm_bridge.addons.events import TrafficObserver
from ibcm_bridge.addons.operations.board import Board, OwnBoard
from ibcm_bridge.addons.operations.numbers import Numbers
from ibcm_bridge.addons.operations.pulse import Observed, Pulse
from ibcm_bridge.addons.operations.traffic_metrics import TrafficMetrics
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.policy import Operations, Policy


class OperationsSetup:
    """The sockets and the board of all processes that serve clients."""

    def __init__(self, sockets: Sequence[socket.socket], board: Board | None = None) -> None:
        """Without sockets there are no metrics and probes, only checks."""
        self.sockets = sockets
        self.board = board or OwnBoard()


def listen(
    operations: Operations | None, opened: contextlib.ExitStack | contextlib.AsyncExitStack
) -> list[socket.socket]:
    """Listen for scrapes and probes, if the policy says so. Raise ListenError."""
    if operations is None:
        return []
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
        if setup.sockets:
            # It takes a while to import this.
            from ibcm_bridge.addons.operations.server import OperationsServer  # noqa: PLC0415

            server = OperationsServer(setup.sockets, pulse.state)
            stack.push_async_callback(server.stop)
        yield
