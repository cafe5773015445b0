"""The base of all handlers of the page: access control, and the header fields of each response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tornado.web import HTTPError, RequestHandler

from ibcm_bridge.lab.page.controller import Controller
from ibcm_bridge.lab.page.guard import TOKEN_HEADER, Guard
from ibcm_bridge.lab.page.streams import Streams

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_ALWAYS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guarded(RequestHandler):
    """Checks the access before each request."""

    def initialize(
        self, guard: Guard, controller: Controller, streams: Streams, summary: Mapping[str, Any]
    ) -> None:
        self.guard = guard
        self.controller = controller
        self.streams = streams
        self.summary = summary

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in _ALWAYS.items():
            self.set_header(name, value)

    def token(self) -> str:
        """Return the token of the request."""
        return self.request.headers.get(TOKEN_HEADER, "")

    def prepare(self) -> None:
        headers = self.request.headers
        refusal = self.guard.refusal(headers.get("Host", ""), headers.get("Origin"), self.token())
        if refusal:
            raise HTTPError(403, reason="Forbidden", log_message=refusal)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None))[1]
        why = error.log_message if isinstance(error, HTTPError) else ""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{why or self._reason}\n")

    def log_exception(self, *_: Any) -> None:
        """Refusals are not logged."""

    def json(self, data: Mapping[str, Any]) -> None:
        """Send a JSON response."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(data))


class ByAddress(Guarded):
    """Requests that the browser sends without fetch(): the token is in the query."""

    def token(self) -> str:
        return self.get_query_argument("token", "")
