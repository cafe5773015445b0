"""Families of smuggling shapes: each is refused, or is one unambiguous request at the site system.

A second, independent reader (h11, and a grammar of RFC 9112 that is stricter than h11) reads the
bytes that a site system would receive. It must find the requests that the bridge decided on, in
number, method, target and length, and nothing else.
"""

from __future__ import annotations

import re

import h11
import pytest

from ibcm_bridge.addons.layers import site_system_leg
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.identity.approval import Approved
from tests.addons.layers.samples import OK
from tests.addons.stand_ins.driver import Clock
from tests.addons.stand_ins.exchange_driver import ExchangeDriver, PlainLeg
from tests.addons.stand_ins.lab import Lab
from tests.smuggling_shapes import FAMILIES, SMUGGLED, Shape, get, post

type Read = tuple[bytes, bytes, bytes]
"""The method, the target and the body of a request."""

STRICT_HEAD = re.compile(
    rb"[A-Z_]+ /[\x21-\x7e]* HTTP/1\.1\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: (?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
    rb"[\x21-\x7e\x80-\xff])?)?\r\n)+\r\n"
)
NEVER = {
    b"transfer-encoding",
    b"connection",
    b"expect",
    b"upgrade",
    b"te",
    b"trailer",
    b"x-smuggled",
}


def read_by_another(data: bytes) -> list[Read]:
    """Return the requests that h11 finds, after checks of each head that h11 does not make."""
    requests: list[Read] = []
    while data:
        server = h11.Connection(h11.SERVER)
        server.receive_data(data)
        request = server.next_event()
        assert isinstance(request, h11.Request), request
        body = b""
        while isinstance(event := server.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage), event
        end = len(data) - len(server.trailing_data[0])
        _check_strictly(data[: end - len(body)], request, len(body))
        requests.append((request.method, request.target, body))
        data = data[end:]
    return requests


def _check_strictly(head: bytes, request: h11.Request, length: int) -> None:
    assert STRICT_HEAD.fullmatch(head), head
    names = [name for name, _ in request.headers]
    assert names.count(b"host") == 1
    assert not NEVER.intersection(names), names
    lengths = [value for name, value in request.headers if name == b"content-length"]
    # Not only equal: exactly the digits, so that every reader of numbers finds this length.
    assert lengths == [b"%d" % length] or (not lengths and not length), (lengths, length)


def decided_on(driver: ExchangeDriver) -> list[Read]:
    """Return the requests that the bridge approved, in order."""
    return [
        (head.method, head.target.raw, ended.decision.body)
        for ended in driver.ended
        if isinstance(ended.decision, Approved) and (head := ended.decision.authorized.head)
    ]


def sent_by(driver: ExchangeDriver) -> bytes:
    return b"".join(map(driver.to, {server.id: server for server in driver.dialled}.values()))


def assert_refused(driver: ExchangeDriver, shape: Shape) -> None:
    assert [type(ended.decision) for ended in driver.ended] == [Deny], shape
    assert driver.reason() == shape.reason, (shape, driver.ended[0].decision)
    assert shape.reason is not None
    response = driver.to_client().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 %d " % (REFUSALS[shape.reason].status or 0)), shape
    assert response.count(b"\r\n\r\n") == response.count(b"\r\nConnection: close\r\n") == 1, shape
    assert driver.client in driver.half_closed, shape
    assert not driver.dialled, shape


def assert_forwarded(driver: ExchangeDriver, shape: Shape) -> None:
    first = read_by_another(sent_by(driver))
    assert len(first) == 1, (shape, driver.ended)
    driver.receive(OK, driver.server)
    # The bytes after it are the next request, with its own decision.
    driver.receive(OK, driver.server)
    found = read_by_another(sent_by(driver))
    assert found == decided_on(driver), shape
    method, target, _ = shape.sent.split(b" ", 2)
    body = shape.sent.partition(b"\r\n\r\n")[2]
    assert found == [(method, target, body), (b"GET", b"/SMS_MP/.sms_aut?MPCERT", b"")], shape
    assert not driver.gone, shape


@pytest.mark.parametrize("family", FAMILIES)
def test_each_shape_is_refused_or_one_request_that_another_reader_finds(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    monkeypatch.setattr(site_system_leg, "_LegTls", PlainLeg)
    shapes = list(FAMILIES[family]())
    for shape in shapes:
        driver = ExchangeDriver(lab, clock).start()
        driver.receive(shape.sent + SMUGGLED)
        if shape.reason is None:
            assert_forwarded(driver, shape)
        else:
            assert_refused(driver, shape)
    # With refusals only, a family could be refused for another cause.
    assert any(shape.reason is None for shape in shapes)


@pytest.mark.parametrize(
    "before", [b"\n", b"\r\n", b"\r\r\n", b" ", b"\t", b"\0", b"0\r\n\r\n", b"x"]
)
@pytest.mark.parametrize("sent", [get(), post()], ids=["get", "post"])
def test_bytes_between_two_requests_are_the_start_of_the_second(
    exchange: ExchangeDriver, sent: bytes, before: bytes
) -> None:
    exchange.receive(sent + before + SMUGGLED)
    exchange.receive(OK, exchange.server)
    assert read_by_another(sent_by(exchange)) == decided_on(exchange)
    assert len(decided_on(exchange)) == 1
    # "xGET" is a method; the others make the request line malformed.
    assert exchange.reason() == ("verb" if before == b"x" else "malformed-head")
    assert exchange.client in exchange.half_closed


def test_the_families_are_about_two_thousand_different_shapes() -> None:
    sent = [shape.sent for family in FAMILIES.values() for shape in family()]
    assert len(set(sent)) > 1_900, len(set(sent))
