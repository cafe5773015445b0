"""The exchange layer without sockets: what it sends, to whom, and only then.

Legs are plain here (`PlainLeg`), so what would reach a site system can be read. Every allowed case
is followed by what must be refused beside it.
"""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from ibcm_bridge.addons.layers import deadline, site_system_leg
from ibcm_bridge.addons.layers.client_stream import LINGER_BYTES, LINGER_SECONDS, MAX_AHEAD
from ibcm_bridge.addons.stages import BodyInspected
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.publications import BridgePublication
from tests.addons.conftest import LIMITS, Clock, ExchangeDriver, Lab, PlainLeg, message

HOST = b"Host: bridge.internet.example\r\n"
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
SECOND = GET.replace(b"MPLIST", b"MPCERT")
HEAD = b"HEAD" + GET[3:]
POLICY = GET.replace(b".sms_aut?MPLIST", b".sms_pol?{LAB00001}.1_00")
"""GET and SECOND have answers that are collected and read; this has one that is passed on."""
FROM_DP = b"GET /SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe HTTP/1.1\r\n" + HOST + b"\r\n"
DENIED = GET.replace(b"GET", b"DELETE")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(*, expect: bool = False, method: bytes = b"CCM_POST") -> tuple[bytes, bytes]:
    """A message: its head and its body."""
    sent = message()
    body: bytes = sent["body"]
    fields = HOST + b"Content-Type: %b\r\n" % sent["headers"]["Content-Type"].encode()
    fields += b"Content-Length: %d\r\n" % len(body)
    if expect:
        fields += b"Expect: 100-continue\r\n"
    return b"%b /ccm_system/request HTTP/1.1\r\n%b\r\n" % (method, fields), body


def to_bytes(approved: Approved) -> bytes:
    return approved.authorized.head.to_bytes() + approved.body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def assert_refused(exchange: ExchangeDriver, reason: str, code: int) -> None:
    """One refusal, nothing sent to a site system, and the connection on its way to be closed."""
    assert exchange.reason() == reason
    answer = exchange.to_client()
    assert status(answer) == code
    assert answer.count(b"Connection: close\r\n") == 1
    assert exchange.client in exchange.half_closed
    assert not any(exchange.to(server) for server in exchange.dialled)
    exchange.close()
    assert exchange.gone


# Request heads


def test_a_head_is_read_byte_by_byte(exchange: ExchangeDriver) -> None:
    for index, byte in enumerate(GET):
        assert not exchange.dialled, f"dialled after {index} bytes"
        assert not exchange.told
        exchange.receive(bytes([byte]))
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK


def test_a_response_is_read_byte_by_byte(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    for byte in OK:
        exchange.receive(bytes([byte]), exchange.server)
    assert exchange.to_client() == OK
    assert exchange.names()[-2:] == ["response", "exchange_ended"]


def test_two_requests_in_one_segment_are_decided_and_answered_in_turn(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET + SECOND)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET + SECOND
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert exchange.names().count("requestheaders") == 2


def test_a_denied_request_behind_an_allowed_one_is_not_sent(exchange: ExchangeDriver) -> None:
    exchange.receive(GET + DENIED + SECOND)
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET
    assert exchange.reason() == "verb"
    answer = exchange.to_client().removeprefix(OK)
    assert status(answer) == 405
    assert answer.count(b"HTTP/1.1") == 1, "what follows a refusal is not answered"
    exchange.receive(GET)
    assert exchange.to(exchange.server) == GET
    assert len(exchange.ended) == 2


def test_the_body_of_a_refused_request_is_not_read_as_a_request(exchange: ExchangeDriver) -> None:
    smuggled = b"DELETE /ccm_system/request HTTP/1.1\r\n" + HOST
    smuggled += b"Content-Length: %d\r\n\r\n" % len(GET) + GET
    exchange.receive(smuggled)
    assert_refused(exchange, "verb", 405)
    assert len(exchange.ended) == 1


@pytest.mark.parametrize(
    ("head", "reason", "code"),
    [
        (b"GET /SMS_MP/ HTTP/1.1\n" + HOST + b"\n\n", "malformed-head", 400),
        (b"\r\n" + GET, "malformed-head", 400),
        (b"GET  /SMS_MP/ HTTP/1.1\r\n\r\n", "malformed-head", 400),
        (b"GET /SMS_MP/ HTTP/1.0\r\n" + HOST + b"\r\n", "http-version", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http-version", 505),
        (b"\x16\x03\x01\r\n\r\n", "malformed-head", 400),
        (GET.replace(HOST, HOST + b"Transfer-Encoding: chunked\r\n"), "length-required", 411),
        (GET.replace(HOST, HOST + b"Content-Length: 1\r\n" * 2), "framing", 400),
        (GET.replace(HOST, b"Host: other.example\r\n"), "host-mismatch", 421),
        (GET.replace(HOST, HOST * 2), "host-mismatch", 421),
        (GET.replace(b"/SMS_MP", b"https://bridge.internet.example/SMS_MP"), "target-form", 400),
        (GET.replace(b"/SMS_MP", b"/SMS_MP/../SMS_MP"), "target-unsafe", 400),
        (GET.replace(b"SMS_MP", b"SMS_MP_AltAuth"), "bypass-directory", 404),
        (GET.replace(HOST, HOST + b"Connection: Upgrade, Host\r\n"), "header", 403),
        (GET.replace(HOST, HOST + b"Expect: 200-ok\r\n"), "expectation", 417),
        (GET.replace(HOST, HOST + b"A: " + b"a" * LIMITS.request_head), "head-too-large", 431),
    ],
)
def test_a_head_that_is_not_as_it_must_be_is_refused(
    exchange: ExchangeDriver, head: bytes, reason: str, code: int
) -> None:
    exchange.receive(head)
    assert not exchange.dialled
    assert_refused(exchange, reason, code)


def test_a_head_without_end_is_refused_at_the_limit(exchange: ExchangeDriver) -> None:
    sent = 0
    while sent <= LIMITS.request_head:
        assert not exchange.ended
        exchange.receive(b"A: aaaaaaaaaaa\r\n")
        sent += 16
    assert_refused(exchange, "head-too-large", 431)


def test_a_head_of_just_the_limit_is_read(exchange: ExchangeDriver) -> None:
    padding = b"A: " + b"a" * (LIMITS.request_head - len(GET) + 4 - 5) + b"\r\n"
    exchange.receive(GET.replace(HOST, HOST + padding))
    assert exchange.to(exchange.server) == GET, "and an unlisted field is dropped"


def test_a_refused_head_request_is_answered_without_a_body(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD.replace(b"SMS_MP", b"elsewhere"))
    assert exchange.to_client().endswith(b"\r\n\r\n")
    assert exchange.reason() == "directory"


# Request bodies


def test_a_body_may_come_in_several_events_and_is_sent_when_it_is_whole(
    exchange: ExchangeDriver,
) -> None:
    head, body = post()
    exchange.receive(head + body[:10])
    for at in range(10, len(body), 500):
        assert not exchange.dialled
        exchange.receive(body[at : at + 500])
    assert exchange.to(exchange.server).endswith(b"\r\n\r\n" + body)
    assert exchange.names()[:2] == ["requestheaders", "request"]


def test_what_follows_a_body_is_the_next_request(exchange: ExchangeDriver) -> None:
    head, body = post()
    exchange.receive(head + body + GET)
    first = exchange.to(exchange.server)
    assert first.endswith(body)
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == first + GET


def test_a_body_that_is_refused_is_not_sent(exchange: ExchangeDriver) -> None:
    head, body = post()
    exchange.receive(head + b"x" * len(body))
    assert not exchange.dialled
    assert_refused(exchange, "multipart", 403)


def test_a_client_that_waits_is_told_to_continue_once_its_head_is_allowed(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True)
    exchange.receive(head)
    assert exchange.to_client() == b"HTTP/1.1 100 Continue\r\n\r\n"
    exchange.receive(body)
    sent = exchange.to(exchange.server)
    assert b"xpect" not in sent, "the expectation was the bridge's to meet"
    assert sent.endswith(body)


def test_a_client_that_waits_with_a_refused_head_is_answered_and_its_body_not_read(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True, method=b"POST")
    exchange.receive(head)
    answer = exchange.to_client()
    assert status(answer) == 405
    assert b"100 Continue" not in answer
    exchange.receive(body)
    assert exchange.names().count("request") == 0
    assert not exchange.to_client()


def test_a_client_that_sends_its_body_anyway_is_not_told_to_continue(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True)
    exchange.receive(head + body)
    assert not exchange.to_client()
    assert exchange.to(exchange.server).endswith(body)


def test_an_announced_body_over_the_limit_is_refused_before_it_is_read(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True)
    exchange.receive(head.replace(b": %d\r\n" % len(body), b": 99999999\r\n"))
    assert_refused(exchange, "body-too-large", 413)


@pytest.mark.parametrize("decided", [None, "an old approval"])
def test_a_body_is_neither_asked_for_nor_inspected_when_its_head_was_not_allowed(
    exchange: ExchangeDriver, decided: str | None
) -> None:
    head, body = post(expect=True)
    if decided:
        exchange.receive(head + body)
        exchange.receive(OK, exchange.server)
        exchange.to_client()
    exchange.hooks["head_read"] = lambda _: exchange.ended[0].decision if decided else None
    exchange.receive(head)
    assert exchange.reason() == "bridge-defect"
    assert status(exchange.to_client()) == 500
    assert exchange.names().count("request") == int(bool(decided))
    exchange.receive(body)
    assert len([one for one in exchange.dialled if exchange.to(one).count(b"CCM_POST ") > 1]) == 0


# Time


def test_a_silent_client_is_closed_without_an_answer(exchange: ExchangeDriver) -> None:
    exchange.advance(LIMITS.idle_seconds - 1)
    assert not exchange.gone
    exchange.advance(1)
    assert exchange.gone
    assert not exchange.to_client()
    assert not exchange.ended


def test_a_slow_head_is_refused_in_time_although_idling_may_take_longer(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(b"G")
    exchange.advance(LIMITS.head_seconds - 1)
    exchange.receive(b"E")
    assert not exchange.ended
    exchange.advance(1)
    assert_refused(exchange, "too-slow", 408)


def test_a_slow_body_is_refused_in_time(exchange: ExchangeDriver) -> None:
    head, _ = post()
    exchange.receive(head)
    for _ in range(int(LIMITS.body_seconds) - 1):
        exchange.receive(b"x")
        exchange.advance(1)
    assert not exchange.ended
    exchange.advance(1)
    assert not exchange.dialled
    assert_refused(exchange, "too-slow", 408)


def test_a_dial_that_takes_too_long_is_given_up_in_time(exchange: ExchangeDriver) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    exchange.advance(LIMITS.handshake_seconds)
    assert exchange.reason() == "site-system-unreachable"
    assert status(exchange.to_client()) == 502
    assert exchange.record.may_dial is None
    exchange.complete_dial()
    assert not exchange.to(exchange.server), "what was refused is not sent after all"


def test_a_site_system_that_does_not_answer_is_given_up(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n", exchange.server)
    exchange.advance(LIMITS.response_seconds - 1)
    assert not exchange.ended
    exchange.advance(1)
    assert exchange.reason() == "site-system-slow"
    assert status(exchange.to_client()) == 504


def test_a_response_that_stops_is_given_up_and_the_connection_closed(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    exchange.receive(OK[:-1], exchange.server)
    exchange.advance(LIMITS.idle_seconds)
    assert exchange.to_client() == OK[:-1], "nothing is added to half an answer"
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert exchange.ended[0].note


@pytest.mark.parametrize("rounds", [1, 5])
def test_deadlines_are_met_on_a_connection_that_has_been_used(
    exchange: ExchangeDriver, clock: Clock, rounds: int
) -> None:
    for _ in range(rounds):
        exchange.receive(GET)
        exchange.receive(OK, exchange.server)
        exchange.advance(LIMITS.idle_seconds - 0.5)
        exchange.to_client()
    exchange.receive(b"G")
    exchange.advance(LIMITS.head_seconds - 0.5)
    assert not exchange.to_client()
    exchange.advance(0.5)
    assert status(exchange.to_client()) == 408
    assert len(exchange._timers) < 6, "timers that cannot be taken back do not pile up"


# Clients that leave


@pytest.mark.parametrize("at", [0, 1, 20, len(GET) - 1])
def test_a_client_that_leaves_before_its_head_is_whole_causes_nothing(
    exchange: ExchangeDriver, at: int
) -> None:
    exchange.receive(GET[:at]) if at else None
    exchange.close()
    assert exchange.gone
    assert not exchange.dialled
    assert "requestheaders" not in exchange.names()
    assert len(exchange.ended) == int(at > 0)


def test_a_client_that_leaves_before_its_body_is_whole_causes_nothing(
    exchange: ExchangeDriver,
) -> None:
    head, body = post()
    exchange.receive(head + body[:-1])
    exchange.close()
    assert exchange.gone
    assert not exchange.dialled
    assert "request" not in exchange.names()
    assert len(exchange.ended) == 1


def test_a_client_that_leaves_while_its_site_system_is_dialled_has_nothing_sent(
    exchange: ExchangeDriver,
) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    exchange.close()
    assert exchange.gone
    assert exchange.record.may_dial is None
    exchange.complete_dial()
    assert not exchange.to(exchange.server)


@pytest.mark.parametrize("answered", [b"", OK[:10], OK[:-1]])
def test_a_client_that_leaves_before_its_answer_is_whole_ends_the_leg(
    exchange: ExchangeDriver, answered: bytes
) -> None:
    exchange.receive(GET)
    exchange.receive(answered, exchange.server) if answered else None
    exchange.close()
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert len(exchange.ended) == 1


def test_a_client_that_sends_too_much_ahead_is_refused(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(SECOND[:1] * MAX_AHEAD)
    assert not exchange.ended
    exchange.receive(b"G")
    assert exchange.reason() == "pipelined"
    assert status(exchange.to_client()) == 400
    exchange.close()
    assert exchange.server in exchange.closed


def test_a_client_that_sends_too_much_ahead_of_half_an_answer_is_closed(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(POLICY)
    exchange.receive(OK[:-1], exchange.server)
    exchange.receive(b"x" * (MAX_AHEAD + 1))
    assert exchange.to_client() == OK[:-1]
    assert exchange.gone


def test_a_refused_client_that_keeps_sending_is_read_for_a_while_and_then_closed(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(DENIED)
    exchange.receive(b"x" * (LINGER_BYTES - 1))
    assert not exchange.gone
    exchange.receive(b"x")
    assert exchange.gone


def test_a_refused_client_that_does_nothing_is_closed_soon(exchange: ExchangeDriver) -> None:
    exchange.receive(DENIED)
    exchange.advance(LINGER_SECONDS)
    assert exchange.gone


# Responses


@pytest.mark.parametrize("request_head", [GET, POLICY], ids=["collected", "streamed"])
@pytest.mark.parametrize(
    ("response", "passed_on"),
    [
        (OK, OK),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",) * 2,
        (b"HTTP/1.1 204 No Content\r\n\r\n",) * 2,
        (b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 5\r\n\r\n',) * 2,
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",) * 2,
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK),
        (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK, OK),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
            OK,
        ),
    ],
)
def test_a_response_is_passed_on_and_the_leg_kept(
    exchange: ExchangeDriver, response: bytes, passed_on: bytes, request_head: bytes
) -> None:
    exchange.receive(request_head)
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == passed_on
    exchange.receive(SECOND)
    assert exchange.to(exchange.server) == request_head + SECOND
    assert len(exchange.dialled) == 1


def test_a_response_to_head_has_no_body_whatever_it_announces(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD)
    exchange.receive(OK[:-2], exchange.server)
    assert exchange.to_client() == OK[:-2]
    exchange.receive(GET)
    assert exchange.to(exchange.server) == HEAD + GET


def test_a_response_that_ends_with_its_connection_ends_the_clients_too(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\no", exchange.server)
    exchange.receive(b"k", exchange.server)
    assert not exchange.gone
    exchange.close(exchange.server)
    assert exchange.to_client() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"
    assert exchange.gone
    assert exchange.cut_off == []


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x00" * 40 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000,
    ],
)
def test_a_response_head_that_cannot_be_trusted_is_not_passed_on(
    exchange: ExchangeDriver, response: bytes
) -> None:
    exchange.receive(GET + SECOND)
    exchange.receive(response, exchange.server)
    assert exchange.reason() == "site-system-response"
    answer = exchange.to_client()
    assert status(answer) == 502
    assert exchange.to(exchange.server) == GET, "nothing more is sent"
    exchange.close()
    assert exchange.server in exchange.closed


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_site_system_that_closes_without_an_answer_is_a_502(
    exchange: ExchangeDriver, said: bytes
) -> None:
    exchange.receive(GET)
    exchange.receive(said, exchange.server) if said else None
    exchange.close(exchange.server)
    assert exchange.reason() == "site-system-response"
    assert status(exchange.to_client()) == 502


def test_an_unreachable_site_system_is_a_502_that_names_no_address(
    exchange: ExchangeDriver,
) -> None:
    exchange.refuse_dial = "Connection refused by 10.0.0.1"
    exchange.receive(GET)
    answer = exchange.to_client()
    assert status(answer) == 502
    assert b"10.0.0.1" not in answer
    assert b"corp.example" not in answer
    assert exchange.reason() == "site-system-unreachable"


def test_a_response_that_ends_without_close_notify_is_cut_off(
    exchange: ExchangeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PlainLeg, "ended_cleanly", False)
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\nhal", exchange.server)
    exchange.close(exchange.server)
    assert exchange.gone
    assert exchange.ended[0].note
    assert exchange.cut_off == [exchange.client]


@pytest.mark.parametrize("request_head", [GET, POLICY], ids=["collected", "streamed"])
@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nZZ\r\n",
    ],
)
def test_a_response_cut_short_is_not_made_whole(
    exchange: ExchangeDriver, response: bytes, request_head: bytes
) -> None:
    exchange.receive(request_head + SECOND)
    exchange.receive(response, exchange.server)
    exchange.close(exchange.server)
    answer = exchange.to_client()
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"0\r\n\r\n")
    assert exchange.gone
    assert exchange.ended[0].note
    assert len(exchange.dialled) == 1
    assert exchange.cut_off == [exchange.client], "close_notify would say that it is whole"


@pytest.mark.parametrize("request_head", [GET, POLICY], ids=["collected", "streamed"])
@pytest.mark.parametrize(
    "response",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_bytes_after_a_response_are_thrown_away_with_their_leg(
    exchange: ExchangeDriver, response: bytes, request_head: bytes
) -> None:
    exchange.receive(request_head)
    first = exchange.server
    exchange.receive(response + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", first)
    assert exchange.to_client() == response
    assert first in exchange.closed
    exchange.receive(SECOND)
    assert exchange.server is not first
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK


def test_bytes_on_an_idle_leg_are_thrown_away_with_it(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    first = exchange.server
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", first)
    assert first in exchange.closed
    exchange.receive(SECOND)
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK


def test_bytes_on_a_leg_that_was_not_asked_are_thrown_away_with_it(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    management_point = exchange.server
    exchange.receive(FROM_DP)
    assert exchange.server is not management_point
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", management_point)
    assert management_point in exchange.closed
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK


# Legs


def test_two_site_systems_at_one_address_have_a_leg_each(exchange: ExchangeDriver) -> None:
    # Behind a load balancer, say: each is verified by its own name.
    publication = exchange.record.publication
    assert isinstance(publication, BridgePublication)
    together = {
        name: dataclasses.replace(
            role, site_system=dataclasses.replace(role.site_system, address=("10.0.0.1", 443))
        )
        for name, role in publication.directories.items()
    }
    exchange.record.publication = dataclasses.replace(publication, directories=together)
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.receive(FROM_DP)
    exchange.receive(OK, exchange.server)
    assert [(one.address, one.sni) for one in exchange.dialled] == [
        (("10.0.0.1", 443), "mp01.corp.example"),
        (("10.0.0.1", 443), "dp01.corp.example"),
    ]


def test_each_role_has_its_own_leg(exchange: ExchangeDriver) -> None:
    for request in (GET, FROM_DP, SECOND, FROM_DP):
        exchange.receive(request)
        asked = next(one for one in exchange.dialled if exchange.to(one).endswith(request))
        exchange.receive(OK, asked)
    management_point, distribution_point = exchange.dialled
    assert exchange.to(management_point) == GET + SECOND
    assert exchange.to(distribution_point) == FROM_DP * 2
    assert management_point.sni == "mp01.corp.example"
    assert distribution_point.sni == "dp01.corp.example"
    exchange.close()
    assert {management_point.id, distribution_point.id} <= {one.id for one in exchange.closed}


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_site_system_that_says_close_gets_the_next_request_on_a_new_leg(
    exchange: ExchangeDriver, version: bytes
) -> None:
    closing = b"HTTP/%b 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" % version
    exchange.receive(GET)
    first = exchange.server
    exchange.receive(closing, first)
    assert exchange.to_client() == OK, "its connection is its own"
    assert first in exchange.closed
    exchange.receive(SECOND)
    assert exchange.server is not first
    assert exchange.to(exchange.server) == SECOND


def test_a_client_that_says_close_is_closed_after_its_answer(exchange: ExchangeDriver) -> None:
    exchange.receive(GET.replace(HOST, HOST + b"Connection: close\r\n") + SECOND)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert b"Connection: close\r\n" in exchange.to_client()
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert len(exchange.ended) == 1


def test_what_a_replaced_leg_still_reports_is_nobodys(exchange: ExchangeDriver) -> None:
    """Its end comes when the next request is already on the new leg; it is not the client's."""
    exchange.receive(GET + SECOND)
    first = exchange.server
    exchange.receive(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), first)
    assert exchange.server is not first
    exchange.feed(events.DataReceived(first, GET))
    exchange.feed(events.ConnectionClosed(first))
    assert not exchange.gone
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert exchange.to(exchange.server) == SECOND


def test_permission_to_dial_lasts_for_the_dial_alone(exchange: ExchangeDriver) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    assert exchange.record.may_dial == exchange.dialling[0].connection.address
    exchange.complete_dial()
    assert exchange.record.may_dial is None
    assert exchange.to(exchange.server) == GET


# Whatever happens


CLIENT_SAYS = [GET, SECOND, HEAD, FROM_DP, DENIED, *post(), *post(expect=True), GET[:30], b"\r\n"]
SITE_SYSTEM_SAYS = [OK, OK[:-1], OK[-1:], OK[:20], OK + OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"x"]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.sampled_from(CLIENT_SAYS)),
        st.tuples(st.just("client"), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("site system"), st.sampled_from(SITE_SYSTEM_SAYS)),
        st.tuples(st.just("site system leaves"), st.just(b"")),
        st.tuples(st.just("client leaves"), st.just(b"")),
        st.tuples(st.just("time passes"), st.just(b"")),
        st.tuples(st.just("dial is held"), st.just(b"")),
        st.tuples(st.just("dial ends"), st.just(b"")),
        st.tuples(st.just("dial fails"), st.just(b"")),
    ),
    max_size=14,
)


def carry_out(exchange: ExchangeDriver, what: str, data: bytes) -> None:
    alive = [one for one in exchange.dialled if one.state & ConnectionState.CAN_READ]
    if what == "client" and exchange.client.state & ConnectionState.CAN_READ:
        exchange.receive(data)
    elif what == "client leaves" and exchange.client.state & ConnectionState.CAN_READ:
        exchange.close()
    elif what == "site system" and alive:
        exchange.receive(data, alive[-1])
    elif what == "site system leaves" and alive:
        exchange.close(alive[-1])
    elif what == "time passes":
        exchange.advance(7)
    elif what == "dial is held":
        exchange.hold_dial = True
    elif what.startswith("dial") and exchange.dialling:
        exchange.complete_dial("refused" if what == "dial fails" else None)


@given(STEPS)
@example([("client", GET + DENIED), ("site system", OK + OK), ("client", GET)])
@example(
    [
        *[("client", GET), ("site system", OK), ("client", SECOND), ("site system leaves", b"")],
        *[("site system", OK), ("client", GET), ("site system leaves", b"")],
    ]
)
@example([("dial is held", b""), ("client", GET), ("client leaves", b""), ("dial ends", b"")])
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_only_what_was_approved_is_sent_and_nothing_raises(
    running_lab: Lab, steps: list[tuple[str, bytes]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_system_leg, "_LegTls", PlainLeg)
        clock = Clock()
        patch.setattr(deadline, "time", clock)
        patch.setattr(site_system_leg, "time", clock)
        exchange = ExchangeDriver(running_lab, clock)
        approve, approved = exchange.hooks["body_inspected"], []

        def note(inspected: BodyInspected) -> Approved | Deny:
            decision: Approved | Deny = approve(inspected)
            if isinstance(decision, Approved):
                address = decision.authorized.site_system.address
                approved.append((exchange.under_way, address, to_bytes(decision)))
            return decision

        exchange.hooks["body_inspected"] = note
        exchange.start()
        for what, data in steps:
            carry_out(exchange, what, data)
    # An approval is good for one request, or for two where the leg was closed as it came.
    resent = [one for one in approved if one[0]._sent > 1]
    assert all(data.startswith((b"GET ", b"HEAD ")) for _, _, data in resent)
    allowed = [(address, data) for _, address, data in approved + resent]
    for server in exchange.dialled:
        sent = exchange.to(server)
        while sent:
            fitting = [one for at, one in allowed if at == server.address and sent.startswith(one)]
            assert fitting, sent
            allowed.remove((server.address, fitting[0]))
            sent = sent[len(fitting[0]) :]
    assert DENIED[:20] not in b"".join(exchange.to(one) for one in exchange.dialled)
    if exchange.gone:
        assert exchange.record.may_dial is None
