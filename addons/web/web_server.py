"""Serves mitmproxy's web application, restricted to read-only handlers.

mitmweb can replay, edit, kill and load flows, set options and run commands, each by one of its
`app.handlers`. This server serves only the handlers in `_SERVED`, with read-only methods;
everything else gets 403, including handlers that a newer mitmproxy adds. The handlers also have
nothing to act on: they get redacted flows, options that nothing reads, and no commands.

A request is served only if it comes from loopback, has 127.0.0.1 or localhost in its Host field
(against DNS rebinding), no Origin of another site, and the token.
"""

from __future__ import annotations

import hmac
import html
import logging
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from types import SimpleNamespace
from typing import Any, ClassVar

import tornado.httpserver
import tornado.web
from mitmproxy.addons.view import View
from mitmproxy.flow import Flow
from mitmproxy.http import Message
from mitmproxy.options import Options
from mitmproxy.tools.web import app
from mitmproxy.utils.strutils import cut_after_n_lines
from tornado.httputil import HTTPServerRequest

from ibcm_bridge.os_errors import listening_at

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
MAX_REQUEST = 65_536
"""Limit for a request body in bytes. The largest is that of the login form."""
MAX_WAITING = 2_000
"""Messages that may wait for a browser; a browser with more waiting is disconnected."""

COLUMNS = ("icon", "method", "path", "status", "time", "comment")
"""mitmweb's columns without the size, which would be that of the redacted copy."""

_STYLE = files("ibcm_bridge.config").joinpath("web_page.css")


_UNSHIPPED = re.compile(rb'<link rel="stylesheet" href="src/[^>]*>')
"""A leftover of the build of mitmproxy 12.3: no wheel has the file, so it would be a 403."""

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ibcm-bridge</title>
<p>This page shows the traffic of ibcm-bridge. The token is in the address that
<code>ibcm-bridge run --web</code> printed when it started.</p>{wrong}
<form method="post"><input type="password" name="token" size="50" autofocus>{xsrf}
<input type="submit" value="Show"></form></html>
"""
"""Replaces mitmproxy's form, which requests a missing image, which Tornado logs."""


class WebServer:
    """Serves a view of flows on loopback."""

    def __init__(self, view: View, clear: Callable[[], None], port: int) -> None:
        self.notice: Callable[[], str] = str
        """Returns a sentence for every page; empty for none."""
        self._port = port
        self._token = secrets.token_urlsafe(32)
        self._view = view
        self._clear = clear
        self._server: tornado.httpserver.HTTPServer | None = None

    @property
    def url(self) -> str:
        """The URL with the token, after `start`."""
        return f"http://{HOST}:{self._port}/?token={self._token}"

    def start(self) -> None:
        """Start to listen. Raise ListenError if that fails."""
        with listening_at((HOST, self._port)):
            listening = socket.create_server((HOST, self._port))
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        self._application = _Application(self._view, self._clear, self._port, self._token)
        self._application.settings["notice"] = self._current_notice
        self._server = tornado.httpserver.HTTPServer(
            self._application, max_body_size=MAX_REQUEST, max_buffer_size=2 * MAX_REQUEST
        )
        self._server.add_socket(listening)

    def _current_notice(self) -> str:
        return self.notice()

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        if self._server is not None:
            self._server.stop()
            for page in list(self._application.updates.connections):
                page.close()
            await self._server.close_all_connections()


class _ReadOnly:
    """Restricts a handler; placed before mitmproxy's class in the bases."""

    methods: ClassVar[tuple[str, ...]]
    request: HTTPServerRequest

    def prepare(self) -> Any:
        """Refuse other methods before the handler runs."""
        if self.request.method not in self.methods:
            raise tornado.web.HTTPError(403)
        return super().prepare()  # type: ignore[misc]

    def set_default_headers(self) -> None:
        """Disable caching in the browser, and the Referer field for other sites."""
        super().set_default_headers()  # type: ignore[misc]
        self.set_header("Cache-Control", "no-store")  # type: ignore[attr-defined]
        self.set_header("Referrer-Policy", "same-origin")  # type: ignore[attr-defined]

    def log_exception(self, kind: Any, error: Any, _trace: Any) -> None:
        """Log the handler and type. Tornado would log the request, including the token."""
        if not isinstance(error, tornado.web.HTTPError):
            logger.error("defect in the web page, %s: %s", type(self).__name__, kind.__name__)


class _Index(_ReadOnly, app.IndexHandler):
    """The page, with a stylesheet that hides refused functions."""

    def auth_fail(self, invalid_password: bool) -> None:
        wrong = "<p><b>The token is not valid.</b></p>" if invalid_password else ""
        self.write(_LOGIN.format(wrong=wrong, xsrf=self.xsrf_form_html()))

    def get(self) -> None:
        if "token" in self.request.arguments:
            # A cookie has replaced the token: remove it from the address bar and the history.
            self.redirect("./")
            return
        page = self.render_string("../index.html")
        link = b'<link rel="stylesheet" href="./ibcm-bridge.css"></head>'
        page = _UNSHIPPED.sub(b"", page).replace(b"</head>", link, 1)
        if text := self.application.settings["notice"]():
            notice = f'<div id="notice">{html.escape(text)}</div></body>'.encode()
            page = page.replace(b"</body>", notice, 1)
        self.write(page)

    post = get


class _Updates(_ReadOnly, app.ClientConnection):
    """The WebSocket that sends updates to the page."""

    connections: ClassVar[set[Any]]

    def send(self, message: bytes) -> None:
        if self._send_queue.qsize() < MAX_WAITING:
            super().send(message)
        else:
            self.close()


class _FlowContentView(_ReadOnly, app.FlowContentView):
    """The text of a message. It is already a view, so mitmproxy's views are not used."""

    def message_to_json(  # type: ignore[override]
        self, view_name: str, message: Any, flow: Any, max_lines: int | None = None, **more: Any
    ) -> dict[str, Any]:
        # Not `content`: the Content-Encoding in the head does not apply to a view.
        raw = message.raw_content if isinstance(message, Message) else message and message.content
        text = (raw or b"").decode("utf-8", "replace")
        if max_lines:
            text = cut_after_n_lines(text, max_lines)
        shown = {"text": text, "view_name": "ibcm-bridge", "syntax_highlight": "none"}
        more = {key: value for key, value in more.items() if value is not None}
        return {**shown, "description": "secrets are not shown", **more}


class _State(_ReadOnly, app.State):
    def get(self) -> None:
        state = self.get_json(self.application.master)
        self.write({**state, "contentViews": ["auto"]})


class _ClearAll(_ReadOnly, app.ClearAll):
    """Removes the shown flows. Traffic and the audit are not affected."""

    def post(self) -> None:
        self.application.settings["clear"]()


class _Style(_ReadOnly, app.RequestHandler):
    methods = ("GET",)

    def get(self) -> None:
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.write(_STYLE.read_text("utf-8"))


class Refused(tornado.web.RequestHandler):
    """Refuses handlers that are not read-only, and unknown paths."""

    def prepare(self) -> None:
        """Respond with 403 and the reason."""
        self.set_status(403)
        self.finish("This page only shows traffic.\n")

    def check_xsrf_cookie(self) -> None:
        """Skip the check: `prepare` has already refused the request, with a reason."""


_SERVED: Mapping[type[Any], tuple[str, ...]] = {
    app.IndexHandler: ("GET", "POST"),  # POST: the form for the token
    app.FilterHelp: ("GET",),
    app.ClientConnection: ("GET",),
    app.Commands: ("GET",),
    app.Events: ("GET",),
    app.Flows: ("GET",),
    app.DumpFlows: ("GET",),  # POST loads flows from a file
    app.FlowContent: ("GET",),  # POST edits
    app.FlowContentView: ("GET",),
    app.Options: ("GET",),  # PUT sets
    app.State: ("GET",),
    app.ClearAll: ("POST",),
}
"""The served handlers and their methods. mitmproxy's other handlers are `Refused`."""

_OWN: Mapping[type[Any], type[Any]] = {
    app.IndexHandler: _Index,
    app.FlowContentView: _FlowContentView,
    app.State: _State,
    app.ClearAll: _ClearAll,
}


class _Application(app.Application):
    """mitmproxy's application, with its pages and its login, but restricted handlers."""

    def __init__(self, view: View, clear: Callable[[], None], port: int, token: str) -> None:
        self.updates: type[_Updates] = type("Updates", (_Updates,), {"connections": set()})
        own = {**_OWN, app.ClientConnection: self.updates}
        self.master = _read_only_master(view)
        self._hosts = (f"{HOST}:{port}", f"localhost:{port}")
        tornado.web.Application.__init__(
            self,
            [*_handlers(own), (r"/ibcm-bridge\.css", _Style)],
            default_handler_class=Refused,
            template_path=str(files("mitmproxy.tools.web").joinpath("templates")),
            static_path=str(files("mitmproxy.tools.web").joinpath("static")),
            compiled_template_cache=True,
            transforms=[app.GZipContentAndFlowFiles],
            log_function=lambda _handler: None,
            xsrf_cookies=True,
            xsrf_cookie_name="_mitmproxy_xsrf",  # mitmweb's script looks for it
            xsrf_cookie_kwargs={"samesite": "Strict"},
            cookie_secret=secrets.token_bytes(32),
            is_valid_password=lambda given: hmac.compare_digest(given.encode(), token.encode()),
            auth_cookie_name=lambda: f"ibcm-bridge-{port}",
            websocket_max_message_size=MAX_REQUEST,
            clear=clear,
        )
        view.sig_view_add.connect(self._added)
        view.sig_view_remove.connect(self._removed)
        view.sig_view_refresh.connect(self._refreshed)

    def find_handler(self, request: HTTPServerRequest, **more: Any) -> Any:
        """Refuse requests with another Host, or from a page of another origin."""
        host, origin = request.headers.get("Host"), request.headers.get("Origin")
        if host not in self._hosts or origin not in (None, f"http://{host}"):
            return self.get_handler_delegate(request, Refused)
        return super().find_handler(request, **more)

    def _added(self, flow: Flow) -> None:
        self.updates.broadcast_flow("flows/add", flow)

    def _removed(self, flow: Flow, index: int) -> None:
        self.updates.broadcast(type="flows/remove", payload=flow.id)  # type: ignore[no-untyped-call]

    def _refreshed(self) -> None:
        self.updates.broadcast_flow_reset()


def _handlers(own: Mapping[type[Any], type[Any]]) -> Iterable[tuple[str, type[Any]]]:
    """Yield each of mitmproxy's handlers, restricted or replaced by `Refused`."""
    for pattern, handler in app.handlers:
        if handler not in _SERVED:
            yield pattern, Refused
            continue
        kind: Any = own.get(handler) or type(handler.__name__, (_ReadOnly, handler), {})
        kind.methods = _SERVED[handler]
        yield pattern, kind


def _read_only_master(view: View) -> Any:
    """Return an object in place of mitmproxy's master, with only what the served handlers use."""
    options = Options()
    options.add_option("web_columns", Sequence[str], COLUMNS, "Columns of the list.")
    return SimpleNamespace(
        view=view,
        options=options,
        commands=SimpleNamespace(commands={}),
        events=SimpleNamespace(data=()),
        proxyserver=SimpleNamespace(servers=()),
    )
