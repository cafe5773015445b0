"""mitmproxy's web page on the bridge's traffic: an addon that looks on (`run --web`).

1. A request, a tunnel and a refused connection are shown once they have ended, as
   `redacted_flows` makes them.
2. `_Kept` has the flows, up to a number of them and of bytes; the oldest go first.
3. `web_server` serves them, read-only.

Nothing here may do anything to traffic: whatever is raised is logged and goes no further, and
nothing is waited for. The page's own mitmproxy objects (flows, options) are not those the bridge
runs on.
"""

from __future__ import annotations

import collections
import functools
import logging
import traceback
from collections.abc import Callable
from typing import Any, Self

from mitmproxy.addons.view import View
from mitmproxy.connection import Client
from mitmproxy.flow import Flow
from mitmproxy.http import HTTPFlow, Response

from ibcm_bridge.addons.connections import Exchange, exchange_of
from ibcm_bridge.addons.endings import EndedTunnel, RefusedConnection
from ibcm_bridge.addons.redacted_flows import (
    exchange_flow,
    refused_flow,
    reply_text,
    size_of,
    tunnel_flow,
)
from ibcm_bridge.addons.web_server import WebServer

logger = logging.getLogger(__name__)

MAX_FLOWS = 1_000
MAX_BYTES = 33_554_432
"""What is kept to be shown."""


def _apart[Data](hook: Callable[[Any, Data], None]) -> Callable[[Any, Data], None]:
    """A hook whose failures stay the page's own; a panic of an extension module is one, too."""

    @functools.wraps(hook)
    def guarded(page: Any, data: Data) -> None:
        try:
            hook(page, data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # Its text may quote what a client sent.
            trace = "".join(traceback.format_tb(error.__traceback__))
            name = type(error).__name__
            logger.error("defect in the web page: %s; traffic goes on\n%s", name, trace)

    return guarded


class WebPage:
    """Shows what passes. A context manager: it is served inside."""

    def __init__(self, port: int) -> None:
        """A page on this port of 127.0.0.1; 0 for any."""
        self.kept = Kept()
        self._server = WebServer(self.kept.view, self.kept.clear, port)
        self._answers: dict[str, tuple[Response | None, str | None]] = {}
        """Of the request under way, by connection: the answer's head, and the text of its body."""

    async def __aenter__(self) -> Self:
        """Serve. OSError where it cannot be listened on."""
        self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    @property
    def url(self) -> str:
        """Its address, with the token that opens it."""
        return self._server.url

    @_apart
    def responseheaders(self, flow: HTTPFlow) -> None:
        """Remember the head of an answer."""
        self._answers[flow.client_conn.id] = (flow.response, None)

    @_apart
    def reply_collected(self, flow: HTTPFlow) -> None:
        """Make the text of an answer, while all of it is there."""
        text = reply_text(exchange_of(flow))
        self._answers[flow.client_conn.id] = (flow.response, text)

    @_apart
    def exchange_ended(self, exchange: Exchange) -> None:
        """Show a request."""
        answer = self._answers.pop(exchange.connection.client.id, (None, None))
        self.kept.add(exchange_flow(exchange, *answer))

    @_apart
    def tunnel_ended(self, ended: EndedTunnel) -> None:
        """Show a tunnel."""
        self.kept.add(tunnel_flow(ended))

    @_apart
    def connection_refused(self, refused: RefusedConnection) -> None:
        """Show a connection that carried nothing."""
        self.kept.add(refused_flow(refused))

    @_apart
    def client_disconnected(self, client: Client) -> None:
        """Forget what was under way on a connection that ended by a defect."""
        self._answers.pop(client.id, None)


class Kept:
    """The flows that are shown, in the order they ended."""

    def __init__(self, flows: int = MAX_FLOWS, size: int = MAX_BYTES) -> None:
        self.view = View()
        self.held = 0
        """Bytes, about."""
        self._max_flows = flows
        self._max_size = size
        self._kept: collections.deque[tuple[Flow, int]] = collections.deque()

    def add(self, flow: Flow) -> None:
        """Keep one more, and as few less as have to go for it."""
        size = size_of(flow)
        self._kept.append((flow, size))
        self.held += size
        self.view.add([flow])
        while len(self._kept) > self._max_flows or self.held > self._max_size:
            oldest, gone = self._kept.popleft()
            self.held -= gone
            self.view.remove([oldest])

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self.held = 0
        self.view.clear()
