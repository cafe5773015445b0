"""A site-system leg and an OpenSSL server, without sockets: the test carries the data."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.tls import TlsStartServerHook
from OpenSSL import SSL

from ibcm_bridge.addons.layers.site_system_leg import Closed, Opened, Received, SiteSystemLeg
from ibcm_bridge.addons.layers.site_system_states import SiteSystemKey, SiteSystemState
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.context import VERSIONS
from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from ibcm_bridge.site_system_leg.origination import LegTls, Origination
from tests.addons.stand_ins.lab import Lab

NAME = "mp01.corp.example"


class Wire:
    """A leg and an OpenSSL server. The test carries the data between them."""

    def __init__(self, lab: Lab, context: Any, highest: TlsVersion) -> None:
        settings = TlsSettings(highest)
        publication: Any = lab.policy.listeners[0].publications["bridge.internet.example"]  # type: ignore[union-attr]
        self.client_context = site_system_leg.site_system_leg_context(
            publication.site_system_credential,
            CurrentTrust(publication.site_system_trust),
            settings,
        )
        server_context = SSL.Context(SSL.TLS_SERVER_METHOD)
        server_context.set_max_proto_version(VERSIONS[highest])
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
                LegTls(NAME, settings),
            ),
            SiteSystemState(SiteSystemKey(publication.name, "management-point", NAME)),
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
