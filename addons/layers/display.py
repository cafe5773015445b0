"""Requests and responses as mitmproxy's own objects, for addons that show traffic.

Nothing is sent from them. mitmproxy checks the type of every attribute of a message it makes, which
is useful where messages are read from files and a tenth of a request's whole cost here, where the
values have been read into types already; so that check is left out.
"""

from __future__ import annotations

import time

import h11
from mitmproxy import http

from ibcm_bridge.request.head import RequestHead


class _RequestData(http.RequestData):
    def __post_init__(self) -> None:
        """Leave out the check of types."""


class _ResponseData(http.ResponseData):
    def __post_init__(self) -> None:
        """Leave out the check of types."""


def shown_request(head: RequestHead, server_name: str | None) -> http.Request:
    """A request head; its content is set when it has been read."""
    request = http.Request.__new__(http.Request)
    request.data = _RequestData(
        http_version=b"HTTP/1.1",
        headers=http.Headers(head.fields),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
        host=server_name or "",
        port=443,
        method=head.method,
        scheme=b"https",
        authority=b"",
        path=head.target.raw,
    )
    return request


def shown_response(response: h11.Response) -> http.Response:
    """A response head. Its content is passed on as it comes and not kept."""
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
