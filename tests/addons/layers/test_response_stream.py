"""Responses of site systems: what of them passes, and what ends their leg.

Legs are plain here (`PlainLeg`), so what reaches a site system can be read.
"""

from __future__ import annotations

import pytest

from tests.addons.conftest import ExchangeDriver, PlainLeg
from tests.addons.layers.samples import (
    FROM_DP,
    GET,
    HEAD,
    OK,
    POLICY,
    SECOND,
    status,
)

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
