"""The undocumented behavior of mitmproxy's hooks, views and web page that the addons rely on."""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib import resources

import pytest
from mitmproxy import contentviews, hooks
from mitmproxy.addons.view import View
from mitmproxy.proxy import commands, server_hooks
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import _hooks
from mitmproxy.tools.web import app

from ibcm_bridge.addons import events as bridge_events
from ibcm_bridge.addons.web import web_server
from tests.addons.contract.signatures import parameters

# Hooks


def test_a_hook_of_our_own_registers_by_being_defined() -> None:
    names = {
        "connection_refused": bridge_events.ConnectionRefusedHook,
        "tunnel_ended": bridge_events.TunnelEndedHook,
        "exchange_ended": bridge_events.ExchangeEndedHook,
    }
    for name, hook in names.items():
        assert hook.name == name
        assert hooks.all_hooks[name] is hook
        assert len(dataclasses.fields(hook)) == 1


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        (_hooks.HttpRequestHeadersHook, "requestheaders"),
        (_hooks.HttpRequestHook, "request"),
        (_hooks.HttpResponseHeadersHook, "responseheaders"),
        (_hooks.HttpResponseHook, "response"),
        (_hooks.HttpErrorHook, "error"),
        (tls.TlsStartClientHook, "tls_start_client"),
        (tls.TlsEstablishedClientHook, "tls_established_client"),
        (tls.TlsFailedClientHook, "tls_failed_client"),
        (tls.TlsStartServerHook, "tls_start_server"),
        (server_hooks.ServerConnectHook, "server_connect"),
        (server_hooks.ClientConnectedHook, "client_connected"),
    ],
)
def test_a_hook_is_called_as_the_addons_call_it(hook: type[commands.StartHook], name: str) -> None:
    assert hook.name == name
    assert len(dataclasses.fields(hook)) == 1  # type: ignore[arg-type]


# Content views (ccm_views)


def test_a_view_is_registered_under_its_name_in_lower_case() -> None:
    class Shown(contentviews.Contentview):
        def prettify(self, data: bytes, metadata: contentviews.Metadata) -> str:
            raise NotImplementedError

    registry = contentviews.ContentviewRegistry()
    view = Shown()
    registry.register(view)
    assert registry._by_name == {"shown": view}
    registry.on_change.send(view)


# mitmproxy's web application (web_server; test_web_server has each of its handlers)


def test_the_web_application_has_the_parts_that_the_bridge_uses() -> None:
    assert all(issubclass(handler, app.AuthRequestHandler) for _, handler in app.handlers)
    assert parameters(app.ClientConnection.broadcast_flow) == ["type", "f"]
    assert parameters(app.ClientConnection.send) == ["self", "message"]
    assert "_send_queue.put_nowait" in inspect.getsource(app.ClientConnection.send)
    assert parameters(app.IndexHandler.auth_fail) == ["self", "invalid_password"]
    assert parameters(app.State.get_json) == ["master"]
    first = ["self", "view_name", "message", "flow", "max_lines"]
    assert parameters(app.FlowContentView.message_to_json)[:5] == first
    assert "</head>" in resources.files("mitmproxy.tools.web").joinpath("index.html").read_text()


def test_the_web_application_takes_the_settings_that_the_bridge_passes() -> None:
    source = inspect.getsource(app.Application.__init__)
    ours = inspect.getsource(web_server._Application.__init__)
    given = re.findall(r"^ {12}(\w+)=", source, re.MULTILINE)
    assert {"is_valid_password", "auth_cookie_name", "xsrf_cookie_name"} <= set(given)
    # By default it shows no traceback and does not reload.
    assert {name for name in given if f"{name}=" not in ours} == {"handlers", "debug", "autoreload"}
    assert 'xsrf_cookie_name="_mitmproxy_xsrf"' in source


def test_the_web_application_uses_only_what_the_master_of_the_bridge_has() -> None:
    source = inspect.getsource(app)
    used = set(re.findall(r"\bmaster\.(\w+)(?=[.()\s])", source))
    # Refused handlers use the rest, and modules of that name.
    refused = {"addons", "load_flow", "master", "WebMaster"}
    assert used - refused <= set(vars(web_server._read_only_master(View())))
