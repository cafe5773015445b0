"""A site system that renegotiates at any moment: no data is lost or duplicated.

In TLS 1.2, OpenSSL accepts no data from the HelloRequest until the new handshake is done; data sent
meanwhile must wait (addons/layers/tls_ending.py).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tls import TlsStartServerHook
from OpenSSL import SSL

from ibcm_bridge.addons.layers.site_system_leg import Closed, Opened, Received, SiteSystemLeg
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from ibcm_bridge.site_system_leg.origination import LegTls, Origination
from tests.addons.stand_ins.driver import open_connection
from tests.addons.stand_ins.lab import BRIDGED, Lab

NAME = "mp01.corp.example"
TLS_1_2 = TlsSettings(TlsVersion.TLS_1_2)


@pytest.fixture
def leg_context(lab: Lab) -> Context:
    """The context of a client connection, for a leg without an exchange."""
    context, _ = open_connection(lab, BRIDGED)
    return context


class Wire:
    """A leg and an OpenSSL server. The test carries the data between them."""

    def __init__(self, lab: Lab, context: Any) -> None:
        publication: Any = lab.policy.listeners[0].publications["bridge.internet.example"]  # type: ignore[union-attr]
        self.client_context = site_system_leg.site_system_leg_context(
            publication.site_system_credential,
            CurrentTrust(publication.site_system_trust),
            TLS_1_2,
        )
        server_context = SSL.Context(SSL.TLS_SERVER_METHOD)
        server_context.set_max_proto_version(SSL.TLS1_2_VERSION)
        # Otherwise the new handshake would resume the session, without a certificate.
        server_context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        server_context.set_options(SSL.OP_NO_TICKET)
        credential = lab.pki.server(NAME)
        server_context.use_certificate(credential.certificate)
        for issuer in credential.issuers:
            server_context.add_extra_chain_cert(issuer)
        server_context.use_privatekey(credential.key)
        self.server = SSL.Connection(server_context, None)
        self.server.set_accept_state()
        self.to_server = bytearray()
        self.received = bytearray()
        self.news: list[Any] = []
        self.leg = SiteSystemLeg(
            context,
            Origination(
                ("192.0.2.1", 443),
                NAME,
                LegTls(NAME, TLS_1_2),
            ),
        )
        self.carry_out(self.leg.open())
        self.until_quiet()
        assert [news.error for news in self.news] == [None]
        self.news.clear()

    def carry_out(self, steps: Iterable[commands.Command]) -> None:
        for command in steps:
            if isinstance(command, Opened | Received | Closed):
                self.news.append(command)
            elif isinstance(command, commands.SendData):
                self.to_server += command.data
            elif isinstance(command, commands.OpenConnection):
                self.leg.server.state = ConnectionState.OPEN
                self.leg.server.timestamp_tcp_setup = time.time()
                self.tell(events.OpenConnectionCompleted(command, None))
            elif isinstance(command, TlsStartServerHook):
                connection = LegConnection(self.client_context, None)
                site_system_leg.expect_name(connection, NAME, NAME)
                connection.set_connect_state()
                command.data.ssl_conn = connection
                self.tell(events.HookCompleted(command))
            elif isinstance(command, commands.StartHook) and command.blocking:
                self.tell(events.HookCompleted(command))

    def tell(self, event: events.Event) -> None:
        self.carry_out(self.leg.stack.handle_event(event))

    def to_leg(self) -> bool:
        """Carry the server's data to the leg."""
        try:
            data = self.server.bio_read(65_535)
        except SSL.WantReadError:
            return False
        self.tell(events.DataReceived(self.leg.server, data))
        return True

    def from_leg(self) -> bool:
        """Carry the leg's data to the server, in pieces that do not match TLS records."""
        if not self.to_server:
            return False
        self.server.bio_write(bytes(self.to_server[:10_007]))
        del self.to_server[:10_007]
        try:
            while True:
                self.received += self.server.recv(65_535)
        except SSL.WantReadError:
            return True

    def until_quiet(self) -> None:
        moved = True
        while moved:
            moved = self.from_leg() | self.to_leg()

    def ask_for_a_handshake(self) -> None:
        """Send the server's HelloRequest to the leg; the leg's ClientHello has to wait."""
        assert self.server.renegotiate()
        self.server.do_handshake()
        assert self.to_leg()


@pytest.fixture
def wire(lab: Lab, leg_context: Any) -> Wire:
    return Wire(lab, leg_context)


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
