"""After a layer raises, no request reaches a site system without a decision that allows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from mitmproxy.proxy import commands

from ibcm_bridge.addons import connections
from ibcm_bridge.addons.hooks import site_system_authentication
from ibcm_bridge.addons.layers import (
    exchange,
    exchange_layer,
    front_door,
    shown_flow,
    site_system_choice,
    site_system_leg,
    site_system_legs,
    tunnel,
    withdrawal,
)
from ibcm_bridge.addons.layers.client_stream import ClientStream
from ibcm_bridge.addons.layers.client_tls import BridgedClientTls
from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.exchange_layer import ExchangeLayer
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.layers.response_stream import ResponseStream
from ibcm_bridge.addons.layers.site_system_leg import SiteSystemLeg
from ibcm_bridge.addons.layers.site_system_legs import SiteSystemLegs
from ibcm_bridge.addons.layers.tls_ending import TlsEnding
from ibcm_bridge.addons.layers.tunnel import RelayLayer
from ibcm_bridge.addons.policy_generation import Generation
from ibcm_bridge.addons.server import socket_handler
from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.server.socket_handler import SocketHandler
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.kept_session import KeptSessions
from ibcm_bridge.lab.protocol.client import Response
from tests.addons.fails_closed.causes import Outcome, denied, good, observed, tunneled
from tests.addons.fails_closed.failures import ERRORS, nothing_passes
from tests.addons.stand_ins.running import Panic, Running


class Place(NamedTuple):
    """A function, the client behavior that runs it, and what the site system may get before."""

    owner: Any
    name: str
    cause: Callable[[Running], Outcome] = good
    handshakes: int = 0
    requests: int = 0


BEFORE_A_DECISION = [
    Place(Generation, "front_door"),
    Place(FrontDoorLayer, "__init__"),
    Place(FrontDoorLayer, "_handle_event"),
    Place(FrontDoorLayer, "_decide"),
    Place(front_door, "route"),
    Place(front_door, "whole_client_hello"),
    Place(front_door, "read_client_hello"),
    Place(BridgedClientTls, "__init__"),
    Place(BridgedClientTls, "start_handshake"),
    Place(BridgedClientTls, "receive_handshake_data"),
    Place(BridgedClientTls, "receive_data"),
    Place(BridgedClientTls, "forward"),
    Place(TlsEnding, "event_to_child"),
    Place(LegConnection, "read_plaintext"),
    Place(LegConnection, "read_records"),
    Place(LegConnection, "lent_records"),
    Place(RelayLayer, "__init__", tunneled),
    Place(RelayLayer, "_handle_event", tunneled),
    Place(ExchangeLayer, "__init__"),
    Place(ExchangeLayer, "_one_request"),
    Place(Exchange, "__init__"),
    Place(Exchange, "_read_head"),
    Place(Exchange, "_authorize"),
    Place(Exchange, "_read_body"),
    Place(Exchange, "_approve"),
    Place(Exchange, "send"),
    Place(Exchange, "refuse", denied),
    Place(ClientStream, "read_head"),
    Place(ClientStream, "read_body"),
    Place(ClientStream, "refuse", denied),
    Place(exchange, "read_request_head"),
    Place(shown_flow, "shown_request", observed),
    Place(exchange, "_decide"),
    Place(exchange, "gate"),
    Place(site_system_choice, "originate"),
    Place(exchange, "response_bytes", denied),
    Place(exchange, "refusal", denied),
    Place(exchange_layer, "withdraw", denied),
    Place(withdrawal, "withdrawal", denied),
    Place(SiteSystemLegs, "use"),
    Place(SiteSystemLeg, "__init__"),
    Place(SiteSystemLeg, "open"),
    Place(BridgeConnectionHandler, "__init__"),
    Place(BridgeConnectionHandler, "open_connection"),
    Place(BridgeConnectionHandler, "open_connection", tunneled),
    Place(SocketHandler, "_received"),
    Place(LegSocket, "read"),
    Place(LegSocket, "get_buffer"),
    Place(LegSocket, "buffer_updated"),
]

AFTER_A_DECISION = [
    Place(tunnel.RelayLayer, "_forward", tunneled),
    Place(tunnel.RelayLayer, "_count", tunneled, handshakes=1),
    Place(socket_handler, "forward", tunneled, handshakes=1, requests=1),
    Place(site_system_leg._Endpoint, "_handle_event"),
    Place(KeptSessions, "of"),
    Place(site_system_authentication.site_system_leg, "resume_session"),
    Place(SiteSystemLeg, "send", handshakes=1),
    Place(TlsEnding, "send_data", handshakes=1),
    Place(LegConnection, "write_plaintext", handshakes=1),
    Place(site_system_leg._LegTls, "forward", handshakes=1, requests=1),
    Place(SiteSystemLegs, "send", handshakes=1),
    Place(site_system_legs, "response_reader", handshakes=1, requests=1),
    Place(site_system_legs, "next_response", handshakes=1, requests=1),
    Place(Exchange, "_respond", handshakes=1, requests=1),
    Place(exchange, "fields_for_client", handshakes=1, requests=1),
    Place(exchange, "body_end", handshakes=1, requests=1),
    Place(exchange, "head_for_client", handshakes=1, requests=1),
    Place(Exchange, "_inspect_reply", handshakes=1, requests=1),
    Place(ResponseStream, "collect", handshakes=1, requests=1),
    Place(exchange, "unreadable_head", handshakes=1, requests=1),
    Place(exchange, "ResponseBody", handshakes=1, requests=1),
    Place(ClientStream, "begin_response", handshakes=1, requests=1),
    Place(ResponseStream, "forward", handshakes=1, requests=1),
]


def place_name(place: Place) -> str:
    owner = getattr(place.owner, "__name__", "").rpartition(".")[2]
    return f"{owner}.{place.name}, {place.cause.__name__}"


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", BEFORE_A_DECISION + AFTER_A_DECISION, ids=place_name)
def test_a_layer_that_raises_closes_the_connection_and_forwards_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, place: Place, error: type[BaseException]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("made to fail")

    with nothing_passes(running, handshakes=place.handshakes, requests=place.requests):
        with monkeypatch.context() as patch:
            patch.setattr(place.owner, place.name, fail)
            outcome = place.cause(running)
        assert not isinstance(outcome, Response), outcome
    # Without a handler there is no record. A cancelled dial or read is mitmproxy's way to close a
    # connection, not a defect.
    closes = place.name == "open_connection" or place.owner is socket_handler
    cancelled = closes and error is asyncio.CancelledError
    if place.owner is not BridgeConnectionHandler and not cancelled:
        running.wait_for_reason("bridge-defect")
        assert len(running.audit()) == 1
    running.lab.site.clear()
    # asyncio logs what a constructor or its callback raises.
    running.unhandled.clear() if place.name == "__init__" or place.owner is LegSocket else None
    running.assert_serves()


@pytest.mark.parametrize("error", ERRORS)
def test_a_record_that_cannot_be_opened_closes_the_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> None:
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(connections.Connections, "open", fail)
        assert not isinstance(good(running), Response)
    running.unhandled.clear()  # asyncio logs it as unhandled
    running.assert_serves()


@pytest.mark.parametrize("error", [RuntimeError, UnicodeError, Panic])
@pytest.mark.parametrize("cause", [good, tunneled])
def test_a_dial_that_raises_closes_the_connection(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    cause: Callable[[Running], Outcome],
    error: type[BaseException],
) -> None:
    """mitmproxy only handles OSError, but a name with a too long label is a UnicodeError."""

    async def fail(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        raise error("made to fail")

    with nothing_passes(running), monkeypatch.context() as patch:
        patch.setattr(asyncio.BaseEventLoop, "create_connection", fail)
        assert not isinstance(cause(running), Response)
    running.wait_for_reason("bridge-defect")
    running.assert_serves()


def test_no_later_command_of_an_event_is_executed_after_a_failure(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed hook, the layer has another command, such as a dial."""
    dialled = []

    def hook_and_dial(layer: RelayLayer) -> Iterator[commands.Command]:
        for command in (
            front_door.ConnectionRefusedHook(None),  # type: ignore[arg-type]
            commands.OpenConnection(layer.context.server),
        ):
            command.blocking = layer
            yield command

    async def dial(_handler: BridgeConnectionHandler, command: commands.OpenConnection) -> None:
        dialled.append(command)

    monkeypatch.setattr(RelayLayer, "_open", hook_and_dial)
    monkeypatch.setattr(BridgeConnectionHandler, "open_connection", dial)
    with nothing_passes(running):
        assert not isinstance(tunneled(running), Response)
    assert not dialled
