"""Requests and responses as mitmproxy objects, for addons that show traffic.

They are never sent. mitmproxy checks the type of every attribute of a new message. The values here
are already typed, and the check would take a tenth of a request's time, so it is skipped.
"""

from __future__ import annotations

import time

import h11
from mitmproxy import http

from ibcm_bridge.addons.connections import Origin
from ibcm_bridge.request.head import RequestHead


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


def shown_response(response: h11.Response) -> http.Response:
    """Return a response with its head. Its body is forwarded as a stream and not stored."""
    shown = http.Response.__new__(http.Response)
    shown.data = _ResponseData(
        http_version=b"HTTP/1.1",
        headers=http.Headers(response.headers.raw_items()),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
        status_code=response.status_code,
        reason=response.reason,
    )
    return shown
