"""`limits.buffered_bytes`: the memory of requests is counted, limited and released."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.shares import Shares
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import BRIDGED, GUID

HOST = f"Host: {BRIDGED}\r\n".encode()
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
DENIED = b"DELETE /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(*fields: bytes, xml: str = "<Report/>") -> tuple[bytes, bytes]:
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)
    head = b"CCM_POST /ccm_system/request HTTP/1.1\r\n" + HOST
    head += f"Content-Type: {ccm.CONTENT_TYPE}\r\n".encode()
    head += b"Content-Length: %d\r\n" % len(body)
    return head + b"".join(field + b"\r\n" for field in fields) + b"\r\n", body


HEAD, BODY = post()
UNREADABLE = b"x" * len(BODY)


def budget_of(exchange: ExchangeDriver) -> Shares:
    return exchange.record.capacity.memory


def send(*pieces: bytes) -> Callable[[ExchangeDriver], None]:
    def run(exchange: ExchangeDriver) -> None:
        for piece in pieces:
            exchange.receive(piece)

    return run


def with_response(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD + BODY)
    exchange.receive(OK, exchange.server)
    assert not exchange.gone


def left(*pieces: bytes) -> Callable[[ExchangeDriver], None]:
    def run(exchange: ExchangeDriver) -> None:
        send(*pieces)(exchange)
        assert budget_of(exchange).held
        exchange.close()

    return run


def late(*pieces: bytes) -> Callable[[ExchangeDriver], None]:
    def run(exchange: ExchangeDriver) -> None:
        send(*pieces)(exchange)
        assert budget_of(exchange).held
        exchange.advance(LIMITS.body_seconds + LIMITS.head_seconds)

    return run


def unreachable(exchange: ExchangeDriver) -> None:
    exchange.refuse_dial = "no route"
    exchange.receive(HEAD + BODY)


def left_while_dialling(exchange: ExchangeDriver) -> None:
    exchange.hold_dial = True
    exchange.receive(HEAD + BODY)
    exchange.close()
    exchange.complete_dial()


def site_system_closes(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD + BODY)
    exchange.close(exchange.server)


def too_much_ahead(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(b"x" * 70_000)


ENDS: dict[str, Callable[[ExchangeDriver], None]] = {
    "complete": with_response,
    "head refused": send(DENIED),
    "head malformed": send(b"GET /\r\n\r\n"),
    "head too large": send(b"G" * 70_000),
    "body refused": send(HEAD, UNREADABLE),
    "head, then gone": left(HEAD[:-5]),
    "half a body, then gone": left(HEAD, BODY[:-1]),
    "half a head, then silence": late(HEAD[:-5]),
    "half a body, then silence": late(HEAD, BODY[:-1]),
    "no response": late(HEAD, BODY),
    "unreachable": unreachable,
    "gone while dialling": left_while_dialling,
    "site system closes": site_system_closes,
    "too much ahead": too_much_ahead,
}


@pytest.mark.parametrize("end", ENDS)
def test_no_memory_is_held_after_any_end_of_a_request(exchange: ExchangeDriver, end: str) -> None:
    ENDS[end](exchange)
    if exchange.half_closed and not exchange.gone:
        exchange.close()  # the refused client has read its response
    assert exchange.ended
    assert budget_of(exchange).held == 0


def test_a_body_is_counted_from_its_arrival_until_the_response(
    exchange: ExchangeDriver,
) -> None:
    budget = budget_of(exchange)
    exchange.receive(HEAD[:10])
    assert budget.held == 10
    exchange.receive(HEAD[10:])
    assert budget.held == len(HEAD + BODY)
    exchange.receive(BODY[:7])
    assert budget.held == len(HEAD + BODY)
    exchange.receive(BODY[7:])
    assert budget.held == len(HEAD + BODY)
    exchange.receive(GET[:5])
    assert budget.held == len(HEAD + BODY) + 5
    exchange.receive(OK, exchange.server)
    assert budget.held == 5
    exchange.receive(GET[5:])
    exchange.receive(OK, exchange.server)
    assert budget.held == 0


def overloaded(exchange: ExchangeDriver) -> None:
    assert exchange.reason() == "overloaded"
    assert exchange.ended[-1].decision.rule == "limits.buffered_bytes"  # type: ignore[union-attr]
    received = exchange.to_client()
    assert received.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Connection: close\r\n" in received
    assert not exchange.dialled
    exchange.close()
    assert budget_of(exchange).held == 0


@pytest.mark.parametrize("fields", [(), (b"Expect: 100-continue",)])
def test_a_body_over_the_memory_limit_is_refused_before_it_is_read(
    exchange: ExchangeDriver, fields: tuple[bytes, ...]
) -> None:
    head, body = post(*fields)
    budget_of(exchange).limit = len(head) + len(body) - 1
    exchange.receive(head)
    assert "request" not in exchange.names()
    overloaded(exchange)


def test_a_body_of_exactly_the_memory_limit_is_read(exchange: ExchangeDriver) -> None:
    budget_of(exchange).limit = len(HEAD + BODY)
    exchange.receive(HEAD)
    exchange.receive(BODY)
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK


def test_a_head_over_the_memory_limit_is_refused(exchange: ExchangeDriver) -> None:
    budget_of(exchange).limit = 20
    exchange.receive(GET[:20])
    assert not exchange.ended
    exchange.receive(GET[20:21])
    overloaded(exchange)


def test_the_memory_of_other_connections_counts(exchange: ExchangeDriver) -> None:
    budget = budget_of(exchange)
    budget.held = budget.limit - len(HEAD)
    exchange.receive(HEAD)
    assert exchange.reason() == "overloaded"
    exchange.close()
    assert budget.held == budget.limit - len(HEAD)


def test_an_aborted_connection_releases_its_memory(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD)
    assert budget_of(exchange).held
    exchange.record.end()  # as `Connections.close` does, for any layer
    exchange.receive(BODY)
    assert budget_of(exchange).held == 0
