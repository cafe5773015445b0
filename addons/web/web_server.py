"""mitmproxy's web application with everything taken out that does anything.

mitmweb replays, edits, kills and loads flows, sets options and runs commands; each of these is a
handler of its `app.handlers`. Here a handler is served only if `_SHOWS` lists it, with the verbs
that only show; everything else is 403, and so is what a newer mitmproxy adds. What is served has
nothing to act on, either: the objects it gets are a list of redacted flows, options that nothing
reads and no commands.

Who may see it: whoever connects to 127.0.0.1, asks for it by that name (a page of another name that
was made to lead here, DNS rebinding, does not), comes from no other page, and has the token.
"""

from __future__ import annotations

import hmac
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
"""Bytes of a request's body; the largest is that of the login form."""
MAX_WAITING = 2_000
"""Messages that wait for a page to take them; one that falls behind is sent away."""

COLUMNS = ("icon", "method", "path", "status", "time", "comment")
"""Without the size: that of a redacted copy says nothing."""

_STYLE = files("ibcm_bridge.config").joinpath("web_page.css")


_UNSHIPPED = re.compile(rb'<link rel="stylesheet" href="src/[^>]*>')
"""Left in the page of mitmproxy 12.3 by its build: the file is in no wheel, and would be a 403."""

_LOGIN = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ibcm-bridge</title>
<p>This page shows the traffic of ibcm-bridge. The token is in the address that
<code>ibcm-bridge run --web</code> printed when it started.</p>{wrong}
<form method="post"><input type="password" name="token" size="50" autofocus>{xsrf}
<input type="submit" value="Show"></form></html>
"""
"""In place of mitmproxy's, which asks Tornado for a picture that is not there and has it logged."""


class WebServer:
    """Serves a view of flows on loopback."""

    def __init__(self, view: View, clear: Callable[[], None], port: int) -> None:
        self._port = port
        self._token = secrets.token_urlsafe(32)
        self._view = view
        self._clear = clear
        self._server: tornado.httpserver.HTTPServer | None = None

    @property
    def url(self) -> str:
        """Where it is, once it has been started."""
        return f"http://{HOST}:{self._port}/?token={self._token}"

    def start(self) -> None:
        """Listen. ListenError where that cannot be done."""
        with listening_at((HOST, self._port)):
            listening = socket.create_server((HOST, self._port))
        listening.setblocking(False)
        self._port = listening.getsockname()[1]
        self._application = _Application(self._view, self._clear, self._port, self._token)
        self._server = tornado.httpserver.HTTPServer(
            self._application, max_body_size=MAX_REQUEST, max_buffer_size=2 * MAX_REQUEST
        )
        self._server.add_socket(listening)

    async def stop(self) -> None:
        """Listen no more, and end what is open."""
        if self._server is not None:
            self._server.stop()
            for page in list(self._application.updates.connections):
                page.close()
            await self._server.close_all_connections()


class _ReadOnly:
    """What every handler that is served has, before mitmproxy's own class of it."""

    shows: ClassVar[tuple[str, ...]]
    request: HTTPServerRequest

    def prepare(self) -> Any:
        """Refuse the verbs that do something, before anything of the handler runs."""
        if self.request.method not in self.shows:
            raise tornado.web.HTTPError(403)
        return super().prepare()  # type: ignore[misc]

    def set_default_headers(self) -> None:
        """Have nothing kept by the browser, and nothing told to where a link leads."""
        super().set_default_headers()  # type: ignore[misc]
        self.set_header("Cache-Control", "no-store")  # type: ignore[attr-defined]
        self.set_header("Referrer-Policy", "same-origin")  # type: ignore[attr-defined]

    def log_exception(self, kind: Any, error: Any, _trace: Any) -> None:
        """Say what and where. Tornado would log the request, the token included."""
        if not isinstance(error, tornado.web.HTTPError):
            logger.error("defect in the web page, %s: %s", type(self).__name__, kind.__name__)


class _Index(_ReadOnly, app.IndexHandler):
    """The page, with a stylesheet that hides what would only be refused."""

    def auth_fail(self, invalid_password: bool) -> None:
        wrong = "<p><b>That is not it.</b></p>" if invalid_password else ""
        self.write(_LOGIN.format(wrong=wrong, xsrf=self.xsrf_form_html()))

    def get(self) -> None:
        if "token" in self.request.arguments:
            # It has been taken for a cookie; it need not stay in the address bar and its history.
            self.redirect("./")
            return
        page = self.render_string("../index.html")
        link = b'<link rel="stylesheet" href="./ibcm-bridge.css"></head>'
        self.write(_UNSHIPPED.sub(b"", page).replace(b"</head>", link, 1))

    post = get


class _Updates(_ReadOnly, app.ClientConnection):
    """What the page is told as it happens."""

    connections: ClassVar[set[Any]]

    def send(self, message: bytes) -> None:
        if self._send_queue.qsize() < MAX_WAITING:
            super().send(message)
        else:
            self.close()


class _FlowContentView(_ReadOnly, app.FlowContentView):
    """The text of a message. It has been made already, so no view of mitmproxy's is asked."""

    def message_to_json(  # type: ignore[override]
        self, view_name: str, message: Any, flow: Any, max_lines: int | None = None, **more: Any
    ) -> dict[str, Any]:
        # Not decoded by the Content-Encoding that stands in the head.
        raw = message.raw_content if isinstance(message, Message) else message and message.content
        text = (raw or b"").decode("utf-8", "replace")
        if max_lines:
            text = cut_after_n_lines(text, max_lines)
        said = {"text": text, "view_name": "ibcm-bridge", "syntax_highlight": "none"}
        more = {key: value for key, value in more.items() if value is not None}
        return {**said, "description": "secrets are not shown", **more}


class _State(_ReadOnly, app.State):
    def get(self) -> None:
        state = self.get_json(self.application.master)
        self.write({**state, "contentViews": ["auto"]})


class _ClearAll(_ReadOnly, app.ClearAll):
    """Forgets what is shown. Traffic and the audit know nothing of it."""

    def post(self) -> None:
        self.application.settings["clear"]()


class _Style(_ReadOnly, app.RequestHandler):
    shows = ("GET",)

    def get(self) -> None:
        self.set_header("Content-Type", "text/css; charset=utf-8")
        self.write(_STYLE.read_text("utf-8"))


class Refused(tornado.web.RequestHandler):
    """Whatever is not to be done, and whatever is not known."""

    def prepare(self) -> None:
        """403, and a word why."""
        self.set_status(403)
        self.finish("This page only shows traffic.\n")

    def check_xsrf_cookie(self) -> None:
        """It is refused anyway, and with a reason."""


_SHOWS: Mapping[type[Any], tuple[str, ...]] = {
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
"""What is served, and its verbs. All else of mitmproxy's is `Refused`."""

_OWN: Mapping[type[Any], type[Any]] = {
    app.IndexHandler: _Index,
    app.FlowContentView: _FlowContentView,
    app.State: _State,
    app.ClearAll: _ClearAll,
}


class _Application(app.Application):
    """mitmproxy's application: its pages and its way of keeping a login, with other handlers."""

    def __init__(self, view: View, clear: Callable[[], None], port: int, token: str) -> None:
        self.updates: type[_Updates] = type("Updates", (_Updates,), {"connections": set()})
        own = {**_OWN, app.ClientConnection: self.updates}
        self.master = _what_is_shown(view)
        self._hosts = (f"{HOST}:{port}", f"localhost:{port}")
        tornado.web.Application.__init__(
            self,
            [*_served(own), (r"/ibcm-bridge\.css", _Style)],
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
        """Only what is asked for by this server's own name, from none but its own pages."""
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


def _served(own: Mapping[type[Any], type[Any]]) -> Iterable[tuple[str, type[Any]]]:
    """Each of mitmproxy's handlers, as it is served here."""
    for pattern, handler in app.handlers:
        if handler not in _SHOWS:
            yield pattern, Refused
            continue
        kind: Any = own.get(handler) or type(handler.__name__, (_ReadOnly, handler), {})
        kind.shows = _SHOWS[handler]
        yield pattern, kind


def _what_is_shown(view: View) -> Any:
    """What mitmproxy's handlers take for the master: there is nothing else that they could use."""
    options = Options()
    options.add_option("web_columns", Sequence[str], COLUMNS, "Columns of the list.")
    return SimpleNamespace(
        view=view,
        options=options,
        commands=SimpleNamespace(commands={}),
        events=SimpleNamespace(data=()),
        proxyserver=SimpleNamespace(servers=()),
    )
