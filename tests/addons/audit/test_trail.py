"""Records of connections: the addresses in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mitmproxy.connection import Client

from ibcm_bridge.addons.audit.trail import (
    AuditTrail,
    exchange_record,
    refusal_record,
    tunnel_record,
)
from ibcm_bridge.addons.connections import Capacity, ConnectionRecord
from ibcm_bridge.addons.events import EndedTunnel, RefusedConnection
from ibcm_bridge.audit import record as audit
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.policy.publications import Listener, TunnelPublication
from tests.addons.layers.samples import DENIED, GET, OK, SECOND
from tests.addons.stand_ins.exchange_driver import ExchangeDriver

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
REFUSED = Deny(Reason.UNKNOWN_NAME, Rule("x"))


def test_a_record_has_the_time_of_the_clock_of_the_bridge(tmp_path: Path) -> None:
    client = Client(peername=("192.0.2.7", 50_000), sockname=("192.0.2.1", 443))
    connection = ConnectionRecord(client, Listener(("192.0.2.1", 443), {}), capacity=Capacity(1, 1))
    trail = AuditTrail(tmp_path / "audit.jsonl", clock=lambda: NOW)
    trail.ended(RefusedConnection(connection, REFUSED))
    trail.close()
    lines = (tmp_path / "audit.jsonl").read_text("ascii").splitlines()
    assert {json.loads(line)["time"] for line in lines} == {"2026-01-02T03:04:05.678+00:00"}


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
    tunnel = TunnelPublication("mp.internet.example", 443, ((host, 443),), ())
    client = Client(peername=peer, sockname=(host, 443))
    connection = ConnectionRecord(
        client, Listener((host, 443), {}), publication=tunnel, capacity=Capacity(1, 1)
    )
    ended = tunnel_record(EndedTunnel(connection, None, 0, 0, None, (host, 443)), NOW)
    refused = refusal_record(RefusedConnection(connection, REFUSED), NOW)
    for record in (ended, refused):
        assert (record[audit.LISTENER], record[audit.CLIENT_ADDRESS]) == (text, peer_text)
    assert ended[audit.SITE_SYSTEM] == text


def test_each_line_of_a_connection_has_the_fields_of_its_record_in_their_order(
    exchange: ExchangeDriver, tmp_path: Path
) -> None:
    """The fields of the connection are serialized only once."""
    for request in (GET, SECOND):
        exchange.receive(request)
        exchange.receive(OK, exchange.server)
    exchange.receive(DENIED)
    trail = AuditTrail(tmp_path / "audit.jsonl", clock=lambda: NOW)
    for ended in exchange.ended:
        trail.ended(ended)
    trail.close()
    _, *lines, _ = (tmp_path / "audit.jsonl").read_text("ascii").splitlines()
    assert len(lines) == len(exchange.ended) == 3
    for line, ended in zip(lines, exchange.ended, strict=True):
        whole = audit.line(exchange_record(ended, NOW))
        written, expected = (list(json.loads(text).items()) for text in (line, whole))
        *written, duration, writer, sequence, previous = written
        assert written == expected[:-1]
        assert duration[0] == expected[-1][0] == audit.DURATION_SECONDS
        assert [key for key, _ in (writer, sequence, previous)] == [
            audit.WRITER,
            audit.SEQUENCE,
            audit.PREVIOUS,
        ]
        assert ("client_name", "pc1.corp.example") in written
