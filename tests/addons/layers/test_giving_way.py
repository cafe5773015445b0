"""A connection ends when another client needs what it holds, whatever it is doing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ibcm_bridge.addons.events import GiveWay
from ibcm_bridge.addons.layers.client_stream import RESERVED_BYTES
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.layers.tunnel import RelayLayer
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.shares import Hold
from tests.addons.layers.samples import FROM_DP, GET, OK, post, status
from tests.addons.layers.test_front_door import FrontDoor, TlsClient, hello
from tests.addons.stand_ins.driver import LIMITS, Clock, Driver, open_connection
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import BRIDGED, TUNNELED, Lab, tunnel_publication

ANNOUNCED, BODY = post()
NEEDED = GiveWay(Deny(Reason.OVERLOADED, rules.LIMITS_BUFFERED_BYTES, "needed"))

REFUSED_WHILE: dict[str, Callable[[ExchangeDriver], None]] = {
    "a head is read": lambda exchange: exchange.receive(GET[:10]),
    "a body is read": lambda exchange: exchange.receive(ANNOUNCED + BODY[:-1]),
    "the site system is dialled": lambda exchange: (
        setattr(exchange, "hold_dial", True),
        exchange.receive(GET),
    )[-1],
    "the response is awaited": lambda exchange: exchange.receive(GET),
}


@pytest.mark.parametrize("doing", REFUSED_WHILE)
def test_a_request_under_way_is_refused(exchange: ExchangeDriver, doing: str) -> None:
    REFUSED_WHILE[doing](exchange)
    assert not exchange.ended
    exchange.feed(NEEDED)
    assert exchange.reason() == "overloaded"
    assert status(exchange.to_client()) == 503


def test_a_response_under_way_is_cut_off(exchange: ExchangeDriver) -> None:
    exchange.receive(FROM_DP)
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh", exchange.server)
    exchange.feed(NEEDED)
    assert exchange.cut_off == [exchange.client]
    assert exchange.ended[0].note == "overloaded"


def test_an_idle_connection_is_closed_without_a_record(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.feed(NEEDED)
    assert exchange.gone
    assert exchange.to_client() == OK
    assert len(exchange.ended) == 1


def test_a_refused_client_that_lingers_is_closed(exchange: ExchangeDriver) -> None:
    exchange.receive(b"GET /\r\n\r\n")
    assert exchange.half_closed
    assert not exchange.gone
    exchange.feed(NEEDED)
    assert exchange.gone
    assert len(exchange.ended) == 1


def test_a_tunnel_is_closed_and_the_record_has_the_reason(lab: Lab, clock: Clock) -> None:
    context, record = open_connection(lab, TUNNELED)
    layer = RelayLayer(
        context, record, tunnel_publication(lab), LIMITS, SiteSystemStates(lab.policy)
    )
    relay = Driver(layer, context.client, clock).start()
    relay.feed(NEEDED)
    assert relay.gone
    assert relay.server in relay.closed
    ((_, ended),) = relay.hook_calls
    assert (ended.error, ended.denial) == ("needed", None)


@pytest.mark.parametrize("handshake", [None, TUNNELED, BRIDGED])
def test_a_connection_without_a_client_is_turned_away(
    lab: Lab, clock: Clock, handshake: str | None
) -> None:
    door = FrontDoor(lab, clock).start()
    if handshake is not None:
        door.receive(hello(lab, handshake)[: 20 if handshake is TUNNELED else None])
    door.feed(NEEDED)
    assert [name for name, _ in door.hook_calls][-1] == "turned_away"
    assert door.gone
    calls = len(door.hook_calls)
    door.feed(NEEDED)
    door.advance(LIMITS.handshake_seconds)
    assert len(door.hook_calls) == calls


def test_an_admitted_client_counts_for_its_key_and_holds_no_handshake(
    lab: Lab, clock: Clock
) -> None:
    door = FrontDoor(lab, clock).start()
    record = door.record
    assert record.hold_handshake()
    source = record.holder
    client = TlsClient(lab, BRIDGED)
    for _ in range(3):
        door.receive(client.handshake_data())
        client.incoming.write(door.to_client())
    assert record.authenticated is not None
    assert record.holder == record.certificate.public_key != source  # type: ignore[union-attr]
    assert record.capacity.handshakes.held == 0
    assert record.capacity.slots.held == 1
    record.slot.end()
    assert record.capacity.slots.held == 0


def test_a_tunnel_holds_a_connection_and_no_handshake(lab: Lab, clock: Clock) -> None:
    door = FrontDoor(lab, clock).start()
    record = door.record
    assert record.hold_handshake()
    door.receive(hello(lab, TUNNELED))
    assert door.dialled
    assert (record.capacity.slots.held, record.capacity.handshakes.held) == (1, 0)


# Memory


def announced(length: int) -> bytes:
    return ANNOUNCED.replace(b"Length: %d" % len(BODY), b"Length: %d" % length)


def test_an_announced_body_reserves_little(exchange: ExchangeDriver) -> None:
    head = announced(1_000_000)
    exchange.receive(head)
    memory = exchange.record.capacity.memory
    assert memory.held == len(head) + RESERVED_BYTES
    exchange.receive(b"x" * 10_000)
    assert memory.held == len(head) + 10_000


def test_announced_bodies_do_not_keep_another_client_out(exchange: ExchangeDriver) -> None:
    memory = exchange.record.capacity.memory
    memory.limit = 82 * RESERVED_BYTES
    flood = [Hold(memory, "flood", lambda: None) for _ in range(82)]
    for hold in flood:
        assert hold.change(RESERVED_BYTES)
    exchange.receive(ANNOUNCED + BODY)
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK
    assert len([hold for hold in flood if not hold.size]) == 2, "as few as are needed"
