"""Responses of site systems: what is forwarded, and what closes the leg.

Legs have no TLS here (`PlainLeg`), so a test can read the data for a site system.
"""

from __future__ import annotations

import pytest

from tests.addons.layers.samples import (
    FROM_DP,
    GET,
    HEAD,
    OK,
    POLICY,
    SECOND,
    status,
)
from tests.addons.stand_ins.exchange_driver import ExchangeDriver, PlainLeg

# Responses


@pytest.mark.parametrize("request_head", [GET, POLICY], ids=["collected", "streamed"])
@pytest.mark.parametrize(
    ("response", "forwarded"),
    [
        (OK, OK),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",) * 2,
        (b"HTTP/1.1 204 No Content\r\n\r\n",) * 2,
        (
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ),
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
def test_a_response_is_forwarded_and_the_leg_kept(
    exchange: ExchangeDriver, response: bytes, forwarded: bytes, request_head: bytes
) -> None:
    exchange.receive(request_head)
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == forwarded
    exchange.receive(SECOND)
    assert exchange.to(exchange.server) == request_head + SECOND
    assert len(exchange.dialled) == 1


def test_a_response_to_head_has_no_body(exchange: ExchangeDriver) -> None:
    exchange.receive(HEAD)
    exchange.receive(OK[:-2], exchange.server)
    assert exchange.to_client() == OK[:-2]
    exchange.receive(GET)
    assert exchange.to(exchange.server) == HEAD + GET


def test_a_response_that_ends_with_the_leg_closes_the_client_too(
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
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA: \x1b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 600 No\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_an_invalid_response_head_is_not_forwarded(
    exchange: ExchangeDriver, response: bytes
) -> None:
    exchange.receive(GET + SECOND)
    exchange.receive(response, exchange.server)
    assert exchange.reason() == "site-system-response"
    received = exchange.to_client()
    assert status(received) == 502
    assert exchange.to(exchange.server) == GET, "nothing more is sent"
    exchange.close()
    assert exchange.server in exchange.closed


@pytest.mark.parametrize("partial", [b"", b"HTTP/1.1", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_site_system_that_closes_without_a_response_causes_a_502(
    exchange: ExchangeDriver, partial: bytes
) -> None:
    exchange.receive(GET)
    exchange.receive(partial, exchange.server) if partial else None
    exchange.close(exchange.server)
    assert exchange.reason() == "site-system-response"
    assert status(exchange.to_client()) == 502


def test_an_unreachable_site_system_causes_a_502_without_its_address(
    exchange: ExchangeDriver,
) -> None:
    exchange.refuse_dial = "Connection refused by 10.0.0.1"
    exchange.receive(GET)
    received = exchange.to_client()
    assert status(received) == 502
    assert b"10.0.0.1" not in received
    assert b"corp.example" not in received
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
def test_a_truncated_response_stays_truncated(
    exchange: ExchangeDriver, response: bytes, request_head: bytes
) -> None:
    exchange.receive(request_head + SECOND)
    exchange.receive(response, exchange.server)
    exchange.close(exchange.server)
    received = exchange.to_client()
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")
    assert exchange.gone
    assert exchange.ended[0].note
    assert len(exchange.dialled) == 1
    assert exchange.cut_off == [exchange.client], "close_notify would mark it as complete"


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
def test_bytes_after_a_response_are_discarded_with_their_leg(
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


def test_bytes_on_an_idle_leg_are_discarded_with_it(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    first = exchange.server
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", first)
    assert first in exchange.closed
    exchange.receive(SECOND)
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK


def test_bytes_on_a_leg_without_a_request_are_discarded_with_it(
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
