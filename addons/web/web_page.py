"""mitmproxy's web page on the bridge's traffic: an addon that looks on (`run --web`).

1. Whatever the audit has a record of is shown once it is written, as `redacted_flows` makes it: a
   request, a tunnel, a refused connection.
2. Views of messages are made in a thread, for a client can make one take seconds. Few may wait for
   it, and what comes when there are enough is shown without one.
3. `Kept` has the flows, up to a number of them and of bytes; the oldest go first.
4. `web_server` serves them, read-only.

Nothing here may do anything to traffic: whatever is raised is logged and goes no further, and
nothing is waited for. The page's own mitmproxy objects (flows, options) are not those the bridge
runs on.
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
"""What is kept to be shown."""

MAX_WAITING = 16
"""Requests that wait for their views, each with up to twice `redacted_flows.MAX_BODY`."""


def _apart[**P](hook: Callable[P, None]) -> Callable[P, None]:
    """A hook whose failures stay the page's own; a panic of an extension module is one, too."""

    @functools.wraps(hook)
    def guarded(*arguments: P.args, **more: P.kwargs) -> None:
        try:
            hook(*arguments, **more)
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
        self._answers: dict[str, tuple[Response | None, Readable | None]] = {}
        """Of the request under way, by connection: the answer's head, and its body if collected."""
        self._reader = ThreadPoolExecutor(1, "web-page")
        self._waiting = 0

    async def __aenter__(self) -> Self:
        """Serve. StartError where it cannot be listened on."""
        try:
            self._server.start()
        except ListenError as error:
            why, _, _ = str(error.strerror).partition("; ")
            text = f"the page cannot be served: {why}; name another port: --web PORT"
            raise StartError(text) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        self._reader.shutdown(cancel_futures=True)

    @property
    def url(self) -> str:
        """Its address, with the token that opens it."""
        return self._server.url

    @_apart
    def responseheaders(self, flow: HTTPFlow) -> None:
        """Remember the head of an answer."""
        self._answers[flow.client_conn.id] = (flow.response, None)

    @_apart
    def reply_shown(self, flow: HTTPFlow) -> None:
        """Remember a reply, while all of it is there."""
        self._answers[flow.client_conn.id] = (flow.response, readable_reply(flow))

    @_apart
    def ended(self, ended: Ended) -> None:
        """Show what the audit has just written down."""
        match ended:
            case EndedTunnel():
                self.kept.add(tunnel_flow(ended))
            case RefusedConnection():
                self.kept.add(refused_flow(ended))
            case _:
                self._exchange(ended)

    def _exchange(self, exchange: ExchangeEnded) -> None:
        answer, reply = self._answers.pop(exchange.connection.client.id, (None, None))
        flow = exchange_flow(exchange, answer)
        asked = readable_request(exchange)
        if (asked is None and reply is None) or self._waiting >= MAX_WAITING:
            self.kept.add(flow)
            return
        self._waiting += 1
        loop = asyncio.get_running_loop()
        texts = loop.run_in_executor(self._reader, _texts, asked, reply)
        texts.add_done_callback(functools.partial(self._show, flow))

    @_apart
    def _show(self, flow: HTTPFlow | TCPFlow, texts: asyncio.Future[_Texts]) -> None:
        """Show a request with the views that have been made of it."""
        self._waiting -= 1
        if texts.cancelled():
            return  # the bridge stops
        if isinstance(flow, HTTPFlow):
            for message, text in zip((flow.request, flow.response), texts.result(), strict=True):
                if message is not None and text is not None:
                    message.raw_content = text.encode()  # and not the length that was sent
        self.kept.add(flow)

    @_apart
    def client_disconnected(self, client: Client) -> None:
        """Forget what was under way on a connection whose request has no record."""
        self._answers.pop(client.id, None)


type _Texts = tuple[str | None, str | None]


def _texts(request: Readable | None, reply: Readable | None) -> _Texts:
    """What is shown of a request's body and its answer's; None where they are only counted."""
    return _text_of(request), _text_of(reply)


def _text_of(body: Readable | None) -> str | None:
    if body is None:
        return None
    try:
        return body.text()
    except BaseException as error:
        return f"A defect of this view: {type(error).__name__}."


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
