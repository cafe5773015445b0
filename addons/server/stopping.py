"""How the bridge stops: no new connections, then the end of those that are open.

1. Each response ends its connection (`Connection: close`), except a 401: a client would have to
   begin its Windows sign-in again.
2. Connections without a request, and those that wait for a PROXY header, have `IDLE_SECONDS`, from
   the stop or the end of their last request. A request that is on its way then is still served.
3. Requests under way, tunnels, and the ends of responses that are still to be sent have the time of
   the policy. Then all connections are closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from mitmproxy.proxy.server import ConnectionHandler

from ibcm_bridge.addons.connections import Connections

IDLE_SECONDS = 1.0
"""How long a connection without a request stays open."""

POLL_SECONDS = 0.02

CLOSE_SECONDS = 1.0
"""How long connections may take to close."""

type Handlers = Mapping[Any, ConnectionHandler]


class Stop:
    """The request to stop a bridge."""

    def __init__(self) -> None:
        self._asked = False
        self.begun = asyncio.Event()
        self.at_once = asyncio.Event()
        """Set to close all connections now."""

    def ask(self) -> None:
        """Stop after the open requests and tunnels; the second call stops at once."""
        if self._asked:
            self.at_once.set()
        self._asked = True
        self.begun.set()


async def drain(
    handlers: Handlers, connections: Connections, at_once: asyncio.Event, seconds: float
) -> int:
    """Wait until all requests and tunnels have ended, for a time, or until `at_once`.

    Return the number of those that are still open, or whose last data is still to be sent.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    connections.end_after_response()
    deadline = began + seconds
    # A connection that was just accepted has no handler before its task runs.
    await asyncio.sleep(POLL_SECONDS)
    while (handlers or connections.flushing) and loop.time() < deadline and not at_once.is_set():
        idle_since = loop.time() - IDLE_SECONDS
        if began <= idle_since:
            _close(
                handler
                for handler in handlers.values()
                if not (record := connections.of(handler.client)).is_busy
                and record.idle_since <= idle_since
            )
        await asyncio.sleep(POLL_SECONDS)
    busy = sum(connections.of(handler.client).is_busy for handler in handlers.values())
    return busy + connections.flushing


async def close_all(handlers: Handlers) -> None:
    """Close all connections. Requests that waited for an inspection were refused before."""
    loop = asyncio.get_running_loop()
    _close(list(handlers.values()))
    deadline = loop.time() + CLOSE_SECONDS
    while handlers and loop.time() < deadline:
        await asyncio.sleep(0.01)


def _close(handlers: Iterable[ConnectionHandler]) -> None:
    for handler in handlers:
        for io in list(handler.transports.values()):
            if io.handler is not None:
                io.handler.cancel("the bridge is stopping")
            elif isinstance(io.writer, asyncio.Transport):
                io.writer.abort()  # it waits for its header
