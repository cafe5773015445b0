"""Legs that are kept for the next request, and that a site system closes: without sockets.

What was sent and not answered is sent once more only where that can do no harm, and by the last
gate; a message never is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from ibcm_bridge.addons.layers import exchange as exchange_module
from ibcm_bridge.addons.layers import site_system_legs
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.addons.stages import Considered, HeadRead
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.uploads.session import UploadPart
from tests.addons.conftest import LIMITS, ExchangeDriver, Panic, PlainLeg
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
    # So mitmproxy reports an RST: there is nothing left to be closed.
    exchange.server.state = ConnectionState.CLOSED
    exchange.feed(events.ConnectionClosed(exchange.server))


CLOSED = [fin, reset]


def keep_leg(exchange: ExchangeDriver, request: bytes = GET) -> None:
    """A first request, answered by the site system that `request` is for."""
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
    """A refusal with an answer, one answer only, and no other leg."""
    assert exchange.reason() == reason.value
    answer = exchange.to_client()
    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (code, 1)
    assert len(exchange.dialled) == 1
    assert not exchange.ended[-1].resent
    exchange.close()
    assert exchange.gone


# Closed as the next request comes


@pytest.mark.parametrize("clean", [True, False], ids=["close_notify", "cut off"])
@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("case", SAFE)
def test_a_safe_request_that_was_not_answered_is_sent_once_more_on_a_new_leg(
    exchange: ExchangeDriver,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    closed: Callable[[ExchangeDriver], None],
    clean: bool,
) -> None:
    monkeypatch.setattr(PlainLeg, "ended_cleanly", clean)
    request, answer = SAFE[case]
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
    exchange.receive(answer, exchange.server)
    assert exchange.to_client() == answer
    assert not exchange.gone
    last = exchange.ended[-1]
    assert isinstance(last.decision, Approved)
    assert (last.forwarded, last.resent, last.status) == (True, True, 200)
    # One request, decided on once.
    assert exchange.names().count("request") == hooks + 1
    assert len(exchange.ended) == 2
    assert exchange.record.may_dial is None


def test_each_request_of_a_connection_can_be_sent_once_more(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    for number in range(2, 5):
        exchange.receive(SECOND)
        fin(exchange)
        assert len(exchange.dialled) == number
        exchange.receive(OK, exchange.server)
        assert exchange.to_client() == OK
    assert [one.resent for one in exchange.ended] == [False, True, True, True]


def test_what_came_behind_it_is_answered_in_its_turn(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.receive(GET + SECOND)
    fin(exchange)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET + SECOND
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert [one.resent for one in exchange.ended] == [False, True, False]


@pytest.mark.parametrize("closed", CLOSED)
def test_it_is_sent_once_more_and_not_twice(
    exchange: ExchangeDriver, closed: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    closed(exchange)
    closed(exchange)
    assert len(exchange.dialled) == 2
    assert exchange.reason() == "site-system-response"
    answer = exchange.to_client()
    assert (status(answer), answer.count(b"HTTP/1.1 ")) == (502, 1)
    assert exchange.ended[-1].resent
    exchange.close()
    assert exchange.gone


def test_a_new_leg_that_cannot_be_opened_is_a_502(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    exchange.refuse_dial = "refused"
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_UNREACHABLE, 502)


def test_a_client_that_leaves_meanwhile_has_nothing_sent_again(exchange: ExchangeDriver) -> None:
    keep_leg(exchange)
    exchange.hold_dial = True
    exchange.receive(SECOND)
    fin(exchange)
    exchange.close()
    assert exchange.gone
    exchange.complete_dial()
    assert not exchange.to(exchange.server)
    assert not exchange.ended[-1].resent


# What may have been carried out


@pytest.mark.parametrize("authenticates", [False, True])
@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("verb", UNSAFE)
def test_a_message_is_never_sent_again_and_its_client_is_closed_without_an_answer(
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
    assert exchange.gone, "at once: there is nothing to be read"
    assert exchange.client not in exchange.half_closed
    assert exchange.client not in exchange.cut_off
    assert len(exchange.dialled) == 1
    assert len(exchange.ended) == 2, "what came behind it is for the client to send again"
    last, rule = exchange.ended[-1], denial(exchange).rule
    assert exchange.reason() == "site-system-response"
    assert rule == f"site_system.{'windows_authentication' if authenticates else 'kept_connection'}"
    assert (last.forwarded, last.resent, last.status) == (True, False, None)
    # By these an upload would be taken for acknowledged, and a client for accepted.
    assert not {"responseheaders", "response"} & set(exchange.names()[len(hooks) :])


@pytest.mark.parametrize("closed", CLOSED)
def test_a_get_that_acts_is_not_sent_again_either(
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
def test_a_message_after_its_leg_was_closed_goes_on_a_new_one(
    exchange: ExchangeDriver, closed: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    closed(exchange)
    assert not exchange.gone
    exchange.receive(UNSAFE["CCM_POST"])
    assert len(exchange.dialled) == 2
    assert exchange.to(exchange.server) == UNSAFE["CCM_POST"]
    assert exchange.under_way._sent == 1


# What is no such end


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
@pytest.mark.parametrize("said", [b"H", OK[:-3], b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_half_an_answer_is_a_502(
    exchange: ExchangeDriver, said: bytes, request_bytes: bytes
) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    exchange.receive(said, exchange.server)
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_RESPONSE, 502)


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
def test_silence_is_a_504(exchange: ExchangeDriver, request_bytes: bytes) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    exchange.advance(LIMITS.response_seconds)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_SLOW, 504)


@pytest.mark.parametrize("request_bytes", [SECOND, UNSAFE["CCM_POST"]], ids=["GET", "CCM_POST"])
@pytest.mark.parametrize("alert", ["internal_error", "certificate_revoked"])
def test_an_alert_is_a_502(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch, request_bytes: bytes, alert: str
) -> None:
    keep_leg(exchange)
    exchange.receive(request_bytes)
    monkeypatch.setattr(PlainLeg, "alert", alert)
    fin(exchange)
    assert_not_resent(exchange, Reason.SITE_SYSTEM_RESPONSE, 502)


@pytest.mark.parametrize("case", SAFE)
def test_the_first_request_of_a_leg_is_not_sent_again(exchange: ExchangeDriver, case: str) -> None:
    exchange.receive(SAFE[case][0])
    fin(exchange)
    answer = exchange.to_client()
    assert status(answer) == 502
    assert len(exchange.dialled) == 1
    assert exchange.reason() == "site-system-response"


@pytest.mark.parametrize("closed", CLOSED)
@pytest.mark.parametrize("case", SAFE)
def test_a_leg_on_which_the_client_authenticated_is_not_replaced(
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


# The last gate


def test_it_passes_the_gate_again_with_the_same_decision(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, bytes, bytes]] = []
    real = exchange_module.gate

    def gate(decision: Any, head: Any, body: bytes) -> Approved | Deny:
        asked.append((decision, head.to_bytes(), body))
        return real(decision, head, body)

    monkeypatch.setattr(exchange_module, "gate", gate)
    keep_leg(exchange)
    asked.clear()
    exchange.receive(SECOND)
    fin(exchange)
    assert asked == [(exchange.under_way.decision, SECOND, b"")] * 2
    assert asked[0][0] is asked[1][0]


def withdrawn(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = None


def only_authorized(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = exchange.under_way.authorized


def anothers(exchange: ExchangeDriver) -> None:
    exchange.under_way.decision = exchange.ended[0].decision


@pytest.mark.parametrize("change", [withdrawn, only_authorized, anothers])
def test_without_its_decision_it_is_not_sent_again(
    exchange: ExchangeDriver, change: Callable[[ExchangeDriver], None]
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)
    change(exchange)
    fin(exchange)
    assert_not_resent(exchange, Reason.BRIDGE_DEFECT, 500)
    assert denial(exchange).rule == "gate"


def test_refused_in_between_it_is_not_sent_again(exchange: ExchangeDriver) -> None:
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
        (exchange_module, "originate"),
    ],
)
def test_where_something_raises_it_is_not_sent_again(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    keep_leg(exchange)
    exchange.receive(SECOND)

    def panic(*_: object, **__: object) -> None:
        raise Panic

    monkeypatch.setattr(owner, name, panic)
    with pytest.raises(Panic):  # by which the connection handler aborts both legs
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
    assert [one.resent for one in exchange.ended] == [False, False]


def test_a_leg_that_has_long_been_idle_is_not_used_again(exchange: ExchangeDriver) -> None:
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


def test_a_leg_is_idle_from_the_end_of_its_answer_on(exchange: ExchangeDriver) -> None:
    exchange.receive(POLICY)
    exchange.receive(OK[:-1], exchange.server)
    exchange.advance(LIMITS.site_system_idle_seconds)
    exchange.receive(OK[-1:], exchange.server)
    exchange.advance(LIMITS.site_system_idle_seconds - 1)
    exchange.receive(SECOND)
    assert len(exchange.dialled) == 1


def test_a_leg_on_which_the_client_authenticated_does_not_grow_old(
    exchange: ExchangeDriver,
) -> None:
    keep_leg(exchange)
    leg_of(exchange).authenticates = True
    exchange.advance(LIMITS.site_system_idle_seconds + 1)
    exchange.receive(SECOND)
    assert len(exchange.dialled) == 1
    assert exchange.to(exchange.server) == GET + SECOND
