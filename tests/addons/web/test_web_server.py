"""mitmproxy's web application is read-only: each of its handlers, by name."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
import tornado.httpclient
import tornado.web
import tornado.websocket
from mitmproxy.addons.view import View
from mitmproxy.test import tflow
from mitmproxy.tools.web import app

from ibcm_bridge.addons.web import web_server
from ibcm_bridge.addons.web.web_server import WebServer
from tests.addons.stand_ins.running import wait_for

FLOW = "/flows/{id}"
HANDLERS = {
    "IndexHandler": ("/", "GET", "POST"),
    "FilterHelp": ("/filter-help.json", "GET"),
    "ClientConnection": ("/updates", "GET"),
    "Commands": ("/commands.json", "GET"),
    "ExecuteCommand": ("/commands/replay.client",),
    "Events": ("/events.json", "GET"),
    "Flows": ("/flows.json", "GET"),
    "DumpFlows": ("/flows/dump", "GET"),
    "ResumeFlows": ("/flows/resume",),
    "KillFlows": ("/flows/kill",),
    "FlowHandler": (FLOW,),
    "ResumeFlow": (f"{FLOW}/resume",),
    "KillFlow": (f"{FLOW}/kill",),
    "DuplicateFlow": (f"{FLOW}/duplicate",),
    "ReplayFlow": (f"{FLOW}/replay",),
    "RevertFlow": (f"{FLOW}/revert",),
    "FlowContent": (f"{FLOW}/request/content.data", "GET"),
    "FlowContentView": (f"{FLOW}/request/content/auto.json", "GET"),
    "ClearAll": ("/clear", "POST"),
    "Options": ("/options.json", "GET"),
    "SaveOptions": ("/options/save",),
    "State": ("/state.json", "GET"),
    "ProcessList": ("/processes",),
    "ProcessImage": ("/executable-icon?path=/bin/sh",),
}
"""Every handler of mitmproxy: its path, and the served methods."""

VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


class Served:
    """A server with one flow, in a separate thread. A context manager."""

    def __init__(self) -> None:
        self.view = View()
        self.flow = tflow.tflow(resp=True)
        self.flow.live = False
        self.view.add([self.flow])
        self.cleared = 0
        self.server = WebServer(self.view, self._clear, 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        self.host = re.findall(r"http://([^/]+)/", self.server.url)[0]
        self.token = self.server.url.partition("?token=")[2]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _start(self) -> None:
        self.server.start()

    def _clear(self) -> None:
        self.cleared += 1
        self.view.clear()

    def ask(
        self, verb: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request without a login. Return status, header fields and body."""
        connection = http.client.HTTPConnection(self.host, timeout=5)
        try:
            fields = {"Host": self.host, **(headers or {})}
            connection.request(verb, path.format(id=self.flow.id), body, fields)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return response.status, names, response.read()
        finally:
            connection.close()

    def login(self) -> dict[str, str]:
        """Return the header fields that a page of this server sends with each request."""
        connection = http.client.HTTPConnection(self.host, timeout=5)
        try:
            connection.request("GET", f"/?token={self.token}", headers={"Host": self.host})
            first = connection.getresponse()
            first.read()
            cookies = [value.partition(";")[0] for value in first.msg.get_all("Set-Cookie")]
            connection.request("GET", "/login-form", headers={"Host": self.host})
            connection.getresponse().read()
        finally:
            connection.close()
        xsrf = "2|00000000|" + "00" * 16 + "|1700000000"
        cookies.append(f"_mitmproxy_xsrf={xsrf}")
        return {"Cookie": "; ".join(cookies), "X-XSRFToken": xsrf, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


# Served handlers


def test_every_handler_of_mitmproxy_is_known_and_only_listed_ones_served() -> None:
    assert {handler.__name__ for _, handler in app.handlers} == set(HANDLERS)
    shown = {handler.__name__: verbs for handler, verbs in web_server._SERVED.items()}
    assert shown == {
        name: verbs for name, (_, *verbs_) in HANDLERS.items() if (verbs := (*verbs_,))
    }


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", HANDLERS)
def test_a_method_that_changes_anything_is_refused(served: Served, name: str, verb: str) -> None:
    path, *verbs = HANDLERS[name]
    headers = {**served.login(), "Content-Type": "application/json"}
    before = served.flow.get_state()
    status, _, body = served.ask(verb, path, headers, b'{"comment": "x", "arguments": []}')
    if verb in verbs:
        assert status in (200, 400), "400: no WebSocket was requested"
        assert name != "ClearAll" or served.cleared == 1
        return
    assert status == 403
    assert served.flow.id.encode() not in body
    assert served.flow.get_state() == before
    assert list(served.view) == [served.flow]
    assert served.cleared == 0


def test_a_handler_that_a_newer_mitmproxy_adds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shiny(app.RequestHandler):
        def get(self) -> None:
            self.write("did something")

    monkeypatch.setattr(app, "handlers", [*app.handlers, (r"/shiny", Shiny)])
    with Served() as served:
        for headers in ({}, served.login()):
            assert served.ask("GET", "/shiny", headers)[0] == 403
            assert served.ask("GET", "/unheard-of", headers)[0] == 403


def test_the_handlers_have_nothing_to_act_on() -> None:
    master = web_server._read_only_master(View())
    assert set(vars(master)) == {"view", "options", "commands", "events", "proxyserver"}
    assert vars(master.commands) == {"commands": {}}
    assert vars(master.proxyserver) == {"servers": ()}


def test_a_message_is_shown_as_it_is_without_views_of_mitmproxy(served: Served) -> None:
    served.flow.request.headers["Content-Type"] = "application/json"
    served.flow.request.content = b'CCM_POST for\n{"a":1}\n'
    for view in ("auto", "json", "hex%20dump", "protobuf"):
        _, _, body = served.ask("GET", f"{FLOW}/request/content/{view}.json", served.login())
        assert json.loads(body)["text"] == 'CCM_POST for\n{"a":1}\n'
    state = json.loads(served.ask("GET", "/state.json", served.login())[2])
    assert (state["contentViews"], state["servers"]) == (["auto"], {})


def test_the_page_has_the_stylesheet_that_hides_refused_functions(served: Served) -> None:
    login = served.login()
    _, headers, page = served.ask("GET", "/", login)
    assert b'<link rel="stylesheet" href="./ibcm-bridge.css"></head>' in page
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"
    status, headers, _ = served.ask("GET", "/ibcm-bridge.css", login)
    assert (status, headers["content-type"]) == (200, "text/css; charset=utf-8")


# Access


def test_the_server_listens_only_on_loopback(served: Served) -> None:
    assert served.host.startswith("127.0.0.1:")
    assert served.server._server is not None
    assert {
        listening.getsockname()[0] for listening in served.server._server._sockets.values()
    } == {"127.0.0.1"}


def test_the_token_is_random_at_every_start() -> None:
    tokens = {WebServer(View(), lambda: None, 0).url.partition("?token=")[2] for _ in range(10)}
    assert len(tokens) == 10
    assert {len(token) for token in tokens} == {43}, "256 bits, base64url"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "ibcm-bridge-1=y"}],
)
@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%C3%A9"])
def test_nothing_is_shown_without_the_token(
    served: Served, query: str, headers: dict[str, str]
) -> None:
    for path, *verbs in HANDLERS.values():
        if "GET" in verbs:
            status, received, body = served.ask("GET", path + query, headers)
            assert status == 403, path
            assert served.flow.id.encode() not in body
            assert "ibcm-bridge" not in received.get("set-cookie", "")


def test_the_token_gives_access_and_is_removed_from_the_address(served: Served) -> None:
    status, headers, _ = served.ask("GET", f"/?token={served.token}")
    assert (status, headers["location"]) == (302, "./")
    assert "HttpOnly" in headers["set-cookie"]
    assert "SameSite=Strict" in headers["set-cookie"]
    status, _, body = served.ask("GET", "/flows.json", served.login())
    assert (status, json.loads(body)[0]["id"]) == (200, served.flow.id)
    bearer = {"Authorization": f"Bearer {served.token}"}
    assert served.ask("GET", "/flows.json", bearer)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_a_request_with_another_host_is_refused(served: Served, host: str) -> None:
    port = served.host.partition(":")[2]
    headers = {**served.login(), "Host": host.format(port=port)}
    for path in ("/", "/flows.json", "/static/favicon.ico", f"/?token={served.token}"):
        assert served.ask("GET", path, headers)[0] in (400, 403), path


def test_localhost_is_an_accepted_host(served: Served) -> None:
    headers = {**served.login(), "Host": served.host.replace("127.0.0.1", "localhost")}
    assert served.ask("GET", "/flows.json", headers)[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://{host}", "http://x"])
def test_a_request_of_another_origin_is_refused(served: Served, origin: str) -> None:
    headers = {**served.login(), "Origin": origin.format(host=served.host)}
    assert served.ask("GET", "/flows.json", headers)[0] == 403
    assert served.ask("POST", "/clear", headers)[0] == 403
    assert served.cleared == 0
    own = {**served.login(), "Origin": f"http://{served.host}"}
    assert served.ask("POST", "/clear", own)[0] == 200
    assert served.cleared == 1


def test_clearing_needs_the_xsrf_token_of_the_page(served: Served) -> None:
    headers = served.login()
    del headers["X-XSRFToken"]
    assert served.ask("POST", "/clear", headers)[0] == 403
    assert served.cleared == 0


# Updates


async def open_page(served: Served) -> Any:
    """Open the WebSocket that sends updates to a page."""
    request = tornado.httpclient.HTTPRequest(f"ws://{served.host}/updates", headers=served.login())
    page = await tornado.websocket.websocket_connect(request)
    updates = served.server._application.updates
    assert await asyncio.to_thread(wait_for, lambda: updates.connections)
    return page


def test_a_page_receives_added_and_removed_flows(served: Served) -> None:
    async def updates() -> list[str]:
        page = await open_page(served)
        flow = tflow.ttcpflow()
        flow.live = False
        served._loop.call_soon_threadsafe(served.view.add, [flow])
        served._loop.call_soon_threadsafe(served.view.remove, [flow])
        messages = [await asyncio.wait_for(page.read_message(), 5) for _ in range(2)]
        page.close()
        assert await asyncio.wait_for(page.read_message(), 5) is None
        return [json.loads(message)["type"] for message in messages]

    assert asyncio.run(updates()) == ["flows/add", "flows/remove"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, 101), ({"Origin": "http://evil.example"}, 403), ({"Cookie": ""}, 403)],
)
def test_a_page_of_another_origin_receives_no_updates(
    served: Served, changed: dict[str, str], status: int
) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert served.ask("GET", "/updates", {**served.login(), **upgrade, **changed})[0] == status


def test_a_page_that_falls_behind_is_disconnected(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "MAX_WAITING", 0)

    async def behind() -> object:
        page = await open_page(served)
        served._loop.call_soon_threadsafe(served.view.add, [tflow.tflow()])
        message = await asyncio.wait_for(page.read_message(), 5)
        page.close()
        return message

    assert asyncio.run(behind()) is None, "closed"


# Logging


def test_the_token_is_never_logged(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("SECRET")

    caplog.set_level(logging.DEBUG)
    served.ask("GET", f"/nowhere?token={served.token}")
    served.ask("GET", "/flows.json?token=SECRET")
    monkeypatch.setattr(app, "flow_to_json", broken)
    status, _, body = served.ask("GET", f"/flows.json?token={served.token}")
    assert status == 500
    text = caplog.text + body.decode()
    assert "defect in the web page, Flows: RuntimeError" in text
    assert served.token not in text
    assert "SECRET" not in text
