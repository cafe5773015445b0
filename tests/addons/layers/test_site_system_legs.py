"""Legs without sockets: the selection of a leg for a request, and the fate of kept legs.

Legs have no TLS here (`PlainLeg`), so a test can read the data for a site system.
"""

from __future__ import annotations

import dataclasses

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from tests.addons.layers.samples import (
    FROM_DP,
    GET,
    HOST,
    OK,
    SECOND,
)
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver

# Legs


def test_two_site_systems_at_one_address_have_separate_legs(exchange: ExchangeDriver) -> None:
    # For example behind a load balancer. Each is verified by its own name.
    publication = exchange.record.publication
    assert isinstance(publication, BridgePublication)
    together = {
        name: dataclasses.replace(
            role,
            site_systems=SiteSystems(
                (dataclasses.replace(role.site_systems.first, address=("10.0.0.1", 443)),)
            ),
        )
        for name, role in publication.directories.items()
    }
    exchange.record.publication = dataclasses.replace(publication, directories=together)
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.receive(FROM_DP)
    exchange.receive(OK, exchange.server)
    assert [(server.address, server.sni) for server in exchange.dialled] == [
        (("10.0.0.1", 443), "mp01.corp.example"),
        (("10.0.0.1", 443), "dp01.corp.example"),
    ]


def test_each_role_has_its_own_leg(exchange: ExchangeDriver) -> None:
    for request in (GET, FROM_DP, SECOND, FROM_DP):
        exchange.receive(request)
        server = next(
            server for server in exchange.dialled if exchange.to(server).endswith(request)
        )
        exchange.receive(OK, server)
    management_point, distribution_point = exchange.dialled
    assert exchange.to(management_point) == GET + SECOND
    assert exchange.to(distribution_point) == FROM_DP * 2
    assert management_point.sni == "mp01.corp.example"
    assert distribution_point.sni == "dp01.corp.example"
    exchange.close()
    assert {management_point.id, distribution_point.id} <= {
        connection.id for connection in exchange.closed
    }


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_after_connection_close_the_next_request_uses_a_new_leg(
    exchange: ExchangeDriver, version: bytes
) -> None:
    closing = b"HTTP/%b 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok" % version
    exchange.receive(GET)
    first = exchange.server
    exchange.receive(closing, first)
    assert exchange.to_client() == OK, "the client's connection stays open"
    assert first in exchange.closed
    exchange.receive(SECOND)
    assert exchange.server is not first
    assert exchange.to(exchange.server) == SECOND


@pytest.mark.parametrize("status", [b"200 OK", b"404 Not Found", b"401 Unauthorized"])
def test_while_the_bridge_stops_each_response_but_a_401_ends_the_connection(
    exchange: ExchangeDriver, status: bytes
) -> None:
    exchange.receive(GET)
    exchange.record.ends_after_response = True
    exchange.receive(OK.replace(b"200 OK", status), exchange.server)
    continues = status.startswith(b"401")
    assert (b"Connection: close\r\n" not in exchange.to_client()) is continues
    assert (not exchange.gone) is continues


def authenticated_leg(exchange: ExchangeDriver) -> SiteSystemLeg:
    """Return the leg in use, on which the client has begun Windows authentication."""
    assert isinstance(exchange.layer, ExchangeLayer)
    (leg,) = exchange.layer.legs.kept.values()
    leg.authenticates = True
    return leg


@pytest.mark.parametrize(
    "response", [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK + b"surplus"]
)
def test_a_client_is_closed_with_the_leg_on_which_it_was_authenticated(
    exchange: ExchangeDriver, response: bytes
) -> None:
    exchange.receive(GET)
    exchange.receive(response, authenticated_leg(exchange).server)
    assert (b"Connection: close\r\n" in exchange.to_client()) is (b"Connection" in response)
    assert exchange.gone


def test_an_authenticated_leg_that_closes_while_idle_closes_the_client(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    leg = authenticated_leg(exchange)
    exchange.receive(OK, leg.server)
    assert not exchange.gone
    exchange.close(leg.server)
    assert exchange.gone
    assert len(exchange.ended) == 1


def test_an_authenticated_leg_is_not_replaced_before_its_close_is_reported(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET)
    leg = authenticated_leg(exchange)
    exchange.receive(OK, leg.server)
    leg.server.state = ConnectionState.CLOSED
    exchange.receive(SECOND)
    decision = exchange.ended[-1].decision
    assert isinstance(decision, Deny)
    assert decision.rule == "site_system.windows_authentication"
    assert len(exchange.dialled) == 1


def test_two_roles_with_other_tls_terms_have_separate_legs(exchange: ExchangeDriver) -> None:
    publication = exchange.record.publication
    assert isinstance(publication, BridgePublication)
    one = publication.directories["sms_mp"].site_systems.first
    other = dataclasses.replace(one, tls=TlsSettings(highest=TlsVersion.TLS_1_2))
    assert one.tls != other.tls
    exchange.record.publication = dataclasses.replace(
        publication,
        directories={
            name: dataclasses.replace(
                role, site_systems=SiteSystems((one if name == "sms_mp" else other,))
            )
            for name, role in publication.directories.items()
        },
    )
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.receive(FROM_DP)
    assert len(exchange.dialled) == 2


def test_a_client_that_sends_connection_close_is_closed_after_the_response(
    exchange: ExchangeDriver,
) -> None:
    exchange.receive(GET.replace(HOST, HOST + b"Connection: close\r\n") + SECOND)
    assert exchange.to(exchange.server) == GET
    exchange.receive(OK, exchange.server)
    assert b"Connection: close\r\n" in exchange.to_client()
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert len(exchange.ended) == 1


def serve(exchange: ExchangeDriver) -> bytes:
    """Send a request and its response; return what the client gets."""
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    return exchange.to_client()


def test_a_connection_ends_after_its_last_request(exchange: ExchangeDriver) -> None:
    for _ in range(LIMITS.connection_requests - 1):
        assert b"Connection: close" not in serve(exchange)
    assert not exchange.gone
    assert b"Connection: close\r\n" in serve(exchange)
    assert exchange.gone
    assert len(exchange.ended) == LIMITS.connection_requests, "none is refused"


def test_an_old_connection_ends_after_its_next_response(exchange: ExchangeDriver) -> None:
    step = LIMITS.idle_seconds - 10
    for _ in range(int(LIMITS.connection_seconds // step)):
        assert b"Connection: close" not in serve(exchange)
        exchange.advance(step)
        assert not exchange.gone, "it does not end between requests"
    assert b"Connection: close\r\n" in serve(exchange)
    assert exchange.gone
    assert {ended.status for ended in exchange.ended} == {200}


def test_a_long_response_is_not_cut_off(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", exchange.server)
    for _ in range(200):
        exchange.advance(LIMITS.connection_seconds / 100)
        exchange.receive(b"x", exchange.server)
    assert exchange.to_client().endswith(b"x" * 200)
    assert not exchange.gone
    assert b"Connection: close\r\n" in serve(exchange)


def test_a_leg_with_data_between_requests_is_closed(exchange: ExchangeDriver) -> None:
    exchange.receive(GET)
    first = exchange.server
    exchange.receive(OK, first)
    exchange.receive(OK, first)
    assert first in exchange.closed
    exchange.receive(SECOND)
    assert exchange.server is not first
    assert exchange.to_client() == OK


def test_reports_of_a_replaced_leg_are_ignored(exchange: ExchangeDriver) -> None:
    """Its end is reported when the next request is already on the new leg."""
    exchange.receive(GET + SECOND)
    first = exchange.server
    exchange.receive(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), first)
    assert exchange.server is not first
    exchange.feed(events.DataReceived(first, GET))
    exchange.feed(events.ConnectionClosed(first))
    assert not exchange.gone
    exchange.receive(OK, exchange.server)
    assert exchange.to_client() == OK + OK
    assert exchange.to(exchange.server) == SECOND


def test_permission_to_dial_lasts_only_for_the_dial(exchange: ExchangeDriver) -> None:
    exchange.hold_dial = True
    exchange.receive(GET)
    assert exchange.record.may_dial == exchange.dialling[0].connection.address
    exchange.complete_dial()
    assert exchange.record.may_dial is None
    assert exchange.to(exchange.server) == GET
