"""The undocumented behavior of mitmproxy, pyOpenSSL and h11 that the addons rely on.

Each private or undocumented part has a test of the behavior that is relied on. If a test fails
after an upgrade, review the module that it names before you allow the version
(`tested_mitmproxy.TESTED`). The second half tests the table of TLS alerts.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import h11
import pytest
from mitmproxy import contentviews, hooks
from mitmproxy.addons.view import View
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, mode_servers, mode_specs, server, server_hooks, tunnel
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers import tls
from mitmproxy.proxy.layers.http import _hooks
from mitmproxy.tls import TlsData
from mitmproxy.tools.web import app
from mitmproxy.utils import asyncio_utils
from OpenSSL import SSL, crypto

from ibcm_bridge.addons import events as bridge_events
from ibcm_bridge.addons import tested_mitmproxy
from ibcm_bridge.addons.layers.client_tls import BridgedClientTls
from ibcm_bridge.addons.server import connection_handler
from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.addons.server.listener import BridgeInstance, BridgeMode
from ibcm_bridge.addons.stages import DECISIONS, Decide, Decided
from ibcm_bridge.addons.tls import (
    client_leg,
    context,
    site_system_leg,
    verification,
    verify_callback,
)
from ibcm_bridge.addons.web import web_server
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.trust import Trust
from ibcm_bridge.site_system_leg.response_body import ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, wait_for

# mitmproxy's connection handler (connection_handler, listener)


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_tested_mitmproxy_is_a_version_that_the_bridge_accepts() -> None:
    assert tested_mitmproxy.why_untested() is None


def test_connection_io_has_a_handler_a_reader_and_a_writer() -> None:
    names = [field.name for field in dataclasses.fields(server.ConnectionIO)]
    assert names == ["handler", "reader", "writer"]
    assert server.ConnectionIO() == server.ConnectionIO(None, None, None)


def test_a_connection_handler_has_the_parts_that_the_bridge_uses() -> None:
    handler = server.ConnectionHandler
    assert parameters(handler.open_connection) == ["self", "command"]
    assert parameters(handler.handle_connection) == ["self", "connection"]
    assert parameters(handler.close_connection) == ["self", "connection", "half_close"]
    assert parameters(handler.wakeup) == ["self", "request"]
    assert parameters(handler.server_event) == ["self", "event"]
    assert parameters(handler.handle_hook) == ["self", "hook"]
    assert parameters(handler.log) == ["self", "message", "level", "exc_info"]
    for name in ("open_connection", "handle_connection", "wakeup", "server_event", "handle_hook"):
        assert inspect.iscoroutinefunction(getattr(handler, name)), name
    assert not inspect.iscoroutinefunction(handler.close_connection)
    assert issubclass(BridgeConnectionHandler, handler)


def test_a_running_connection_handler_has_transports_a_layer_a_watchdog_and_timers(
    running: Running,
) -> None:
    seen: list[BridgeConnectionHandler] = []

    def look(_: Any) -> None:
        seen.extend(asyncio_handlers())

    def asyncio_handlers() -> list[Any]:
        from mitmproxy import ctx  # noqa: PLC0415 - bound when a master runs

        return list(ctx.master.addons.get("proxyserver").connections.values())  # type: ignore[attr-defined]

    running.add_hook("request", look)
    running.assert_serves()
    (handler,) = seen
    assert isinstance(handler, BridgeConnectionHandler)
    assert isinstance(handler.layer, Layer)
    assert isinstance(handler.transports, dict)
    assert isinstance(handler.wakeup_timer, set)
    assert callable(handler.timeout_watchdog.register_activity)


def test_only_server_event_calls_a_layer() -> None:
    """The bridge replaces it. Any other code that called the layer would bypass the guard."""
    source = inspect.getsource(server.ConnectionHandler)
    assert source.count("layer.handle_event(") == 1
    assert "layer.handle_event(" in inspect.getsource(server.ConnectionHandler.server_event)


def test_open_connection_calls_the_hook_first_and_obeys_its_error() -> None:
    source = inspect.getsource(server.ConnectionHandler.open_connection)
    hook, error, dialled = (
        source.index(part)
        for part in (
            "ServerConnectHook(",
            "if err := command.connection.error",
            "open_connection(\n",
        )
    )
    assert hook < error < dialled


def test_a_server_connection_hook_carries_the_client_and_the_server() -> None:
    names = [field.name for field in dataclasses.fields(server_hooks.ServerConnectionHookData)]
    assert names == ["server", "client"]


def test_hook_data_has_the_types_in_the_withdrawal_table() -> None:
    assert set(connection_handler._WITHDRAW) == {TlsData, server_hooks.ServerConnectionHookData}
    for hook in (tls.TlsStartClientHook, tls.TlsStartServerHook, tls.TlsEstablishedClientHook):
        assert inspect.get_annotations(hook, eval_str=True)["data"] is TlsData


@pytest.mark.parametrize(
    ("command", "completed"),
    [(_hooks.HttpRequestHook(None), events.HookCompleted), (Decide(None), Decided)],  # type: ignore[arg-type]
)
def test_a_layer_gets_the_reply_to_the_command_it_waits_for(
    lab: Lab, command: commands.Command, completed: Callable[..., events.Event]
) -> None:
    given: list[object] = []

    class Waiting(Layer):
        def _handle_event(self, _: events.Event) -> Iterator[commands.Command]:
            given.append((yield command))

    layer = Waiting(open_connection(lab)[0])
    assert list(layer.handle_event(events.Start())) == [command]
    assert not given
    list(layer.handle_event(completed(command, "a reply")))
    assert given == ["a reply"]


def test_the_hooks_after_which_a_layer_refuses_are_hooks() -> None:
    assert hooks.all_hooks.keys() | DECISIONS >= connection_handler._LAYER_REFUSES


def test_a_mode_and_its_instance_register_by_being_defined() -> None:
    mode = mode_specs.ProxyMode.parse("bridge:0@127.0.0.1:8443")
    assert isinstance(mode, BridgeMode)
    assert (mode.data, mode.listen_host(), mode.listen_port()) == ("0", "127.0.0.1", 8443)
    assert type(mode_servers.ServerInstance.make(mode, None)) is BridgeInstance  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="ibcm-bridge run"):
        mode_specs.ProxyMode.parse("bridge:x@8443")


def test_an_instance_passes_each_connection_to_handle_stream() -> None:
    assert parameters(mode_servers.AsyncioServerInstance.listen) == ["self", "host", "port"]
    assert "handle_stream" in inspect.getsource(mode_servers.AsyncioServerInstance.listen)


def test_create_task_keeps_a_reference_with_keep_ref() -> None:
    assert parameters(asyncio_utils.create_task) == ["coro", "name", "keep_ref", "client"]


# mitmproxy's layers (front_door, site_system_leg, tls_ending, procedure, tunnel)


def test_the_tls_layer_has_the_parts_that_the_bridge_uses() -> None:
    for name in ("receive_handshake_data", "receive_data", "send_data", "send_close"):
        assert len(parameters(getattr(tls.TLSLayer, name))) == 2, name
    for name in ("tls_interact", "receive_close", "start_tls"):
        assert parameters(getattr(tls.TLSLayer, name)) == ["self"], name
    assert parameters(tls.TLSLayer.on_handshake_error) == ["self", "err"]
    assert tls.TLSLayer.tls is None
    assert callable(tls.ClientTLSLayer.errored)
    assert issubclass(tls.ServerTLSLayer, tls.TLSLayer)
    assert parameters(tls.ServerTLSLayer.__init__) == ["self", "context", "conn"]


def test_a_tls_layer_without_an_openssl_connection_closes() -> None:
    source = inspect.getsource(tls.TLSLayer.start_tls)
    assert source.index("if not tls_start.ssl_conn") < source.index("CloseConnection(self.conn)")


def test_a_client_tls_layer_needs_only_the_front_door_below(lab: Lab) -> None:
    context, _ = open_connection(lab)
    Layer.__init__(BridgeLikeLayer.__new__(BridgeLikeLayer), context)
    layer = BridgedClientTls(context, lambda: None)
    assert context.client.tls
    assert not layer.server_tls_available
    assert layer.tunnel_state is tunnel.TunnelState.INACTIVE


class BridgeLikeLayer(Layer):
    def _handle_event(self, event: events.Event) -> Any:
        yield from ()


def test_a_child_layer_can_be_set_before_the_start(lab: Lab) -> None:
    context, _ = open_connection(lab)
    stack = tls.ServerTLSLayer(context.fork(), Server(address=("127.0.0.1", 1)))
    stack.child_layer = child = BridgeLikeLayer(context)
    assert stack.child_layer is child


def test_a_layer_waits_only_for_its_own_blocking_commands(lab: Lab) -> None:
    context, _ = open_connection(lab)
    server_connection = Server(address=("127.0.0.1", 1))

    class Dials(BridgeLikeLayer):
        def _handle_event(self, event: events.Event) -> Any:
            command = commands.OpenConnection(server_connection)
            command.blocking = self.blocking
            yield command

        blocking: Any = True

    for blocking, waits in ((True, True), (False, False), (BridgeLikeLayer(context), False)):
        layer = Dials(context)
        layer.blocking = blocking
        (command,) = layer.handle_event(events.Start())
        assert bool(layer._paused) is waits
        assert (command.blocking is layer) is waits


def test_only_hooks_and_open_connection_are_blocking() -> None:
    assert commands.StartHook.blocking is True
    assert commands.OpenConnection.blocking is True
    for command in (commands.SendData, commands.CloseConnection, commands.RequestWakeup):
        assert command.blocking is False


def test_connection_states_are_flags() -> None:
    assert ConnectionState.OPEN & ~ConnectionState.CAN_READ is ConnectionState.CAN_WRITE
    assert ConnectionState.CAN_WRITE & ~ConnectionState.CAN_WRITE is ConnectionState.CLOSED


def test_a_client_hello_is_recognized_only_at_the_start() -> None:
    assert parameters(tls.parse_client_hello) == ["data"]
    assert tls.parse_client_hello(b"\x16\x03\x01") is None
    assert starts_like_tls_record(b"\x16\x03\x01")
    assert not starts_like_tls_record(b"\x16\x03")
    with pytest.raises(ValueError):
        tls.parse_client_hello(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00GET / HTTP")


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


# pyOpenSSL (tls, client_authentication)


@pytest.mark.parametrize(
    "name",
    [
        "SSL_CTX_set_alpn_select_cb",
        "SSL_CTX_set_post_handshake_auth",
        "SSL_CTX_set_verify",
        "SSL_get0_param",
        "SSL_get_ex_data_X509_STORE_CTX_idx",
        "SSL_get_verify_result",
        "SSL_session_reused",
        "SSL_set_session",
        "X509_STORE_CTX_get0_cert",
        "X509_STORE_CTX_get1_chain",
        "X509_STORE_CTX_get_error",
        "X509_STORE_CTX_get_error_depth",
        "X509_STORE_CTX_get_ex_data",
        "X509_STORE_CTX_set_error",
        "X509_STORE_set_purpose",
        "X509_VERIFY_PARAM_set1_host",
        "X509_VERIFY_PARAM_set_hostflags",
        "X509_up_ref",
        "X509_verify_cert_error_string",
        "sk_X509_free",
        "sk_X509_num",
        "sk_X509_value",
    ],
)
def test_openssl_has_the_function(name: str) -> None:
    assert callable(getattr(SSL._lib, name))  # type: ignore[attr-defined]


def test_the_tested_openssl_functions_are_those_that_are_used() -> None:
    room = (client_leg, context, site_system_leg, verification, verify_callback)
    used = set(re.findall(r"\b_?lib\.(\w+)\(", "".join(map(inspect.getsource, room))))
    (mark,) = (
        mark
        for mark in test_openssl_has_the_function.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    )
    assert {name.strip() for name in used} == set(mark.args[1])


def test_error_numbers_have_the_meaning_in_the_table() -> None:
    def text(number: int) -> str:
        words = SSL._lib.X509_verify_cert_error_string(number)  # type: ignore[attr-defined]
        return SSL._ffi.string(words).decode()  # type: ignore[attr-defined, no-any-return]

    for number, reason in verification.REASONS.items():
        if reason is Reason.CERTIFICATE_WEAK:
            assert text(number).endswith(("key too weak", "digest algorithm too weak")), number
    assert text(10) == "certificate has expired"
    assert text(9).startswith("certificate is not yet valid")
    assert text(verify_callback.REVOKED) == "certificate revoked"
    assert "purpose" in text(verify_callback.WRONG_PURPOSE)
    assert "rejected" in text(verify_callback.REJECTED)
    assert "unspecified" in text(verify_callback.UNSPECIFIED)
    assert "CRL scope" in text(verify_callback.UNMAPPED)


def test_a_connection_is_found_by_its_ssl_object_and_keeps_its_context() -> None:
    context = SSL.Context(SSL.TLS_METHOD)
    connection = SSL.Connection(context, None)
    assert SSL.Connection._reverse_mapping[connection._ssl] is connection
    assert connection._context is context
    assert context._context is not None


def test_a_callback_lives_as_long_as_its_context(lab: Lab) -> None:
    publication = bridged_publication(lab.policy)
    context = client_leg.client_leg_context(
        publication, client_leg.Callbacks(*[lambda *_: None] * 3)
    )
    assert context._ibcm_bridge_verify is not None  # type: ignore[attr-defined]
    assert context._verify_helper is None, "pyOpenSSL's own would replace ours"
    assert SSL.Connection(context, None)._verify_helper is None


def test_a_certificate_can_be_read_at_a_raw_pointer(lab: Lab) -> None:
    original = crypto.X509.from_cryptography(lab.computer.certificate)
    taken = verification.certificate_at(original._x509)
    assert taken == lab.computer.certificate
    del taken
    assert original.to_cryptography() == lab.computer.certificate, "and is not freed with it"


def test_app_data_stays_with_its_connection() -> None:
    connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    connection.set_app_data(self := object())
    assert connection.get_app_data() is self


# h11 (response_stream, response_head)


def test_h11_returns_the_data_after_a_response() -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(b"HTTP/1.1 204 No Content\r\n\r\nsurplus")
    assert isinstance(reader.next_event(), h11.Response)
    assert reader.trailing_data == (b"surplus", False)


def test_h11_returns_a_counted_body_after_its_head() -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    assert reader.trailing_data == (b"hel", False)
    assert ResponseBody(reader, response, BodyEnd.COUNTED).take() == b"hel"


# asyncio


def test_an_eager_task_runs_before_create_task_returns() -> None:
    """mitmproxy's master makes all tasks eager; `server_event` depends on that."""
    order = []

    async def inner() -> None:
        order.append("inner")

    async def outer() -> None:
        with asyncio_utils.set_eager_task_factory():
            task = asyncio.create_task(inner())
            order.append("outer")
            await task

    asyncio.run(outer())
    assert order == ["inner", "outer"]


# Alerts


REFUSED: dict[str, tuple[Callable[[LabPki], LabCredential | None], Reason]] = {
    "none": (lambda _: None, Reason.CERTIFICATE_MISSING),
    "foreign": (lambda pki: pki.foreign_computer("a.example"), Reason.CERTIFICATE_UNTRUSTED),
    "self-signed": (lambda pki: pki.self_signed("a.example"), Reason.CERTIFICATE_UNTRUSTED),
    "expired": (lambda pki: pki.expired_computer("a.example"), Reason.CERTIFICATE_EXPIRED),
    "revoked": (lambda pki: pki.revoked_computer("a.example"), Reason.CERTIFICATE_REVOKED),
    "wrong purpose": (lambda pki: pki.wrong_purpose("a.example"), Reason.CERTIFICATE_PURPOSE),
    "no purpose": (lambda pki: pki.without_purpose("a.example"), Reason.CERTIFICATE_PURPOSE),
    "a person's": (lambda pki: pki.user("somebody@a.example"), Reason.CERTIFICATE_NAME),
    "not yet valid": (
        lambda pki: certificates.computer(pki._issuing, "a.example", tomorrow()),
        Reason.CERTIFICATE_NOT_YET_VALID,
    ),
}

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def tomorrow() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now + timedelta(days=1), now + timedelta(days=2)


@dataclasses.dataclass
class Refusing:
    """A bridge, and certificates that it must not accept."""

    running: Running
    credentials: dict[str, LabCredential | None]


@pytest.fixture(scope="module")
def refusing(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    credentials = {name: make(running_lab.pki) for name, (make, _) in REFUSED.items()}
    trust = dataclasses.replace(
        bridged_publication(running_lab.policy).client_trust, crls=running_lab.pki.crls()
    )
    audit_file = tmp_path_factory.mktemp("alerts") / "audit.jsonl"
    policy = changed(running_lab.policy, audit_file, client_trust=trust)
    with Running(running_lab, policy) as running:
        yield Refusing(running, credentials)


def assert_alert(
    running: Running, credential: LabCredential | None, version: ssl.TLSVersion, reason: Reason
) -> None:
    before = len(running.audit())
    options: dict[str, Any] = {"maximum_version": version}
    client = running.client(credential=credential, **options) if credential else None
    alert = REFUSALS[reason].alert
    assert alert
    if reason is Reason.CERTIFICATE_MISSING and version is ssl.TLSVersion.TLSv1_2:
        alert = "handshake_failure"  # RFC 5246 §7.4.6: TLS 1.2 has no certificate_required
    assert running.alert(client or running.anonymous(**options)) == alert.replace("_", " ")
    assert wait_for(lambda: len(running.audit()) > before)
    (record,) = running.audit()[before:]
    assert record["reason"] == reason.value
    assert record["verdict"] == "deny"
    assert ("client_certificate" in record) is (credential is not None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_certificate_causes_the_alert_of_the_table(
    refusing: Refusing, name: str, version: ssl.TLSVersion
) -> None:
    assert_alert(refusing.running, refusing.credentials[name], version, REFUSED[name][1])
    assert not refusing.running.lab.site.handshakes()


@pytest.mark.parametrize("version", VERSIONS)
def test_its_valid_twin_is_accepted(refusing: Refusing, lab: Lab, version: ssl.TLSVersion) -> None:
    with refusing.running.client(maximum_version=version) as client:
        assert isinstance(client.request(*GOOD), Response)


LISTS: dict[str, Callable[[LabPki], tuple[Any, ...]]] = {
    "past their date": lambda pki: pki.crls(
        this_update=datetime.now(UTC) - timedelta(days=9),
        next_update=datetime.now(UTC) - timedelta(days=2),
    ),
    "not valid yet": lambda pki: pki.crls(
        this_update=datetime.now(UTC) + timedelta(days=1),
        next_update=datetime.now(UTC) + timedelta(days=9),
    ),
    "missing": lambda _: (),
    "missing for the issuing authority": lambda pki: pki.crls()[:1],
    "missing for the root": lambda pki: pki.crls()[1:],
}


@pytest.mark.parametrize("lists", LISTS)
def test_without_a_current_revocation_list_all_clients_are_refused(
    lab: Lab, tmp_path: Path, lists: str
) -> None:
    trust = bridged_publication(lab.policy).client_trust
    trust = Trust(trust.anchors, trust.intermediates, LISTS[lists](lab.pki))
    with Running(lab, changed(lab.policy, tmp_path / "audit.jsonl", client_trust=trust)) as running:
        for version in VERSIONS:
            assert_alert(running, lab.computer, version, Reason.REVOCATION_UNKNOWN)
    assert not lab.site.handshakes()
