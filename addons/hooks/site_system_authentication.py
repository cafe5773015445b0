"""The site-system leg's TLS (BRIDGE-TERMINATE), and the gate for dialling.

`server_connect` runs once per connection, so it is only the second gate: no connection is opened
but to the one address that a decision has allowed at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable

from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.layers.site_system_leg import LegServer
from ibcm_bridge.addons.tls import site_system_leg
from ibcm_bridge.addons.tls.current_trust import Clock, CurrentTrust, utc_now
from ibcm_bridge.policy.publications import BridgePublication, TlsVersion


class SiteSystemAuthentication:
    """Presents the bridge's certificate and has the site system verified, by anchor and name."""

    def __init__(
        self,
        connections: Connections,
        publications: Iterable[BridgePublication],
        clock: Clock = utc_now,
    ) -> None:
        self._connections = connections
        self.held: list[tuple[str, CurrentTrust]] = []
        """What is to be renewed, with the key of the policy file it is for."""
        self._contexts: dict[tuple[int, TlsVersion], SSL.Context] = {}
        for publication in publications:
            held = CurrentTrust(publication.site_system_trust, clock)
            self.held.append((f"{publication.name}: site_systems.trust", held))
            for role in publication.directories.values():
                highest = role.site_system.highest_tls
                if (id(publication), highest) not in self._contexts:
                    self._contexts[id(publication), highest] = (
                        site_system_leg.site_system_leg_context(
                            publication.site_system_credential, held, highest
                        )
                    )

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Let a connection be opened only where a decision has allowed it."""
        allowed = self._connections.of(data.client).may_dial
        if allowed is None or data.server.address != allowed:
            raise PermissionError("a connection to a site system that no decision allows")

    def tls_start_server(self, data: TlsData) -> None:
        """Begin the handshake with the site system, its name demanded."""
        record = self._connections.of(data.context.client)
        assert isinstance(data.conn, LegServer)
        terms = data.conn.terms.tls
        assert terms is not None
        context = self._contexts[id(record.publication), terms.highest]
        connection = SSL.Connection(context, None)
        site_system_leg.expect_name(connection, data.conn.terms.server_name, terms.verify_name)
        connection.set_connect_state()
        data.ssl_conn = connection
