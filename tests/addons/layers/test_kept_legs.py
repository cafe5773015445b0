"""Legs that are kept for the next request and that a site system closes, without sockets.

A request without a response is resent once, only if that is safe, and only through the gate. A
message is never resent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from ibcm_bridge.addons.layers import exchange as exchange_module
from ibcm_bridge.addons.layers import site_system_choice, site_system_legs
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.addons.stages import Considered, HeadRead
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.uploads.session import UploadPart
from tests.addons.layers.samples import (
    FROM_DP,
    GET,
    HEAD,
    HOST,
    OK,
    POLICY,
    SECOND,
    post,
    status,
)
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver, PlainLeg
from tests.addons.stand_ins.running import Panic

PROPFIND = b"PROPFIND /SMS_DP_SMSPKG$/LAB00001 HTTP/1.1\r\n" + HOST
PROPFIND += b"Content-Type: text/xml\r\nContent-Length: 44\r\nDepth: 1\r\n\r\n"
PROPFIND += b"<propfind xmlns='DAV:'><allprop/></propfind>"
SAFE = {
    "GET, collected": (GET, OK),
    "GET, streamed": (POLICY, OK),
    "HEAD": (HEAD, OK[:-2]),
    "PROPFIND": (PROPFIND, OK),
}
BITS = b"BITS_POST /CCM_Incoming/x.msg HTTP/1.1\r\n" + HOST
BITS += b"BITS-Packet-Type: Ping\r\nContent-Length: 0\r\n\r\n"
UNSAFE = {"CCM_POST": b"".join(post()), "BITS_POST": BITS}


def fin(exchange: ExchangeDriver) -> None:
    exchange.close(exchange.server)


def reset(exchange: ExchangeDriver) -> None:
    # As mitmproxy reports an RST: both directions are closed.
    exchange.server.state = ConnectionState.CLOSED
    exchange.feed(events.ConnectionClosed(exchange.server))


CLOSED = [fin, reset]


def keep_leg(exchange: ExchangeDriver, request: bytes = GET) -> None:
    """Send a first request to the site system of `request`, so that its leg is kept."""
    first = FROM_DP if b"/SMS_DP_" in request else GET
    exchange.receive(first)
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK


def leg_of(exchange: ExchangeDriver) -> SiteSystemLeg:
    assert isinstance(exchange.layer, ExchangeLayer)
    (leg,) = exchange.layer.legs.kept.values()
    return leg


def denial(exchange: ExchangeDriver) -> Deny:
    decision = exchange.ended[-1].decision
    assert isinstance(decision, Deny)
    return decision


def assert_not_resent(exchange: ExchangeDriver, reason: Reason, code: int) -> None:
    """Assert exactly one response, a refusal, and no new leg."""
    assert exchange.reason() == reason.value
    received = exchange.to_client()
    assert (status(received), received.count(b"HTTP/1.1 ")) == (code, 1)
    assert len(exchange.dialled) == 1
    assert not exchange.ended[-1].resent
    exchange.close()
    assert exchange.gone


# Closed when the next request is sent


@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "cut off"])
@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("case", SAFE)
def test_a_safe_request_without_a_response_is_resent_on_a_new_leg(
    exchange: ExchangeDriver,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    closed: Callable[[ExchangeDriver], None],
    clean: bool,
) -> None:
    monkeypatch.setattr(PlainLeg, "ended_cleanly", clean)
    request, received = SAFE[case]
    keep_leg(exchange, request)
    first = exchange.server
    hooks = exchange.names().count("request")
    exchange.receive(request)
    assert exchange.to(first).endswith(request)
    closed(exchange)
    assert exchange.server is not first
    assert (exchange.server.address, exchange.server.sni) == (first.address, first.sni)
    assert exchange.to(exchange.server) == request
    assert not exchange.to_client()
    exchange.receive(received, exchange.server)
    assert exchange.to_client() == received
    assert not exchange.gone
    last = exchange.ended[-1]
    assert isinstance(last.decision, Approved)
    assert (last.forwarded, last.resent, last.status) == (True, True, 200)
    # Still one request with one decision.
    assert exchange.names().count("request") == hooks + 1
    assert len(exchange.ended) == 2
    assert exchange.record.may_dial is None


def test_each_request_of_a_connection_can_be_resent(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    for number in range(2, 5):
        exchange.receive(SECOND)
        fin(exchange)
        assert len(exchange.dialled) == number
        exchange.receive(OK, exchange.server)
        assert exchange.to_client() == OK
    assert [ended.resent for ended in exchange.ended] == [False, True, True, True]


def test_a_later_request_is_processed_in_order(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.receive(GET + SECOND)
    fin(exchange)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET + SECOND
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert [ended.resent for ended in exchange.ended] == [False, True, False]


@pytest.mark.parametrize("closed", CLOSED)
def test_a_request_is_resent_only_once(
    exchange: ExchangeDriver, closed: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    closed(exchange)
    closed(exchange)
    assert len(exchange.dialled) == 2
    assert exchange.reason() == "site-system-response"
    received = exchange.to_client()
    assert (status(received), received.count(b"HTTP/1.1 ")) == (502, 1)
    assert exchange.ended[-1].resent
    exchange.close()
    assert exchange.gone


def test_a_new_leg_that_cannot_be_opened_is_a_502(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    exchange.refuse_dial = "refused"
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_UNREACHABLE, 502)


def test_nothing_is_resent_for_a_client_that_disconnected(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.hold_dial = True
    exchange.receive(SECOND)
    fin(exchange)
    exchange.close()
    assert exchange.gone
    exchange.complete_dial()
    assert not exchange.to(exchange.server)
    assert not exchange.ended[-1].resent


# Requests that may have been executed


@pytest.mark.parametrize("authenticates", [False, True])
@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("verb", UNSAFE)
def test_a_message_is_never_resent_and_its_client_closed_without_a_response(
    exchange: ExchangeDriver,
    verb: str,
    closed: Callable[[ExchangeDriver], None],
    authenticates: bool,
) -> None:
    exchange.hooks["packet_announced"] = lambda _: Considered(None, None)
    exchange.hooks["packet_read"] = lambda read: UploadPart(read.authorized.packet, None)
    keep_leg(exchange)
    leg_of(exchange).authenticates = authenticates
    exchange.receive(UNSAFE[verb] + GET)
    assert exchange.to(exchange.server) == GET + UNSAFE[verb]
    hooks = exchange.names()
    closed(exchange)
    assert exchange.to_client() == b""
    assert exchange.gone, "at once: there is no response to read"
    assert exchange.client not in exchange.half_closed
    assert exchange.client not in exchange.cut_off
    assert len(exchange.dialled) == 1
    assert len(exchange.ended) == 2, "the client itself resends later requests"
    last, rule = exchange.ended[-1], denial(exchange).rule
    assert exchange.reason() == "site-system-response"
    assert rule == f"site_system.{'windows_authentication' if authenticates else 'kept_connection'}"
    assert (last.forwarded, last.resent, last.status) == (True, False, None)
    # These hooks would acknowledge an upload or accept a client.
    assert not {"responseheaders", "response"} & set(exchange.names()[len(hooks) :])


@pytest.mark.parametrize("closed", CLOSED)
def test_a_get_with_side_effects_is_not_resent(
    exchange: ExchangeDriver, closed: Callable[[ExchangeDriver], None]
) -> None:
    decide = exchange.hooks["head_read"]

    def acting(read: HeadRead) -> Authorized:
        decision = decide(read)
        assert isinstance(decision, Authorized)
        return dataclasses.replace(decision, acts=True)

    keep_leg(exchange)
    exchange.hooks["head_read"] = acting
    exchange.receive(SECOND)
    closed(exchange)
    assert denial(exchange).rule == "site_system.kept_connection"
    assert exchange.to_client() == b""
    assert exchange.gone
    assert len(exchange.dialled) == 1
    assert not exchange.ended[-1].resent


@pytest.mark.parametrize("closed", CLOSED)
def test_a_message_after_a_closed_leg_uses_a_new_leg(
    exchange: ExchangeDriver, closed: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    closed(exchange)
    assert not exchange.gone
    exchange.receive(UNSAFE["CCM_POST"])
    assert len(exchange.dialled) == 2
    assert exchange.to(exchange.server) == UNSAFE["CCM_POST"]
    assert exchange.under_way._sent == 1


# Other failures


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
@pytest.mark.parametrize("partial", [b"H", OK[:-3], b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_partial_response_causes_a_502(
    exchange: ExchangeDriver, partial: bytes, request_bytes: bytes
) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    exchange.receive(partial, exchange.server)
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_RESPONSE, 502)


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
def test_silence_causes_a_504(exchange: ExchangeDriver, request_bytes: bytes) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    exchange.advance(LIMITS.response_seconds)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_SLOW, 504)


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
@pytest.mark.parametrize("alert", ["internal_error", "certificate_revoked"])
def test_an_alert_causes_a_502(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes, alert: str
) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    monkeypatch.setattr(PlainLeg, "alert", alert)
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_RESPONSE, 502)


@pytest.mark.parametrize("case", SAFE)
def test_the_first_request_of_a_leg_is_not_resent(exchange: ExchangeDriver, case: str) -> None:
    exchange.receive(SAFE[case][0])
    fin(exchange)
    received = exchange.to_client()
    assert status(received) == 502
    assert len(exchange.dialled) == 1
    assert exchange.reason() == "site-system-response"


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("case", SAFE)
def test_an_authenticated_leg_is_not_replaced(
    exchange: ExchangeDriver, case: str, closed: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange, SAFE[case][0])
    leg_of(exchange).authenticates = True
    exchange.receive(SAFE[case][0])
    closed(exchange)
    assert denial(exchange).rule == "site_system.windows_authentication"
    assert len(exchange.dialled) == 1
    assert status(exchange.to_client()) == 502
    assert not exchange.ended[-1].resent


RESPONSES = {
    "counted": OK,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "without a body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "a challenge": b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\n"
    b"Content-Length: 2\r\n\r\nno",
}


@pytest.mark.parametrize("surplus", [b"", b"x", OK], ids=["nothing", "a byte", "a response"])
@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("authenticates", [False, True])
def test_bytes_after_a_response_close_its_leg_and_an_authenticated_client(
    exchange: ExchangeDriver, authenticates: bool, response: bytes, surplus: bytes
) -> None:
    keep_leg(exchange)
    first = exchange.server
    leg_of(exchange).authenticates = authenticates
    exchange.receive(SECOND + GET)
    exchange.receive(response + surplus, first)
    assert exchange.to_client() == response
    assert exchange.gone is (authenticates and bool(surplus))
    assert (first in exchange.closed) is bool(surplus)
    # The next request: on the same leg, on a new one, or not sent, because no other leg can
    # replace an authenticated one.
    assert exchange.to(first) == GET + SECOND + (b"" if surplus else GET)
    assert len(exchange.dialled) == (2 if surplus and not authenticates else 1)


# The gate


def test_a_resent_request_passes_the_gate_again_with_the_same_decision(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[object, bytes, bytes]] = []
    real = exchange_module.gate

    def gate(decision: Any, head: Any, body: bytes) -> Approved | Deny:
        checked.append((decision, head.to_bytes(), body))
        return real(decision, head, body)

    monkeypatch.setattr(exchange_module, "gate", gate)
    keep_leg(exchange)
    checked.clear()
    exchange.receive(SECOND)
    fin(exchange)
    assert checked == [(exchange.under_way.decision, SECOND, b"")] * 2
    assert checked[0][0] is checked[1][0]


def withdrawn(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = None


def only_authorized(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = exchange.under_way.authorized


def anothers(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = exchange.ended[0].decision


@pytest.mark.parametrize("change", [withdrawn, only_authorized, anothers])
def test_a_request_without_its_decision_is_not_resent(
    exchange: ExchangeDriver, change: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    change(exchange)
    fin(exchange)
    assert_not_resent(exchange, Reason.BRIDGE_DEFECT, 500)
    assert denial(exchange).rule == "gate"


def test_a_request_refused_in_between_is_not_resent(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    exchange.under_way.decision = Deny(Reason.VERB, Rule("made up"))
    fin(exchange)
    assert_not_resent(exchange, Reason.VERB, 405)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (exchange_module, "gate"),
        (site_system_legs, "when_closed"),
        (site_system_legs, "closed_without_response"),
        (site_system_choice, "originate"),
    ],
)
def test_a_request_is_not_resent_after_an_exception(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)

    def panic(*_: object, **__: object) -> None:
        raise Panic

    monkeypatch.setattr(owner, name, panic)
    with pytest.raises(Panic):  # the connection handler then aborts both legs
        fin(exchange)
    assert len(exchange.dialled) == 1
    assert exchange.to_client() == b""


# Closed, or too old, before the next request


def test_a_leg_closed_while_idle_is_replaced(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.close(exchange.server)
    assert not exchange.gone
    exchange.receive(SECOND)
    assert len(exchange.dialled) == 2
    assert exchange.to(exchange.server) == SECOND
    exchange.receive(OK, exchange.server)
    assert [ended.resent for ended in exchange.ended] == [False, False]


def test_a_leg_that_was_idle_too_long_is_not_used_again(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    first = exchange.server
    for _ in range(2):
        exchange.advance(LIMITS.site_system_idle_seconds - 1)
        exchange.receive(SECOND)
        assert exchange.server is first
        exchange.receive(OK, first)
    exchange.advance(LIMITS.site_system_idle_seconds)
    exchange.receive(GET)
    assert first in exchange.closed
    assert exchange.server is not first
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK * 3
    assert not exchange.ended[-1].resent


def test_the_idle_time_of_a_leg_begins_at_the_end_of_the_response(exchange: ExchangeDriver) -> None:
    exchange.receive(POLICY)
    exchange.receive(OK[:-1], exchange.server)
    exchange.advance(LIMITS.site_system_idle_seconds)
    exchange.receive(OK[-1:], exchange.server)
    exchange.advance(LIMITS.site_system_idle_seconds - 1)
    exchange.receive(SECOND)
    assert len(exchange.dialled) == 1


def test_an_authenticated_leg_has_no_idle_timeout(
    exchange: ExchangeDriver,
) -> None:
    keep_leg(exchange)
    leg_of(exchange).authenticates = True
    exchange.advance(LIMITS.site_system_idle_seconds + 1)
    exchange.receive(SECOND)
    assert len(exchange.dialled) == 1
    assert exchange.to(exchange.server) == GET + SECOND
