"""After any exception, no request reaches a site system without a decision that allows it.

mitmproxy logs an exception in a hook and forwards the request, and it leaves a connection open when
a layer raises (docs/design.md). These tests make every hook, layer, callback and engine raise in
every possible way. Each time:

1. nothing reaches the site system, not even a new ClientHello;
2. the client is soon refused or its connection closed, and no state remains;
3. the audit records bridge-defect;
4. the next valid client is served.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CoroutineType
from typing import Any, NamedTuple

import pytest
from mitmproxy.hooks import all_hooks
from mitmproxy.proxy import commands

from ibcm_bridge.addons import connections
from ibcm_bridge.addons.events import Defect
from ibcm_bridge.addons.hooks import client_authentication, reply_inspection
from ibcm_bridge.addons.layers import (
    exchange,
    exchange_layer,
    front_door,
    shown_flow,
    site_system_leg,
    site_system_legs,
    tunnel,
    withdrawal,
)
from ibcm_bridge.addons.layers.client_stream import ClientStream
from ibcm_bridge.addons.layers.client_tls import BridgedClientTls
from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.layers.response_stream import ResponseStream
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.addons.layers.site_system_legs import SiteSystemLegs
from ibcm_bridge.addons.layers.tunnel import RelayLayer
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.addons.stages import DECISIONS
from ibcm_bridge.addons.tls import verify_callback
from ibcm_bridge.inspection.engines import YaraEngine
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.lab.protocol.uploads import Upload
from tests.addons.stand_ins.lab import BRIDGED, DENIED, GOOD, TUNNELED, Lab, message
from tests.addons.stand_ins.running import SOON, Panic, Running, outcome_of, wait_for

Outcome = Response | Exception | None


def good(running: Running) -> Outcome:
    return running.ask(*GOOD)


def denied(running: Running) -> Outcome:
    return running.ask(*DENIED)


def posted(running: Running) -> Outcome:
    with running.client() as client:
        return outcome_of(client, "CCM_POST", "/ccm_system/request", **message())


def unknown_name(running: Running) -> Outcome:
    return running.ask(*GOOD, name="unknown.internet.example")


def over_the_limit(running: Running) -> Outcome:
    limit, running.bridge.connections.limit = running.bridge.connections.limit, 0
    try:
        return good(running)
    finally:
        running.bridge.connections.limit = limit


def without_certificate(running: Running) -> Outcome:
    with running.anonymous() as client:
        return outcome_of(client, *GOOD)


def tunneled(running: Running) -> Outcome:
    return running.ask(*GOOD, name=TUNNELED)


def tunneled_and_left(running: Running) -> Outcome:
    with running.client(TUNNELED) as client:
        client.connect()
    return None


def uploaded(running: Running) -> Outcome:
    running.lab.site.uploads.clear()
    request = Upload("/CCM_Incoming/x.msg", b"nothing in particular").create()
    with running.client() as client:
        return outcome_of(client, request.method, request.target, headers=dict(request.headers))


CALLED: dict[str, list[str]] = {
    "head_read": ["AuditTrail", "RequestAuthorization"],
    "packet_announced": ["UploadAssembly"],
    "packet_read": ["UploadAssembly"],
    "body_read": ["BodyInspection"],
    "body_inspected": ["ClientIdentification"],
    "packet_response_read": ["UploadAssembly"],
    "reply_collected": ["ReplyInspection"],
    "reply_allowed": ["ClientIdentification"],
    "tls_start_client": ["ClientAuthentication"],
    "tls_established_client": ["ClientAuthentication"],
    "tls_failed_client": ["EndReporting"],
    "connection_refused": ["EndReporting"],
    "turned_away": ["EndReporting"],
    "tunnel_ended": ["EndReporting"],
    "exchange_ended": ["EndReporting"],
    "server_connect": ["AuditTrail", "SiteSystemAuthentication"],
    "tls_start_server": ["SiteSystemAuthentication"],
}
"""Every decision and hook, and the addons that have a function for it, in calling order."""

DEFECT_HOOKS = ["EndReporting"]
"""The addons called when one of these fails. If they fail too, only the log has the defect."""

NOT_HOOKS = {"close", "ended"}
"""Public methods of addons that are not hooks. No hook of mitmproxy may have such a name."""

CAUSES: dict[str, Callable[[Running], Outcome]] = {
    "head_read": good,
    "packet_announced": uploaded,
    "packet_read": uploaded,
    "body_read": good,
    "body_inspected": good,
    "packet_response_read": uploaded,
    "reply_collected": posted,
    "reply_allowed": posted,
    "tls_start_client": good,
    "tls_established_client": good,
    "tls_failed_client": without_certificate,
    "connection_refused": unknown_name,
    "turned_away": over_the_limit,
    "tunnel_ended": tunneled_and_left,
    "exchange_ended": denied,
    "server_connect": good,
    "tls_start_server": good,
}
"""The client behavior that calls the hook."""

RECORDS_ONLY = {
    "tls_failed_client",
    "connection_refused",
    "turned_away",
    "tunnel_ended",
    "exchange_ended",
}
"""Hooks that write an audit record. A record is not written twice."""


SHOWN = ("requestheaders", "request", "responseheaders", "reply_shown")
"""Hooks for addons that show requests, called after the decision; the bridge has none."""

AFTER_THE_RESPONSE = {
    "packet_response_read",
    "reply_collected",
    "reply_allowed",
    "responseheaders",
    "reply_shown",
}
"""Hooks that are called after the site system's response: the request was allowed."""


class Way(NamedTuple):
    """A way to fail."""

    error: type[BaseException]
    allows_first: bool = False
    waits_first: bool = False


WAYS: dict[str, Way] = {
    "an exception": Way(RuntimeError),
    "a panic": Way(Panic),
    "a cancellation": Way(asyncio.CancelledError),
    "an exception after a wait": Way(RuntimeError, waits_first=True),
    "a panic after a wait": Way(Panic, waits_first=True),
    "a cancellation after a wait": Way(asyncio.CancelledError, waits_first=True),
    "an exception after it has allowed": Way(RuntimeError, allows_first=True),
    "a panic after it has allowed": Way(Panic, allows_first=True),
    "a cancellation after it has allowed": Way(asyncio.CancelledError, allows_first=True),
    "an exception after it has waited and allowed": Way(RuntimeError, True, True),
    "a cancellation after it has waited and allowed": Way(asyncio.CancelledError, True, True),
}


def failing(way: Way, functions: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Return a hook function that fails in this way; `functions` would have allowed."""

    def fail(data: Any) -> None:
        if way.allows_first:
            for function in functions:
                waiting = function(data)
                if isinstance(waiting, CoroutineType):
                    waiting.close()  # `fail_later` has already waited
        raise way.error("made to fail")

    async def fail_later(data: Any) -> None:
        await asyncio.sleep(0)
        fail(data)

    return fail_later if way.waits_first else fail


@contextmanager
def nothing_passes(running: Running, *, handshakes: int = 0, requests: int = 0) -> Iterator[None]:
    """Assert that no more than the allowed handshakes and requests reach the site system."""
    site = running.lab.site
    yield
    left = wait_for(lambda: not running.bridge.connections._records, SOON)
    assert left, "state of the connection is left"
    assert len(site.received()) <= requests
    assert len(site.handshakes()) <= handshakes


def assert_refused(outcome: Outcome) -> None:
    if isinstance(outcome, Response):
        assert outcome.status in (405, 500), outcome


def test_every_hook_that_has_a_function_is_in_the_table(running: Running) -> None:
    found: dict[str, list[str]] = {}
    for name, functions in running.bridge.generation.hooks._by_name.items():
        found[name] = [type(function.__self__).__name__ for function in functions]  # type: ignore[attr-defined]
    assert found == CALLED | {"defect": DEFECT_HOOKS}
    # A function whose name is not that of a hook is never called: a typo would skip a check.
    assert not all_hooks.keys() & DECISIONS
    addons = {
        type(function.__self__)
        for functions in running.bridge.generation.hooks._by_name.values()
        for function in functions
    }  # type: ignore[attr-defined]
    public = {name for addon in addons for name in vars(addon) if not name.startswith("_")}
    assert public - all_hooks.keys() - DECISIONS == NOT_HOOKS
    assert CAUSES.keys() == CALLED.keys()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, addons in CALLED.items() for i in range(len(addons))]
)
def test_nothing_is_forwarded_after_a_failed_hook(
    running: Running, name: str, index: int, way: str
) -> None:
    before = list(running.bridge.generation.hooks.of(name))
    running.hook(name, index, failing(WAYS[way], before))
    requests = int(name in AFTER_THE_RESPONSE)
    handshakes = requests + int(name == "tunnel_ended")
    with nothing_passes(running, handshakes=handshakes, requests=requests):
        assert_refused(CAUSES[name](running))
    running.hook(name, index, before[index])
    if not (WAYS[way].allows_first and name in RECORDS_ONLY):
        running.wait_for_reason("bridge-defect")
    assert None not in running.reasons() or name == "tunnel_ended"
    running.lab.site.clear()
    running.assert_serves()
    assert len(running.lab.site.received()) == 1, "a request arrived late"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [*sorted(DECISIONS), *SHOWN])
def test_a_hook_that_fails_after_the_others_revokes_their_decision(
    running: Running, name: str, way: str
) -> None:
    running.add_hook(name, failing(WAYS[way], []))
    requests = int(name in AFTER_THE_RESPONSE)
    with nothing_passes(running, handshakes=requests, requests=requests):
        assert_refused(CAUSES.get(name, good)(running))
    running.wait_for_reason("bridge-defect")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["response", "error", "client_connected", "client_disconnected"])
def test_a_hook_without_functions_also_fails_closed(running: Running, name: str, way: str) -> None:
    functions = running.bridge.generation.hooks._by_name[name]
    functions.append(failing(WAYS[way], []))
    passed = int(name in ("response", "client_disconnected"))
    with nothing_passes(running, handshakes=passed, requests=passed):
        outcome = denied(running) if name == "error" else good(running)
        assert passed or not isinstance(outcome, Response) or outcome.status == 405
    functions.clear()
    running.assert_serves()


@pytest.mark.parametrize("way", WAYS)
def test_a_hook_that_also_clears_the_flow_leaves_no_client_hanging(
    running: Running, way: str
) -> None:
    """The layer does not depend on the flow."""
    fail = failing(WAYS[way], [])

    def lose(flow: Any) -> Any:
        flow.metadata.clear()
        return fail(flow)

    running.add_hook("requestheaders", lose)
    with nothing_passes(running):
        assert_refused(good(running))


def test_a_response_without_a_decision_is_not_forwarded(running: Running) -> None:
    functions = running.bridge.generation.hooks._by_name["reply_collected"]
    before = functions.copy()
    functions.clear()
    with nothing_passes(running, handshakes=1, requests=1):
        outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    running.wait_for_reason("bridge-defect")
    functions += before
    outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200


@pytest.mark.parametrize("error", [RuntimeError, Panic])
@pytest.mark.parametrize("name", ["read_reply", "judge_reply"])
def test_a_response_is_refused_if_its_inspection_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running, handshakes=1, requests=1), monkeypatch.context() as patch:
        patch.setattr(reply_inspection, name, fail)
        outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    assert running.wait_for_reason("bridge-defect")["rule"] == "reply_collected"


@pytest.mark.parametrize("name", [*sorted(DECISIONS), *SHOWN])
def test_the_one_record_of_a_failed_hook_has_its_name_and_the_status_that_the_client_got(
    running: Running, name: str
) -> None:
    running.add_hook(name, failing(WAYS["an exception"], []))
    outcome = CAUSES.get(name, good)(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 500
    record = running.wait_for_reason("bridge-defect")
    assert (record["rule"], record["status"]) == (name, 500)
    assert len(running.audit()) == 1


def test_a_hook_that_returns_neither_none_nor_an_awaitable_is_a_defect(
    running: Running,
) -> None:
    running.add_hook("request", lambda _: True)
    with nothing_passes(running):
        assert_refused(good(running))
    running.wait_for_reason("bridge-defect")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["head_read", "body_read", "requestheaders", "request"])
def test_a_decision_is_revoked_even_if_the_defect_is_not_recorded(
    running: Running, name: str, way: str
) -> None:
    running.hook("defect", 0, lambda _: None)
    running.add_hook(name, failing(WAYS[way], []))
    with nothing_passes(running):
        assert_refused(good(running))


def test_a_panic_in_the_audit_of_a_defect_still_ends_the_connection(running: Running) -> None:
    def panic(_: object) -> None:
        raise Panic

    running.hook("defect", 0, panic)
    for way in WAYS.values():
        running.add_hook("head_read", failing(way, []), first=True)
        with nothing_passes(running):
            assert_refused(good(running))
        running.bridge.generation.hooks._by_name["head_read"].pop(0)


@pytest.mark.parametrize("error", [OSError, Panic])
def test_a_defect_that_the_audit_cannot_record_is_logged_and_others_notified(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    def full(*_: object) -> None:
        raise error("made to fail")

    reported: list[Defect] = []
    running.add_hook("defect", reported.append)
    running.add_hook("request", failing(WAYS["an exception"], []))
    monkeypatch.setattr(running.bridge.shared.audit, "_write", full)
    with nothing_passes(running):
        assert_refused(good(running))
    assert "a defect in request could not be written to the audit" in caplog.text
    assert (reported[0].where, reported[0].kind) == ("request", "RuntimeError")


# Layers


class Place(NamedTuple):
    """A function, the client behavior that runs it, and what the site system may get before."""

    owner: Any
    name: str
    cause: Callable[[Running], Outcome] = good
    handshakes: int = 0
    requests: int = 0


BEFORE_A_DECISION = [
    Place(Generation, "front_door"),
    Place(FrontDoorLayer, "__init__"),
    Place(FrontDoorLayer, "_handle_event"),
    Place(FrontDoorLayer, "_decide"),
    Place(front_door, "route"),
    Place(front_door.tls, "parse_client_hello"),
    Place(BridgedClientTls, "__init__"),
    Place(BridgedClientTls, "receive_handshake_data"),
    Place(BridgedClientTls, "receive_data"),
    Place(RelayLayer, "__init__", tunneled),
    Place(RelayLayer, "_handle_event", tunneled),
    Place(ExchangeLayer, "__init__"),
    Place(ExchangeLayer, "_one_request"),
    Place(Exchange, "__init__"),
    Place(Exchange, "_read_head"),
    Place(Exchange, "_authorize"),
    Place(Exchange, "_read_body"),
    Place(Exchange, "_approve"),
    Place(Exchange, "send"),
    Place(Exchange, "refuse", denied),
    Place(ClientStream, "read_head"),
    Place(ClientStream, "read_body"),
    Place(ClientStream, "refuse", denied),
    Place(exchange, "read_request_head"),
    Place(shown_flow, "shown_request"),
    Place(exchange, "_decide"),
    Place(exchange, "gate"),
    Place(exchange, "originate"),
    Place(exchange, "response_bytes", denied),
    Place(exchange, "refusal", denied),
    Place(exchange_layer, "withdraw", denied),
    Place(withdrawal, "withdrawal", denied),
    Place(SiteSystemLegs, "use"),
    Place(SiteSystemLeg, "__init__"),
    Place(SiteSystemLeg, "open"),
    Place(BridgeConnectionHandler, "__init__"),
    Place(BridgeConnectionHandler, "open_connection"),
    Place(BridgeConnectionHandler, "open_connection", tunneled),
]

AFTER_A_DECISION = [
    Place(tunnel.RelayLayer, "_forward", tunneled),
    Place(site_system_leg._Endpoint, "_handle_event"),
    Place(SiteSystemLeg, "send", handshakes=1),
    Place(SiteSystemLegs, "send", handshakes=1),
    Place(site_system_legs, "response_reader", handshakes=1, requests=1),
    Place(site_system_legs, "next_response", handshakes=1, requests=1),
    Place(Exchange, "_respond", handshakes=1, requests=1),
    Place(exchange, "fields_for_client", handshakes=1, requests=1),
    Place(exchange, "body_end", handshakes=1, requests=1),
    Place(exchange, "head_for_client", handshakes=1, requests=1),
    Place(Exchange, "_inspect_reply", handshakes=1, requests=1),
    Place(ResponseStream, "collect", handshakes=1, requests=1),
    Place(exchange, "unreadable_head", handshakes=1, requests=1),
    Place(exchange, "ResponseBody", handshakes=1, requests=1),
    Place(ClientStream, "begin_response", handshakes=1, requests=1),
    Place(ResponseStream, "forward", handshakes=1, requests=1),
]

ERRORS = [RuntimeError, Panic, asyncio.CancelledError]


def place_name(place: Place) -> str:
    owner = getattr(place.owner, "__name__", "").rpartition(".")[2]
    return f"{owner}.{place.name}, {place.cause.__name__}"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", BEFORE_A_DECISION + AFTER_A_DECISION, ids=place_name)
def test_a_layer_that_raises_closes_the_connection_and_forwards_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, place: Place, error: type[BaseException]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("made to fail")

    with nothing_passes(running, handshakes=place.handshakes, requests=place.requests):
        with monkeypatch.context() as patch:
            patch.setattr(place.owner, place.name, fail)
            outcome = place.cause(running)
        assert not isinstance(outcome, Response), outcome
    # Without a handler there is no record. A cancelled dial is mitmproxy's way to close a
    # connection, not a defect.
    cancelled = place.name == "open_connection" and error is asyncio.CancelledError
    if place.owner is not BridgeConnectionHandler and not cancelled:
        running.wait_for_reason("bridge-defect")
        assert len(running.audit()) == 1
    running.lab.site.clear()
    running.unhandled.clear() if place.name == "__init__" else None
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_a_record_that_cannot_be_opened_closes_the_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(connections.Connections, "open", fail)
        assert not isinstance(good(running), Response)
    running.unhandled.clear()  # asyncio logs it as unhandled
    running.assert_serves()


@pytest.mark.parametrize("error", [RuntimeError, UnicodeError, Panic])
@pytest.mark.parametrize("cause", [good, tunneled])
def test_a_dial_that_raises_closes_the_connection(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[Running], Outcome],
    error: type[BaseException],
) -> None:
    """mitmproxy only handles OSError, but a name with a too long label is a UnicodeError."""

    async def fail(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(asyncio, "open_connection", fail)
        assert not isinstance(cause(running), Response)
    running.wait_for_reason("bridge-defect")
    running.assert_serves()


def test_no_later_command_of_an_event_is_executed_after_a_failure(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed hook, the layer has another command, such as a dial."""
    dialled = []

    def hook_and_dial(layer: RelayLayer) -> Iterator[commands.Command]:
        for command in (
            front_door.ConnectionRefusedHook(None),  # type: ignore[arg-type]
            commands.OpenConnection(layer.context.server),
        ):
            command.blocking = layer
            yield command

    async def dial(_handler: BridgeConnectionHandler, command: commands.OpenConnection) -> None:
        dialled.append(command)

    monkeypatch.setattr(RelayLayer, "_open", hook_and_dial)
    monkeypatch.setattr(BridgeConnectionHandler, "open_connection", dial)
    with nothing_passes(running):
        assert not isinstance(tunneled(running), Response)
    assert not dialled


# Callbacks and engines


def test_a_certificate_that_cannot_be_read_is_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_certificate: object) -> None:
        raise ValueError("an extension twice")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(verify_callback, "certificate_facts", unreadable)
        assert running.alert(running.client()) == "bad certificate"
    running.wait_for_reason("certificate-invalid")
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_the_handshake_is_refused_if_authentication_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(client_authentication, "authenticate", fail)
        assert running.alert(running.client()) == "internal error"
    assert running.wait_for_reason("bridge-defect")["rule"] == "tls.verify"
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize(
    "name",
    ["_judge_certificate", "_connection", "end_entity_of", "path_of", "certificate_facts"],
)
def test_the_handshake_is_refused_if_the_verify_callback_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, name: str, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(verify_callback, name, fail)
        assert running.alert(running.client()) == "internal error"
    # Without the connection, the reason cannot be stored.
    reason = "handshake-failed" if name == "_connection" else "bridge-defect"
    running.wait_for_reason(reason)
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_the_request_is_refused_if_an_engine_raises(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(YaraEngine, "scan", fail)
        assert_refused(posted(running))
    running.wait_for_reason("bridge-defect")
    outcome = posted(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200


# The audit


class FullDisk(io.StringIO):
    """An audit file whose disk can become full."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error
        self.full = False

    def write(self, text: str) -> int:
        if self.full:
            raise self.error("no space left on device")
        return super().write(text)


@pytest.fixture(params=[OSError, ValueError, UnicodeEncodeError], ids=lambda error: error.__name__)
def disk(request: pytest.FixtureRequest, running: Running) -> Iterator[FullDisk]:
    error = request.param
    disk = FullDisk(error if error is not UnicodeEncodeError else _NotEncodable)
    before, running.bridge.shared.audit._file = running.bridge.shared.audit._file, disk
    yield disk
    running.bridge.shared.audit._file = before


class _NotEncodable(UnicodeEncodeError):
    def __init__(self, reason: str) -> None:
        super().__init__("ascii", "", 0, 1, reason)


def test_no_request_is_forwarded_while_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    site = running.lab.site
    disk.full = True
    good(running)
    assert len(site.received()) <= 1, "the one whose record could not be written"
    site.clear()
    with nothing_passes(running):
        for _ in range(3):
            assert_refused(good(running))
    disk.full = False
    # The next request finds out that writing works again.
    assert_refused(good(running))
    assert not site.received()
    running.assert_serves()
    written = [line for line in disk.getvalue().splitlines() if line]
    assert wait_for(lambda: len(disk.getvalue().splitlines()) == 2), written


def test_a_request_on_an_open_connection_is_refused_if_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    with running.client() as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        assert wait_for(disk.getvalue)
        disk.full = True
        assert not isinstance(good(running), Exception)  # its record fails
        assert wait_for(lambda: running.bridge.shared.audit._failed)
        running.lab.site.clear()
        assert_refused(outcome_of(client, *GOOD))
    assert not running.lab.site.received()


def test_no_tunnel_is_opened_while_the_audit_is_not_writable(
    running: Running, disk: FullDisk
) -> None:
    disk.full = True
    good(running)
    assert wait_for(lambda: running.bridge.shared.audit._failed)
    running.lab.site.clear()
    with nothing_passes(running):
        assert not isinstance(tunneled(running), Response)
    disk.full = False
    assert not isinstance(tunneled(running), Response)  # finds out that it works again
    outcome = tunneled(running)
    assert isinstance(outcome, Response)
    assert outcome.status == 200


def test_the_refusal_for_a_defect_has_no_details(running: Running) -> None:
    """The refusal for a defect contains no details."""
    running.add_hook("request", failing(WAYS["an exception"], []))
    outcome = good(running)
    assert isinstance(outcome, Response)
    assert b"made to fail" not in outcome.body
    assert BRIDGED.encode() not in outcome.body
    record = running.wait_for_reason("bridge-defect")
    assert "made to fail" not in str(record)
    assert record["detail"] == "RuntimeError"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_on_a_really_full_disk_nothing_is_forwarded_and_the_bridge_can_stop(lab: Lab) -> None:
    policy = dataclasses.replace(lab.policy, audit_file=Path("/dev/full"))
    with Running(lab, policy) as running:
        good(running)
        lab.site.clear()
        with nothing_passes(running):
            assert_refused(good(running))
            assert_refused(tunneled(running))
    assert not lab.site.received()
