"""A site system that renegotiates at any moment: no data is lost or duplicated.

In TLS 1.2, OpenSSL accepts no data from the HelloRequest until the new handshake is done; data sent
meanwhile must wait (addons/layers/tls_ending.py).
"""

from __future__ import annotations

import hashlib

import pytest
from mitmproxy.proxy import events
from OpenSSL import SSL

from ibcm_bridge.addons.layers.site_system_leg import Closed
from ibcm_bridge.policy.tls_settings import TlsVersion
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import BRIDGED, Lab
from tests.addons.tls.wire import Wire


@pytest.fixture
def wire(lab: Lab) -> Wire:
    context, _ = open_connection(lab, BRIDGED)
    return Wire(lab, context, TlsVersion.TLS_1_2)


def noise(label: str, size: int) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


@pytest.mark.parametrize("size", [1, 16_384, 4_000_000])
def test_data_sent_during_a_renegotiation_arrives_after_it(wire: Wire, size: int) -> None:
    wire.ask_for_a_handshake()
    data = noise("a", size)
    wire.carry_out(wire.leg.send(data))
    assert len(wire.to_server) < 1_000, "a ClientHello, and none of the data"
    wire.until_quiet()
    assert wire.received == data
    assert wire.server.total_renegotiations() == 1


def test_data_sent_around_renegotiations_arrives_in_order(wire: Wire) -> None:
    pieces = [noise(str(number), 100_000) for number in range(9)]
    for number, piece in enumerate(pieces):
        if number in (3, 6):
            wire.until_quiet()
            wire.ask_for_a_handshake()
        wire.carry_out(wire.leg.send(piece))
    wire.until_quiet()
    assert wire.received == b"".join(pieces)
    assert wire.server.total_renegotiations() == 2


def test_data_in_flight_when_a_renegotiation_begins_arrives_once(wire: Wire) -> None:
    data = noise("a", 1_000_000)
    wire.carry_out(wire.leg.send(data))
    wire.ask_for_a_handshake()
    # Apache and IIS read the body before they continue the handshake. OpenSSL's server accepts
    # data during the handshake, and returns the data first.
    wire.until_quiet()
    assert wire.received == data


def test_a_response_after_a_renegotiation_is_received(wire: Wire) -> None:
    wire.ask_for_a_handshake()
    wire.until_quiet()
    wire.server.send(b"HTTP/1.1 200 OK\r\n\r\n")
    wire.until_quiet()
    assert [news.data for news in wire.news] == [b"HTTP/1.1 200 OK\r\n\r\n"]


def test_a_close_during_a_renegotiation_closes_the_leg(wire: Wire) -> None:
    wire.ask_for_a_handshake()
    wire.carry_out(wire.leg.send(noise("a", 100_000)))
    wire.tell(events.DataReceived(wire.leg.server, b"\x15\x03\x03\x00\x02\x02\x28"))
    wire.tell(events.ConnectionClosed(wire.leg.server))
    assert [type(news) for news in wire.news] == [Closed]
    assert not wire.received


def test_another_server_during_a_renegotiation_receives_nothing(wire: Wire, lab: Lab) -> None:
    # A renegotiation verifies path, revocation and name again.
    other = lab.pki.server("dp01.corp.example")
    wire.server.use_certificate(other.certificate)
    wire.server.use_privatekey(other.key)
    wire.ask_for_a_handshake()
    wire.carry_out(wire.leg.send(noise("a", 100_000)))
    with pytest.raises(SSL.Error, match="bad certificate"):  # the leg's alert
        wire.until_quiet()
    assert [type(news) for news in wire.news] == [Closed]
    assert not wire.received
