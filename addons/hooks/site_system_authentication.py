"""TLS on the site-system leg (BRIDGE-TERMINATE), and the gate for new connections.

`server_connect` runs once per connection, so it is only a second gate: connections are opened only
to the address that a decision allows at that moment.
"""

from __future__ import annotations

from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.layers.site_system_leg import LegServer
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.kept_session import SessionKey


class SiteSystemAuthentication:
    """Presents the bridge's certificate, and verifies the site system's trust anchor and name."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Refuse a connection that no decision has allowed."""
        allowed = self._connections.of(data.client).may_dial
        if allowed is None or data.server.address != allowed:
            raise PermissionError("a connection to a site system that no decision allows")

    def tls_start_server(self, data: TlsData) -> None:
        """Begin the handshake with the site system, and require its name."""
        publication_tls = self._connections.of(data.context.client).tls
        assert publication_tls is not None
        assert isinstance(data.conn, LegServer)
        terms = data.conn.terms
        assert terms.tls is not None
        server_name, verify_name, settings = (
            terms.server_name,
            terms.tls.verify_name,
            terms.tls.settings,
        )
        connection = LegConnection(publication_tls.site_system_contexts[settings], None)
        site_system_leg.expect_name(connection, server_name, verify_name)
        key = SessionKey(terms.address, server_name, verify_name, settings)
        kept = publication_tls.site_system_sessions.of(key)
        if kept is not None:
            site_system_leg.resume_session(connection, kept)
        connection.set_connect_state()
        data.ssl_conn = connection
