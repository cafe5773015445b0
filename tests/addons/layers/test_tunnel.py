"""A tunnel (TUNNEL-PASS): bytes are forwarded and counted, but not stored."""

from __future__ import annotations

import dataclasses
import errno
import gc
from typing import Any

import pytest
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import events

from ibcm_bridge.addons.events import EndedTunnel, Forwarded
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.layers.tunnel import MAX_AHEAD, RelayLayer
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.addresses import address_text
from tests.addons.stand_ins.driver import LIMITS, Clock, Driver, open_connection
from tests.addons.stand_ins.lab import GOOD, TUNNELED, Lab, tunnel_publication
from tests.addons.stand_ins.running import Running, wait_for


@pytest.fixture
def relay(lab: Lab, clock: Clock) -> Driver:
    """A relay layer that is not started."""
    context, record = open_connection(lab, TUNNELED)
    layer = RelayLayer(
        context, record, tunnel_publication(lab), LIMITS, SiteSystemStates(lab.policy)
    )
    return Driver(layer, context.client, clock)


def ended(relay: Driver) -> EndedTunnel:
    ((name, data),) = relay.hook_calls
    assert name == "tunnel_ended"
    assert isinstance(data, EndedTunnel)
    return data


def test_bytes_are_forwarded_and_counted_in_both_directions(relay: Driver, lab: Lab) -> None:
    relay.start()
    assert relay.server.address == tuple(lab.site.management_point)
    relay.receive(b"hello")
    relay.receive(b"you too", relay.server)
    relay.receive(b" there")
    assert relay.to(relay.server) == b"hello there"
    assert relay.to_client() == b"you too"
    assert not relay.hook_calls
    relay.close()
    relay.close(relay.server)
    assert (ended(relay).bytes_from_client, ended(relay).bytes_to_client) == (11, 7)
    assert ended(relay).error is None


def test_both_directions_may_be_forwarded_once_the_site_system_is_connected(
    relay: Driver,
) -> None:
    relay.hold_dial = True
    relay.start()
    relay.receive(b"hello")
    assert not relay.forwarding
    relay.complete_dial()
    client, server = relay.client, relay.server
    assert relay.forwarding == [(client, server), (server, client)]
    relay.feed(Forwarded(client, 10))
    relay.feed(Forwarded(server, 200))
    relay.feed(Forwarded(server, 3000))
    relay.close()
    relay.close(server)
    assert (ended(relay).bytes_from_client, ended(relay).bytes_to_client) == (15, 3200)


@pytest.fixture
def several(lab: Lab, clock: Clock) -> Driver:
    """A relay layer with two site systems, not started. The test completes the dials."""
    context, record = open_connection(lab, TUNNELED)
    publication = dataclasses.replace(tunnel_publication(lab), site_systems=(ONE, OTHER))
    layer = RelayLayer(context, record, publication, LIMITS, SiteSystemStates(lab.policy))
    relay = Driver(layer, context.client, clock)
    relay.hold_dial = True
    return relay


ONE, OTHER = ("10.0.0.1", 443), ("10.0.0.2", 443)
REFUSED = "[Errno 111] Connect call failed"


def test_a_tunnel_gets_the_data_at_the_site_system_that_accepts_it(several: Driver) -> None:
    several.start()
    several.receive(b"hello")
    several.complete_dial(REFUSED)
    several.receive(b" there")
    several.complete_dial()
    assert several.server.address == OTHER
    assert several.to(several.server) == b"hello there"
    several.close()
    several.close(several.server)
    assert ended(several).site_system == OTHER
    assert ended(several).notes == (
        "another site system was tried: connection refused by 10.0.0.1:443",
    )


def test_a_tunnel_that_was_opened_is_not_moved(several: Driver) -> None:
    several.start()
    several.complete_dial()
    several.close(several.server)
    several.close()
    assert ended(several).site_system == ONE
    assert not several.dialling


def test_if_no_site_system_accepts_the_tunnel_is_refused(several: Driver) -> None:
    several.start()
    several.complete_dial(REFUSED)
    several.complete_dial(REFUSED)
    denial = ended(several).denial
    assert denial is not None
    assert (denial.reason, denial.detail) == (
        Reason.SITE_SYSTEM_UNREACHABLE,
        "connection refused by 10.0.0.2:443",
    )
    assert several.gone


def test_a_tunnel_leaves_time_for_the_next_site_system(several: Driver) -> None:
    several.start()
    several.receive(b"hello")
    several.advance(LIMITS.connect_seconds / 2)
    given_up, command = several.dialling
    assert given_up.connection in several.closed
    assert command.connection.address == OTHER
    several.complete_dial("connection cancelled")
    several.complete_dial()
    assert several.to(several.server) == b"hello"
    several.advance(LIMITS.connect_seconds)
    assert not several.gone, "then the limit of an idle tunnel applies"


def test_a_tunnel_that_no_site_system_accepts_in_time_is_refused(several: Driver) -> None:
    several.start()
    several.advance(LIMITS.connect_seconds / 2)
    several.advance(LIMITS.connect_seconds / 2)
    denial = ended(several).denial
    assert denial is not None
    assert denial.detail == "connection to 10.0.0.2:443 timed out"


def test_nothing_may_be_forwarded_to_a_site_system_that_was_not_reached(relay: Driver) -> None:
    relay.refuse_dial = "refused"
    relay.start()
    assert not relay.forwarding


def test_forwarded_data_is_not_stored(relay: Driver) -> None:
    relay.start()
    needle = b"needle" * 1000
    relay.receive(needle)
    relay.receive(needle[::-1], relay.server)
    relay._sent.clear()
    reachable: list[Any] = [relay.layer]
    seen = {id(relay)}
    while reachable:
        found = reachable.pop()
        if id(found) in seen or isinstance(found, type):
            continue
        seen.add(id(found))
        assert not (isinstance(found, bytes | bytearray) and b"needle" in (found + found[::-1]))
        if type(found).__module__.startswith(
            ("ibcm_bridge", "mitmproxy", "builtins", "collections")
        ):
            reachable += gc.get_referents(found) if not hasattr(found, "__globals__") else []


@pytest.mark.parametrize("first", ["client", "server"])
def test_each_direction_closes_separately(relay: Driver, first: str) -> None:
    relay.start()
    client, server = relay.client, relay.server
    closing, other = (client, server) if first == "client" else (server, client)
    relay.close(closing)
    assert relay.half_closed == [other]
    assert not relay.closed
    relay.receive(b"still coming", other)
    assert relay.to(closing) == b"still coming"
    relay.close(other)
    assert client.state is server.state is ConnectionState.CLOSED
    assert ended(relay).error is None


def test_nothing_is_forwarded_after_the_end(relay: Driver) -> None:
    relay.start()
    relay.close()
    relay.close(relay.server)
    relay.receive(b"late", relay.server)
    relay.receive(b"late")
    assert not relay.to_client()
    assert not relay.to(relay.server)
    assert len(relay.hook_calls) == 1


def test_a_site_system_that_cannot_be_reached_ends_the_tunnel(relay: Driver, lab: Lab) -> None:
    relay.refuse_dial = str(ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"))
    relay.start()
    cause = f"connection refused by {address_text(lab.site.management_point)}"
    assert ended(relay).error == cause
    assert ended(relay).denial == Deny(
        Reason.SITE_SYSTEM_UNREACHABLE, rules.SITE_SYSTEM, cause, "TUNNEL-PASS"
    )
    assert relay.gone
    relay.receive(b"late")
    assert not relay.to_client()


def test_data_sent_during_the_dial_is_forwarded_afterwards(relay: Driver) -> None:
    relay.hold_dial = True
    relay.start()
    relay.receive(b"hello ")
    relay.receive(b"there")
    relay.complete_dial()
    assert relay.to(relay.server) == b"hello there"
    relay.receive(b"!")
    assert relay.to(relay.server) == b"hello there!"
    relay.close()
    relay.close(relay.server)
    assert ended(relay).bytes_from_client == 12
    assert ended(relay).denial is None


def test_a_client_cannot_fill_the_memory_during_the_dial(relay: Driver) -> None:
    relay.hold_dial = True
    relay.start()
    for _ in range(MAX_AHEAD // 65_536):
        relay.receive(b"x" * 65_536)
    assert not relay.hook_calls
    relay.receive(b"x")
    assert relay.gone
    assert ended(relay).error
    assert not relay.layer._paused_event_queue
    relay.complete_dial()
    assert not relay.to(relay.server), "an ended tunnel is not opened again"


def test_permission_to_dial_ends_with_the_dial(relay: Driver) -> None:
    relay.hold_dial = True
    relay.start()
    assert isinstance(relay.layer, RelayLayer)
    record = relay.layer._connection
    assert record.may_dial == relay.dialling[0].connection.address
    relay.complete_dial()
    assert record.may_dial is None


def test_a_client_that_disconnects_during_the_dial_ends_the_tunnel(
    relay: Driver,
) -> None:
    relay.hold_dial = True
    relay.start()
    relay.close()
    assert relay.gone
    assert ended(relay)
    assert isinstance(relay.layer, RelayLayer)
    assert relay.layer._connection.may_dial is None
    relay.complete_dial("cancelled")
    assert len(relay.hook_calls) == 1


def test_a_dial_without_a_reply_times_out(relay: Driver) -> None:
    relay.hold_dial = True
    relay.start()
    relay.advance(LIMITS.tunnel_idle_seconds)
    assert ended(relay).error == "idle"
    assert relay.gone


def test_an_idle_tunnel_is_closed_and_a_busy_one_is_not(relay: Driver) -> None:
    relay.start()
    for source in (relay.client, relay.server) * 3:
        relay.advance(LIMITS.tunnel_idle_seconds - 1)
        relay.receive(b"x", source)
        relay.advance(LIMITS.tunnel_idle_seconds - 1)
        relay.feed(Forwarded(source, 1))
    assert not relay.hook_calls
    relay.advance(LIMITS.tunnel_idle_seconds - 1)
    assert not relay.hook_calls
    relay.advance(1)
    assert ended(relay).error == "idle"
    assert relay.gone
    assert relay.server in relay.closed


def test_a_broken_connection_also_closes_the_other_side(relay: Driver) -> None:
    """mitmproxy reports it as closed in both directions at once."""
    relay.start()
    relay.server.state = ConnectionState.CLOSED
    relay.feed(events.ConnectionClosed(relay.server))
    assert ended(relay)
    assert relay.gone


def test_a_tunnel_is_recorded_with_byte_counts_and_as_uninspected(running: Running) -> None:
    outcome = running.ask(*GOOD, name=TUNNELED)
    assert isinstance(outcome, Response)
    assert outcome.status == 200
    assert wait_for(running.audit)
    (record,) = running.audit()
    assert record["event"] == "tunnel"
    assert record["verdict"] == "allow"
    assert record["bytes_from_client"] > 1000
    assert record["bytes_to_client"] > 1000
    assert record["note"].startswith("TUNNEL-BLIND")
    assert "target" not in record


def test_a_large_download_through_a_tunnel_is_counted_to_the_byte(running: Running) -> None:
    with running.client("dp-tunnel.internet.example") as client:
        reply, _, length = client.download("/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe")
    assert (reply.status, length) == (200, 300_000)
    assert wait_for(running.audit)
    assert running.audit()[0]["bytes_to_client"] > length


def test_an_unreachable_site_system_closes_the_client_and_is_recorded(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = RelayLayer.__init__

    def elsewhere(layer: RelayLayer, *arguments: Any) -> None:
        real(layer, *arguments)
        publication = layer._publication
        layer._publication = dataclasses.replace(publication, site_systems=(("127.0.0.1", 9),))

    monkeypatch.setattr(RelayLayer, "__init__", elsewhere)
    assert not isinstance(running.ask(*GOOD, name=TUNNELED), Response)
    assert wait_for(running.audit)
    assert running.audit()[0]["detail"] == "connection refused by 127.0.0.1:9"
