"""Shows the bridge's traffic on mitmproxy's web page: an addon that only watches (`run --web`).

1. Each request, tunnel and refused connection is shown after its audit record is written, in the
   form that `redacted_flows` makes.
2. A thread makes the views of messages, because a client can make a view take seconds. Only a few
   requests may wait for a view; further ones are shown without it.
3. `FlowStore` stores the flows, up to limits in number and bytes; the oldest are removed first.
4. `web_server` serves them, read-only.

The page must not affect traffic: exceptions are logged and not propagated, and traffic never waits
for the page. Its mitmproxy objects (flows, options) are separate from those of the bridge.
"""

from __future__ import annotations

import asyncio
import collections
import functools
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from mitmproxy.addons.view import View
from mitmproxy.connection import Client
from mitmproxy.flow import Flow
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.tcp import TCPFlow

from ibcm_bridge.addons.connections import ExchangeEnded
from ibcm_bridge.addons.errors import StartError
from ibcm_bridge.addons.events import Ended, EndedTunnel, RefusedConnection
from ibcm_bridge.addons.web.redacted_flows import (
    Readable,
    exchange_flow,
    readable_reply,
    readable_request,
    refused_flow,
    size_of,
    tunnel_flow,
)
from ibcm_bridge.addons.web.web_server import WebServer
from ibcm_bridge.os_errors import ListenError

logger = logging.getLogger(__name__)

MAX_FLOWS = 1_000
MAX_BYTES = 33_554_432
"""Limits for the stored flows."""

MAX_WAITING = 16
"""The number of requests that may wait for views, each with up to 2 * `redacted_flows.MAX_BODY`."""


def _isolated[**P](hook: Callable[P, None]) -> Callable[P, None]:
    """Log and suppress the exceptions of a hook, including panics of extension modules."""

    @functools.wraps(hook)
    def guarded(*arguments: P.args, **more: P.kwargs) -> None:
        try:
            hook(*arguments, **more)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # The text of the exception may quote client data.
            trace = "".join(traceback.format_tb(error.__traceback__))
            name = type(error).__name__
            logger.error("defect in the web page: %s; traffic is not affected\n%s", name, trace)

    return guarded


class WebPage:
    """The page. As a context manager it serves the page until it exits."""

    def __init__(self, port: int) -> None:
        """Prepare the page for this port of 127.0.0.1; 0 selects a free port."""
        self.flows = FlowStore()
        self._server = WebServer(self.flows.view, self.flows.clear, port)
        self._responses: dict[str, tuple[Response | None, Readable | None]] = {}
        """Response head and collected body of the request under way, by connection id."""
        self._reader = ThreadPoolExecutor(1, "web-page")
        self._waiting = 0

    async def __aenter__(self) -> Self:
        """Serve the page. Raise StartError if the port cannot be opened."""
        try:
            self._server.start()
        except ListenError as error:
            why, _, _ = str(error.strerror).partition("; ")
            text = f"cannot serve the web page: {why}; select another port with --web PORT"
            raise StartError(text) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        self._reader.shutdown(cancel_futures=True)

    def show_notice(self, notice: Callable[[], str]) -> None:
        """Show the sentence that `notice` returns on every page; none if it is empty."""
        self._server.notice = notice

    @property
    def url(self) -> str:
        """The URL of the page, with its access token."""
        return self._server.url

    @_isolated
    def responseheaders(self, flow: HTTPFlow) -> None:
        """Record the head of a response."""
        self._responses[flow.client_conn.id] = (flow.response, None)

    @_isolated
    def reply_shown(self, flow: HTTPFlow) -> None:
        """Record a response while the flow has its whole body."""
        self._responses[flow.client_conn.id] = (flow.response, readable_reply(flow))

    @_isolated
    def ended(self, ended: Ended) -> None:
        """Show a request, tunnel or connection after its audit record is written."""
        match ended:
            case EndedTunnel():
                self.flows.add(tunnel_flow(ended))
            case RefusedConnection():
                self.flows.add(refused_flow(ended))
            case _:
                self._exchange(ended)

    def _exchange(self, exchange: ExchangeEnded) -> None:
        response, reply = self._responses.pop(exchange.connection.client.id, (None, None))
        flow = exchange_flow(exchange, response)
        request = readable_request(exchange)
        if (request is None and reply is None) or self._waiting >= MAX_WAITING:
            self.flows.add(flow)
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        texts = loop.run_in_executor(self._reader, _texts, request, reply)
        texts.add_done_callback(functools.partial(self._show, flow))

    @_isolated
    def _show(self, flow: HTTPFlow | TCPFlow, texts: asyncio.Future[_Texts]) -> None:
        """Show a request with its views."""
        self._waiting -= 1
        if texts.cancelled():
            return  # the bridge is stopping
        if isinstance(flow, HTTPFlow):
            for message, text in zip((flow.request, flow.response), texts.result(), strict=True):
                if message is not None and text is not None:
                    # Not `content`: that would change the Content-Length that was sent.
                    message.raw_content = text.encode()
        self.flows.add(flow)

    @_isolated
    def client_disconnected(self, client: Client) -> None:
        """Remove the response of a request that ended without a record."""
        self._responses.pop(client.id, None)


type _Texts = tuple[str | None, str | None]


def _texts(request: Readable | None, reply: Readable | None) -> _Texts:
    """Return the views of a request and its response; None where only the length is shown."""
    return _text_of(request), _text_of(reply)


def _text_of(body: Readable | None) -> str | None:
    if body is None:
        return None
    try:
        return body.text()
    except BaseException as error:
        return f"This view failed: {type(error).__name__}."


class FlowStore:
    """The shown flows, in the order in which they ended."""

    def __init__(self, flows: int = MAX_FLOWS, size: int = MAX_BYTES) -> None:
        self.view = View()
        self.size = 0
        """The approximate size of all flows, in bytes."""
        self._max_flows = flows
        self._max_size = size
        self._kept: collections.deque[tuple[Flow, int]] = collections.deque()

    def add(self, flow: Flow) -> None:
        """Add a flow, and remove the oldest flows while a limit is exceeded."""
        size = size_of(flow)
        self._kept.append((flow, size))
        self.size += size
        self.view.add([flow])
        while len(self._kept) > self._max_flows or self.size > self._max_size:
            oldest, removed = self._kept.popleft()
            self.size -= removed
            self.view.remove([oldest])

    def clear(self) -> None:
        """Remove all flows."""
        self._kept.clear()
        self.size = 0
        self.view.clear()
