"""Clients that send slowly, in pieces, too much or nothing: only complete requests are forwarded.

Legs have no TLS here (`PlainLeg`), so a test can read the data for a site system. Each allowed case
is followed by the refused one next to it.
"""

from __future__ import annotations

import pytest

from ibcm_bridge.addons.layers.client_stream import (
    LINGER_BYTES,
    LINGER_SECONDS,
    MAX_AHEAD,
    RATE_SECONDS,
)
from tests.addons.layers.samples import (
    DENIED,
    GET,
    HEAD,
    HOST,
    OK,
    POLICY,
    SECOND,
    assert_refused,
    post,
    status,
)
from tests.addons.stand_ins.driver import LIMITS, Clock
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import Lab

# Request heads


def test_a_head_is_read_byte_by_byte(exchange: ExchangeDriver) -> None:
    for index, byte in enumerate(GET):
        assert not exchange.dialled, f"connected after {index} bytes"
        assert not exchange.hook_calls
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


def test_two_requests_in_one_segment_are_processed_in_order(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET + SECOND)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET + SECOND
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert exchange.names().count("requestheaders") == 2


def test_a_denied_request_after_an_allowed_one_is_not_sent(exchange: ExchangeDriver) -> None:
    exchange.receive(GET + DENIED + SECOND)
    exchange.receive(OK, exchange.server)
    assert exchange.to(exchange.server) == GET
    assert exchange.reason() == "verb"
    received = exchange.to_client().removeprefix(OK)
    assert status(received) == 405
    assert received.count(b"HTTP/1.1") == 1, "no response to requests after a refusal"
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
def test_an_invalid_head_is_refused(
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


def test_a_head_of_exactly_the_limit_is_read(exchange: ExchangeDriver) -> None:
    padding = b"A: " + b"a" * (LIMITS.request_head - len(GET) + 4 - 5) + b"\r\n"
    exchange.receive(GET.replace(HOST, HOST + padding))
    assert exchange.to(exchange.server) == GET, "without the unlisted field"


def test_the_policy_limits_the_number_of_fields(exchange: ExchangeDriver) -> None:
    full = GET.replace(HOST, HOST + b"A: b\r\n" * (LIMITS.header_fields - 1))
    exchange.receive(full)
    assert exchange.to(exchange.server) == GET, "without the unlisted fields"
    exchange.receive(OK, exchange.server)
    exchange.receive(full.replace(HOST, HOST + b"A: b\r\n"))
    assert exchange.reason() == "head-too-large"
    assert exchange.to(exchange.server) == GET


def test_the_refusal_of_a_head_request_has_no_body(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD.replace(b"SMS_MP", b"elsewhere"))
    assert exchange.to_client().endswith(b"\r\n\r\n")
    assert exchange.reason() == "directory"


# Request bodies


def test_a_body_in_several_segments_is_sent_when_it_is_complete(
    exchange: ExchangeDriver,
) -> None:
    head, body = post()
    exchange.receive(head + body[:10])
    for at in range(10, len(body), 500):
        assert not exchange.dialled
        exchange.receive(body[at : at + 500])
    assert exchange.to(exchange.server).endswith(b"\r\n\r\n" + body)
    assert exchange.names()[:2] == ["requestheaders", "request"]


def test_data_after_a_body_is_the_next_request(exchange: ExchangeDriver) -> None:
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


def test_a_client_that_expects_100_continue_gets_it_after_its_head_is_allowed(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True)
    exchange.receive(head)
    assert exchange.to_client() == b"HTTP/1.1 100 Continue\r\n\r\n"
    exchange.receive(body)
    sent = exchange.to(exchange.server)
    assert b"xpect" not in sent, "the bridge itself meets the expectation"
    assert sent.endswith(body)


def test_a_client_that_expects_100_continue_gets_the_refusal_of_its_head(
    exchange: ExchangeDriver,
) -> None:
    head, body = post(expect=True, method=b"POST")
    exchange.receive(head)
    received = exchange.to_client()
    assert status(received) == 405
    assert b"100 Continue" not in received
    exchange.receive(body)
    assert exchange.names().count("request") == 0
    assert not exchange.to_client()


def test_a_client_that_sends_its_body_at_once_gets_no_100_continue(
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
def test_no_body_is_requested_or_inspected_if_its_head_is_not_allowed(
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
    assert (
        len([server for server in exchange.dialled if exchange.to(server).count(b"CCM_POST ") > 1])
        == 0
    )


# Deadlines


@pytest.mark.parametrize("more", [0, 1])
def test_a_head_that_arrives_at_once_is_limited(exchange: ExchangeDriver, more: int) -> None:
    field = b"Accept: %b\r\n\r\n"
    size = LIMITS.request_head + len(b"\r\n\r\n") - len(GET[:-2] + field % b"") + more
    exchange.receive(GET[:-2] + field % (b"a" * size))
    if more:
        assert_refused(exchange, "head-too-large", 431)
    else:
        assert exchange.to(exchange.server).startswith(GET[:-2])


@pytest.mark.parametrize("empty", [b"\r\n", b"\n"])
def test_an_empty_line_before_a_request_is_refused_at_once(
    exchange: ExchangeDriver, empty: bytes
) -> None:
    exchange.receive(empty)
    assert_refused(exchange, "malformed-head", 400)


def test_a_silent_client_is_closed_without_a_response(exchange: ExchangeDriver) -> None:
    exchange.advance(LIMITS.idle_seconds - 1)
    assert not exchange.gone
    exchange.advance(1)
    assert exchange.gone
    assert not exchange.to_client()
    assert not exchange.ended


def test_a_slow_head_is_refused_before_the_idle_timeout(
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


@pytest.fixture
def patient(lab: Lab, clock: Clock, exchange: ExchangeDriver) -> ExchangeDriver:
    """An exchange with a long deadline for bodies; the legs are those of `exchange`."""
    driver = ExchangeDriver(lab, clock, body_seconds=300)
    driver.start()
    return driver


RATE = LIMITS.body_bytes_per_second
SIZE = 60 * RATE
"""The bytes of a body that takes a minute at the least rate."""


def large_head() -> bytes:
    head, body = post()
    return head.replace(b"Length: %d" % len(body), b"Length: %d" % SIZE)


def test_a_body_at_the_least_average_rate_is_read(patient: ExchangeDriver) -> None:
    patient.receive(large_head())
    patient.advance(RATE_SECONDS - 1)
    patient.receive(b"x" * 50 * RATE)
    patient.advance(20)
    for _ in range(9):
        patient.receive(b"x" * RATE)
        patient.advance(1)
    assert not patient.ended
    patient.receive(b"x" * RATE)
    assert patient.reason() == "multipart", "read completely, and then inspected"


def test_a_body_below_the_least_average_rate_is_refused(patient: ExchangeDriver) -> None:
    patient.receive(large_head())
    patient.receive(b"x" * RATE)
    patient.advance(RATE_SECONDS - 0.1)
    assert not patient.ended
    patient.advance(0.1)
    assert patient.ended[0].decision.detail == f"{RATE} bytes in 30 s"  # type: ignore[union-attr]
    assert_refused(patient, "too-slow", 408)


def test_a_body_that_stops_is_refused_when_its_average_falls(patient: ExchangeDriver) -> None:
    patient.receive(large_head())
    patient.receive(b"x" * 40 * RATE)
    patient.advance(39.9)
    assert not patient.ended
    patient.advance(0.1)
    decision = patient.ended[0].decision
    assert decision.rule == "limits.body_bytes_per_second"  # type: ignore[union-attr]


def test_a_body_has_to_be_complete_in_time_at_any_rate(patient: ExchangeDriver) -> None:
    patient.receive(large_head().replace(b"Length: %d" % SIZE, b"Length: 1000000"))
    for _ in range(299):
        patient.receive(b"x" * 2 * RATE)
        patient.advance(1)
    assert not patient.ended
    patient.advance(1)
    assert patient.ended[0].decision.rule == "limits.body_seconds"  # type: ignore[union-attr]


def test_a_dial_that_takes_too_long_times_out(exchange: ExchangeDriver) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    exchange.advance(LIMITS.connect_seconds)
    assert exchange.reason() == "site-system-unreachable"
    assert status(exchange.to_client()) == 502
    assert exchange.record.may_dial is None
    exchange.complete_dial()
    assert not exchange.to(exchange.server), "a refused request is not sent later"


def test_a_site_system_that_does_not_respond_times_out(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n", exchange.server)
    exchange.advance(LIMITS.response_seconds - 1)
    assert not exchange.ended
    exchange.advance(1)
    assert exchange.reason() == "site-system-slow"
    assert status(exchange.to_client()) == 504


def test_a_stalled_response_times_out_and_the_connection_is_closed(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    exchange.receive(OK[:-1], exchange.server)
    exchange.advance(LIMITS.idle_seconds)
    assert exchange.to_client() == OK[:-1], "nothing is added to a partial response"
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert exchange.ended[0].note


@pytest.mark.parametrize("rounds", [1, 5])
def test_deadlines_apply_on_a_connection_with_earlier_requests(
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
    assert len(exchange._timers) < 6, "timers, which cannot be cancelled, do not accumulate"


# Clients that disconnect


@pytest.mark.parametrize("at", [0, 1, 20, len(GET) - 1])
def test_a_client_that_disconnects_during_its_head_has_no_effect(
    exchange: ExchangeDriver, at: int
) -> None:
    exchange.receive(GET[:at]) if at else None
    exchange.close()
    assert exchange.gone
    assert not exchange.dialled
    assert "requestheaders" not in exchange.names()
    assert len(exchange.ended) == int(at > 0)


def test_a_client_that_disconnects_during_its_body_has_no_effect(
    exchange: ExchangeDriver,
) -> None:
    head, body = post()
    exchange.receive(head + body[:-1])
    exchange.close()
    assert exchange.gone
    assert not exchange.dialled
    assert "request" not in exchange.names()
    assert len(exchange.ended) == 1


def test_nothing_is_sent_for_a_client_that_disconnects_during_the_dial(
    exchange: ExchangeDriver,
) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    exchange.close()
    assert exchange.gone
    assert exchange.record.may_dial is None
    exchange.complete_dial()
    assert not exchange.to(exchange.server)


@pytest.mark.parametrize("received", [b"", OK[:10], OK[:-1]])
def test_a_client_that_disconnects_during_the_response_closes_the_leg(
    exchange: ExchangeDriver, received: bytes
) -> None:
    exchange.receive(GET)
    exchange.receive(received, exchange.server) if received else None
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


def test_a_client_that_sends_too_much_during_a_response_is_closed(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(POLICY)
    exchange.receive(OK[:-1], exchange.server)
    exchange.receive(b"x" * (MAX_AHEAD + 1))
    assert exchange.to_client() == OK[:-1]
    assert exchange.gone


def test_a_refused_client_that_keeps_sending_is_closed_after_the_limit(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(DENIED)
    exchange.receive(b"x" * (LINGER_BYTES - 1))
    assert not exchange.gone
    exchange.receive(b"x")
    assert exchange.gone


def test_a_refused_client_that_does_nothing_is_closed_after_the_limit(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(DENIED)
    exchange.advance(LINGER_SECONDS)
    assert exchange.gone
