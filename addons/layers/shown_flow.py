"""Requests and responses as mitmproxy objects, for addons that show traffic.

`ShownFlow` calls mitmproxy's hooks for a request, after each decision. The objects are never sent,
so changes to them have no effect.

mitmproxy checks the type of every attribute of a new message. The values here are already typed,
and the check would take a tenth of a request's time, so it is skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from mitmproxy import flow, http
from mitmproxy.connection import Server
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from ibcm_bridge.addons.connections import ConnectionRecord, Origin
from ibcm_bridge.addons.events import ReplyShownHook
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.stages import GuardedHooks, result_of
from ibcm_bridge.decisions.denial import Deny, Refused
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.received_head import ReceivedHead

type _FlowHook = (
    HttpRequestHeadersHook
    | HttpRequestHook
    | HttpResponseHeadersHook
    | ReplyShownHook
    | HttpResponseHook
    | HttpErrorHook
)
_HOOK_NAMES = (
    HttpRequestHeadersHook.name,
    HttpRequestHook.name,
    HttpResponseHeadersHook.name,
    ReplyShownHook.name,
    HttpResponseHook.name,
    HttpErrorHook.name,
)


class ShownFlow:
    """mitmproxy's flow of one request.

    Flows and calls of hooks are expensive, so there are none for hooks that no addon watches. The
    addons decide nothing, but each method raises Refused if one of them fails.
    """

    def __init__(self, context: Context, hooks: GuardedHooks) -> None:
        self._hooks = hooks
        self._watched = frozenset(name for name in _HOOK_NAMES if hooks.has(name))
        self._flow = http.HTTPFlow(context.client, context.server, True) if self._watched else None
        self._has_request = False

    def begin(self, head: RequestHead, connection: ConnectionRecord) -> None:
        """Store a request head. `request_head` shows it after the decision."""
        if self._flow is not None:
            self._has_request = True
            self._flow.request = shown_request(head, connection.origin)

    def request_head(self) -> Iterable[Any]:
        """Show the request head."""
        return self._show(HttpRequestHeadersHook)

    def read(self, body: bytes) -> None:
        """Store the body of the request. `request` shows it after the decision."""
        if self._flow is not None:
            self._flow.request.data.content = body
            self._flow.request.timestamp_end = time.time()

    def request(self) -> Iterable[Any]:
        """Show the request with its body."""
        return self._show(HttpRequestHook)

    def leg(self, server: Server) -> None:
        """Store the site-system leg of the request."""
        if self._flow is not None:
            self._flow.server_conn = server

    def began_response(self, response: ReceivedHead) -> None:
        """Store a response head. `response_head` shows it after the decision."""
        if self._flow is not None:
            self._flow.response = shown_response(response)

    def response_head(self) -> Iterable[Any]:
        """Show the response head."""
        return self._show(HttpResponseHeadersHook)

    def reply(self, body: bytes) -> Steps[None]:
        """Show a response with its body, before it is forwarded."""
        if self._flow is None or self._flow.response is None:
            return
        self._flow.response.data.content = body
        yield from self._show(ReplyShownHook)
        self._flow.response.data.content = None

    def response(self) -> Iterable[Any]:
        """Show the end of a forwarded response."""
        if self._flow is not None and self._flow.response is not None:
            self._flow.response.timestamp_end = time.time()
        return self._show(HttpResponseHook)

    def error(self, message: str) -> Steps[None]:
        """Show a failure, if there is a request to show."""
        if self._flow is None:
            return
        self._flow.live = False
        if self._has_request:
            self._flow.error = flow.Error(message)
            yield from self._show(HttpErrorHook)

    def _show(self, hook: type[_FlowHook]) -> Iterable[Any]:
        if self._flow is None or hook.name not in self._watched:
            return ()
        return self._call(hook(self._flow))

    def _call(self, hook: _FlowHook) -> Steps[None]:
        if isinstance(failed := (yield from result_of(self._hooks, hook)), Deny):
            raise Refused(failed)


class _RequestData(http.RequestData):
    def __post_init__(self) -> None:
        """Skip the type check."""


class _ResponseData(http.ResponseData):
    def __post_init__(self) -> None:
        """Skip the type check."""


def shown_request(head: RequestHead, origin: Origin) -> http.Request:
    """Return a request with its head. Its content is set after the body is read."""
    request = http.Request.__new__(http.Request)
    request.data = _RequestData(
        http_version=b"HTTP/1.1",
        headers=http.Headers(head.fields),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
        host=origin.host,
        port=origin.port,
        method=head.method,
        scheme=origin.scheme,
        authority=b"",
        path=head.target.raw,
    )
    return request


def shown_response(response: ReceivedHead) -> http.Response:
    """Return a response with its head. Its body is forwarded as a stream and not stored."""
    shown = http.Response.__new__(http.Response)
    shown.data = _ResponseData(
        http_version=b"HTTP/1.1",
        headers=http.Headers([(name, value) for _, name, value in response.fields]),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
        status_code=response.status,
        reason=response.reason,
    )
    return shown
