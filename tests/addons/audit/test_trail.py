"""Records of connections: the addresses in them."""

from __future__ import annotations

import pytest
from mitmproxy.connection import Client

from ibcm_bridge.addons.audit.trail import refusal_record, tunnel_record
from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection
from ibcm_bridge.audit import record as audit
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.policy.publications import Listener, TunnelPublication
from ibcm_bridge.request.memory_budget import Budget, Hold


@pytest.mark.parametrize(
    ("host", "peer", "text", "peer_text"),
    [
        ("192.0.2.1", ("192.0.2.7", 50_000), "192.0.2.1:443", "192.0.2.7:50000"),
        ("2001:db8::1", ("2001:db8::7", 50_000, 0, 0), "[2001:db8::1]:443", "[2001:db8::7]:50000"),
        ("fe80::1%eth0", ("fe80::7", 50_000, 0, 2), "[fe80::1%eth0]:443", "[fe80::7%2]:50000"),
    ],
)
def test_ipv6_addresses_are_in_brackets(
    host: str, peer: tuple[str, int], text: str, peer_text: str
) -> None:
    tunnel = TunnelPublication("mp.internet.example", 443, (host, 443), ())
    client = Client(peername=peer, sockname=(host, 443))
    connection = ConnectionRecord(
        client, Listener((host, 443), {}), publication=tunnel, hold=Hold(Budget(1))
    )
    ended = tunnel_record(EndedTunnel(connection, True, 0, 0, None))
    refused = refusal_record(RefusedConnection(connection, Deny(Reason.UNKNOWN_NAME, Rule("x"))))
    for record in (ended, refused):
        assert (record[audit.LISTENER], record[audit.CLIENT_ADDRESS]) == (text, peer_text)
    assert ended[audit.SITE_SYSTEM] == text
