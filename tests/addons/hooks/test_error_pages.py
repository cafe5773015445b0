"""Error pages of site systems, which the bridge replaces by its own."""

from __future__ import annotations

import dataclasses
import gzip

import pytest

from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.inspection.error_page import MAX_ERROR_PAGE
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver

HOST = b"Host: bridge.internet.example\r\n"
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
POLICY = GET.replace(b".sms_aut?MPLIST", b".sms_pol?{LAB00001}.1_00")
PAGE = b"<html>mp01.corp.example</html>"
FAULT = b"<Fault><ErrorCode>InvalidCookie</ErrorCode></Fault>"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TERMS = MessagePolicy(internal_domains=frozenset(("corp.example",)))


def error(body: bytes, *fields: bytes, status: bytes = b"404 Not Found") -> bytes:
    lines = (b"Content-Length: %d" % len(body), *fields)
    return b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, b"\r\n".join(lines), body)


def chunked(body: bytes, *, status: bytes = b"404 Not Found") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body, b""))
    return b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n%b" % (status, chunks)


@pytest.fixture
def enforced(exchange: ExchangeDriver) -> ExchangeDriver:
    terms = dataclasses.replace(TERMS, host_names=Enforcement.ENFORCE)
    exchange.hooks["error_collected"] = ReplyInspection(terms).error_collected
    return exchange


def assert_replaced(exchange: ExchangeDriver, status: bytes) -> bytes:
    """Assert that the client got the bridge's page. Return the head."""
    received = exchange.to_client()
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"corp" not in received
    ended = exchange.ended[-1]
    assert body.splitlines() == [
        status,
        b"The bridge replaced the page of the site system.",
        b"Reference: " + ended.reference.encode(),
    ]
    assert b"Content-Length: %d" % len(body) in head
    assert b"Content-Encoding" not in head
    assert b"Transfer-Encoding" not in head
    assert "the site system's error page was replaced" in ended.note
    assert ended.bytes_out == len(body)
    assert exchange.record.capacity.memory.held == 0
    return head


@pytest.mark.parametrize("request_head", [GET, POLICY])
@pytest.mark.parametrize(
    ("response", "status"),
    [
        (error(PAGE, b"Content-Type: text/html"), b"404 Not Found"),
        (error(PAGE, status=b"500 MP01"), b"500 Internal Server Error"),
        (error(PAGE, status=b"302 Found"), b"302 Found"),
        (error(gzip.compress(PAGE), b"Content-Encoding: gzip"), b"404 Not Found"),
        (error(PAGE, b"Content-Type: text/xml"), b"404 Not Found"),
        (error(b"x" * MAX_ERROR_PAGE), b"404 Not Found"),
        (chunked(PAGE), b"404 Not Found"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 1_000_000])
def test_a_page_is_replaced_and_the_leg_kept(
    enforced: ExchangeDriver, request_head: bytes, response: bytes, status: bytes, pieces: int
) -> None:
    if pieces == 1 and len(response) > 1_000:
        pieces = 1_000
    enforced.receive(request_head)
    for at in range(0, len(response), pieces):
        assert not enforced.to_client()
        enforced.receive(response[at : at + pieces], enforced.server)
    assert_replaced(enforced, status)
    enforced.receive(GET)
    assert enforced.to(enforced.server) == request_head + GET
    enforced.receive(OK, enforced.server)
    assert enforced.to_client() == OK


def test_status_and_challenge_stay_so_that_a_client_can_sign_in(enforced: ExchangeDriver) -> None:
    challenge = b"WWW-Authenticate: NTLM TlRMTVNTUAACAAAA"
    enforced.receive(GET)
    enforced.receive(error(PAGE, challenge, status=b"401 Unauthorized"), enforced.server)
    head = assert_replaced(enforced, b"401 Unauthorized")
    assert challenge in head
    assert b"Connection: close" not in head
    enforced.receive(GET)
    assert enforced.to(enforced.server) == GET + GET, "on the same leg"


@pytest.mark.parametrize(
    "response",
    [
        OK,
        error(b""),
        error(FAULT, b"Content-Type: text/xml", status=b"500 Internal Server Error"),
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_other_responses_are_forwarded_unchanged(enforced: ExchangeDriver, response: bytes) -> None:
    enforced.receive(GET)
    enforced.receive(response, enforced.server)
    assert enforced.to_client() == response
    assert not enforced.ended[0].note


def test_the_error_of_a_head_request_is_forwarded(enforced: ExchangeDriver) -> None:
    enforced.receive(b"HEAD" + GET[3:])
    head = error(PAGE)[: -len(PAGE)]
    enforced.receive(head, enforced.server)
    assert enforced.to_client() == head


LARGE = b"x" * (MAX_ERROR_PAGE + 1)


@pytest.mark.parametrize("response", [error(LARGE), chunked(LARGE), error(LARGE)[:-9]])
def test_a_large_page_is_replaced_and_its_leg_closed(
    enforced: ExchangeDriver, response: bytes
) -> None:
    enforced.receive(GET)
    enforced.receive(response, enforced.server)
    assert_replaced(enforced, b"404 Not Found")
    assert enforced.server in enforced.closed
    enforced.receive(GET)
    assert len(enforced.dialled) == 2, "the client goes on, on a new leg"


@pytest.mark.parametrize(
    "response",
    [error(PAGE)[:-1], chunked(PAGE)[:-5], b"HTTP/1.1 404 Not Found\r\n\r\n" + PAGE],
    ids=["counted", "chunked", "until the close"],
)
def test_a_page_that_ends_with_the_connection_is_replaced_too(
    enforced: ExchangeDriver, response: bytes
) -> None:
    enforced.receive(GET)
    enforced.receive(response, enforced.server)
    assert not enforced.to_client()
    enforced.close(enforced.server)
    assert_replaced(enforced, b"404 Not Found")
    enforced.receive(GET)
    assert len(enforced.dialled) == 2


def test_a_page_that_does_not_continue_is_replaced_after_the_idle_time(
    enforced: ExchangeDriver,
) -> None:
    enforced.receive(GET)
    enforced.receive(error(PAGE)[:-1], enforced.server)
    enforced.advance(LIMITS.idle_seconds)
    assert_replaced(enforced, b"404 Not Found")
    assert enforced.server in enforced.closed


@pytest.mark.parametrize(
    "response", [error(PAGE), chunked(PAGE), error(LARGE), error(gzip.compress(PAGE))]
)
def test_without_enforcement_a_page_is_forwarded_unchanged(
    exchange: ExchangeDriver, response: bytes
) -> None:
    exchange.hooks["error_collected"] = ReplyInspection(TERMS).error_collected
    exchange.receive(GET)
    exchange.receive(response[:-1], exchange.server)
    exchange.receive(response[-1:], exchange.server)
    assert exchange.to_client() == response
    observed = ("reply-host-names: mp01.corp.example",) if PAGE in response else ()
    assert exchange.ended[0].observed == observed
    exchange.receive(GET)
    assert exchange.to(exchange.server) == GET + GET


def test_a_page_that_is_cut_off_is_forwarded_cut_off(exchange: ExchangeDriver) -> None:
    exchange.hooks["error_collected"] = ReplyInspection(TERMS).error_collected
    exchange.receive(GET)
    exchange.receive(error(PAGE)[:-1], exchange.server)
    exchange.close(exchange.server)
    assert exchange.to_client() == error(PAGE)[:-1]
    assert exchange.gone


def test_without_a_decision_nothing_is_forwarded(exchange: ExchangeDriver) -> None:
    exchange.hooks["error_collected"] = lambda _: None
    exchange.receive(GET)
    exchange.receive(error(PAGE), exchange.server)
    assert exchange.reason() == "bridge-defect"
    assert exchange.to_client().startswith(b"HTTP/1.1 500 ")
