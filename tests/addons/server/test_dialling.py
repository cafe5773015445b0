"""The bridge connects to a site system only after a decision that allows it.

mitmproxy by default connects before the client has sent a byte.
"""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mitmproxy.connection import Server
from mitmproxy.proxy import commands

from ibcm_bridge.addons.layers.exchange import Exchange
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.layers.tunnel import RelayLayer
from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.lab.protocol.client import LabClient, Response, plaintext_request
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.policy.trust import Credential
from tests.addons.stand_ins.lab import (
    DENIED,
    FROM_DP,
    GOOD,
    TUNNELED,
    Lab,
    bridged_publication,
    changed,
    message,
)
from tests.addons.stand_ins.running import SOON, Running, outcome_of, wait_for


@pytest.fixture
def dialled(running: Running, monkeypatch: pytest.MonkeyPatch) -> list[commands.OpenConnection]:
    """Every attempt to open a connection to a site system."""
    found: list[commands.OpenConnection] = []
    real = BridgeConnectionHandler.open_connection

    async def dial(handler: BridgeConnectionHandler, command: commands.OpenConnection) -> None:
        found.append(command)
        await real(handler, command)

    monkeypatch.setattr(BridgeConnectionHandler, "open_connection", dial)
    return found


def connects(running: Running) -> None:
    with socket.create_connection(running.address, SOON):
        assert wait_for(lambda: running.bridge.connections._records)


def sends_part_of_a_hello(running: Running) -> None:
    with socket.create_connection(running.address, SOON) as plain:
        plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert wait_for(lambda: running.bridge.connections._records)


def sends_plaintext(running: Running) -> None:
    assert b" 403 " in plaintext_request(running.address, b"GET / HTTP/1.1\r\n\r\n", SOON)


def completes_tls(running: Running) -> None:
    with running.client() as client:
        client.connect()
        assert wait_for(
            lambda: any(
                record.authenticated for record in running.bridge.connections._records.values()
            )
        )


def has_no_certificate(running: Running) -> None:
    with running.anonymous() as client:
        assert not isinstance(outcome_of(client, *GOOD), Response)


def asks_for_an_unknown_name(running: Running) -> None:
    assert not isinstance(running.ask(*GOOD, name="unknown.internet.example"), Response)


def sends_a_denied_request(running: Running) -> None:
    outcome = running.ask(*DENIED)
    assert isinstance(outcome, Response)
    assert outcome.status == 405


def sends_half_a_request(running: Running) -> None:
    with running.client() as client:
        client.connect().sendall(b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\nHost: bridge")
        assert wait_for(
            lambda: any(record.under_way for record in running.bridge.connections._records.values())
        )


def sends_a_head_without_its_body(running: Running) -> None:
    with running.client() as client:
        sent = message()
        head = "CCM_POST /ccm_system/request HTTP/1.1\r\nHost: bridge.internet.example\r\n"
        head += f"Content-Type: {sent['headers']['Content-Type']}\r\nContent-Length: 10\r\n\r\n"
        client.connect().sendall(head.encode() + b"123456789")
        assert wait_for(
            lambda: any(
                isinstance(exchange, Exchange) and exchange.authorized is not None
                for record in running.bridge.connections._records.values()
                for exchange in record.under_way
            )
        )


def sends_a_body_that_is_refused(running: Running) -> None:
    with running.client() as client:
        sent = message()
        outcome = outcome_of(
            client, "CCM_POST", "/ccm_system/request", headers=sent["headers"], body=b"x"
        )
        assert isinstance(outcome, Response)
        assert outcome.status == 403


@pytest.mark.parametrize(
    "client",
    [
        connects,
        sends_part_of_a_hello,
        sends_plaintext,
        completes_tls,
        has_no_certificate,
        asks_for_an_unknown_name,
        sends_a_denied_request,
        sends_half_a_request,
        sends_a_head_without_its_body,
        sends_a_body_that_is_refused,
    ],
    ids=lambda function: function.__name__,
)
def test_no_site_system_is_contacted_for_a_client_that(
    running: Running,
    dialled: list[commands.OpenConnection],
    client: Callable[[Running], None],
) -> None:
    client(running)
    assert wait_for(lambda: not running.bridge.connections._records)
    assert not dialled
    assert not running.lab.site.handshakes()
    running.assert_serves()
    assert len(dialled) == 1


def test_only_the_site_system_of_the_role_is_contacted(
    running: Running, dialled: list[commands.OpenConnection]
) -> None:
    running.ask(*FROM_DP)
    assert [command.connection.address for command in dialled] == [
        running.lab.site.distribution_point
    ]
    assert [handshake.sni for handshake in running.lab.site.handshakes()] == ["dp01.corp.example"]


def assert_dial_is_refused(running: Running, outcome: Response | Exception) -> None:
    assert not isinstance(outcome, Response), outcome
    assert wait_for(lambda: not running.bridge.connections._records)
    assert not running.lab.site.handshakes()
    assert running.wait_for_reason("bridge-defect")["rule"] == "server_connect"


def test_server_connect_refuses_a_dial_before_the_front_door_has_decided(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dial(layer: FrontDoorLayer) -> Iterator[commands.Command]:
        yield commands.OpenConnection(Server(address=running.lab.site.management_point))

    with monkeypatch.context() as patch:
        patch.setattr(FrontDoorLayer, "_decide", dial)
        assert_dial_is_refused(running, running.ask(*GOOD))
    running.assert_serves()


def test_server_connect_refuses_a_dial_before_the_decision_on_a_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dial(exchange: Exchange) -> Iterator[Any]:
        yield commands.OpenConnection(Server(address=running.lab.site.management_point))

    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "_read_head", dial)
        assert_dial_is_refused(running, running.ask(*GOOD))
    running.assert_serves()


def test_server_connect_refuses_another_address_than_the_one_allowed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(layer: RelayLayer) -> Iterator[Any]:
        layer._connection.may_dial = layer._publication.site_systems[0]
        yield commands.OpenConnection(Server(address=running.lab.site.distribution_point))

    with monkeypatch.context() as patch:
        patch.setattr(RelayLayer, "_open", elsewhere)
        assert_dial_is_refused(running, running.ask(*GOOD, name=TUNNELED))
    running.assert_serves()


def test_server_connect_refuses_a_second_dial_on_an_open_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running.client() as client:
        assert isinstance(outcome_of(client, *GOOD), Response)
        assert isinstance(outcome_of(client, *FROM_DP), Response)
        running.lab.site.clear()

        def dial(exchange: Exchange) -> Iterator[Any]:
            yield commands.OpenConnection(Server(address=running.lab.site.management_point))

        with monkeypatch.context() as patch:
            patch.setattr(Exchange, "_read_head", dial)
            assert_dial_is_refused(running, outcome_of(client, *GOOD))


def test_a_dial_is_refused_if_an_addon_changed_its_address(running: Running) -> None:
    def elsewhere(data: Any) -> None:
        data.server.address = tuple(running.lab.site.distribution_point)

    running.add_hook("server_connect", elsewhere, first=True)
    assert_dial_is_refused(running, running.ask(*GOOD))


def test_an_addon_cannot_cause_a_dial_in_a_denied_request(
    running: Running, dialled: list[commands.OpenConnection]
) -> None:
    def permit(flow: Any) -> None:
        record = running.bridge.connections.of(flow.client_conn)
        record.may_dial = tuple(running.lab.site.management_point)

    running.add_hook("requestheaders", permit, first=True)
    sends_a_denied_request(running)
    assert not dialled


# Certificates of the site-system leg


def pem(credential: Any) -> Credential:
    return Credential(credential.chain_pem(), credential.key_pem())


def renamed(policy: Policy, name: str) -> dict[str, Any]:
    return {
        directory: dataclasses.replace(
            role,
            site_systems=SiteSystems(
                (dataclasses.replace(role.site_systems.first, verify_name=name),)
            ),
        )
        for directory, role in bridged_publication(policy).directories.items()
    }


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_site_system_that_refuses_the_bridge_certificate_causes_a_502_at_once(
    lab: Lab, tmp_path: Any, version: ssl.TLSVersion
) -> None:
    """In TLS 1.3 its alert comes after the handshake, when the request has been sent."""
    credential = pem(lab.pki.foreign_computer("bridge.perimeter.example"))
    context = lab.site._contexts["management-point"]
    context.maximum_version = version
    try:
        policy = changed(lab.policy, tmp_path / "audit.jsonl", site_system_credential=credential)
        with Running(lab, policy) as running:
            outcome = running.ask(*GOOD)
            assert isinstance(outcome, Response), outcome
            assert outcome.status == 502
    finally:
        context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert not lab.site.received()


@pytest.mark.parametrize(
    "name", ["dp01.corp.example", "corp.example", "xmp01.corp.example", "mp01.corp.example.evil"]
)
def test_a_site_system_with_another_name_receives_nothing(
    lab: Lab, tmp_path: Any, name: str
) -> None:
    """The right authority and the wrong name."""
    policy = changed(lab.policy, tmp_path / "audit.jsonl", directories=renamed(lab.policy, name))
    with Running(lab, policy) as running:
        outcome = running.ask(*GOOD)
        assert isinstance(outcome, Response), outcome
        assert outcome.status == 502
        assert b"corp.example" not in outcome.body
        running.wait_for_reason("site-system-unverified")
    assert not lab.site.received()


def test_a_site_system_of_another_authority_receives_nothing(lab: Lab, tmp_path: Any) -> None:
    trust = dataclasses.replace(
        bridged_publication(lab.policy).site_system_trust,
        anchors=(lab.pki.foreign_root,),
        intermediates=(),
    )
    with Running(
        lab, changed(lab.policy, tmp_path / "audit.jsonl", site_system_trust=trust)
    ) as running:
        outcome = running.ask(*GOOD)
        assert isinstance(outcome, Response), outcome
        assert outcome.status == 502
        running.wait_for_reason("site-system-unverified")
    assert not lab.site.received()


def test_a_leg_is_never_shared_between_clients(running: Running) -> None:
    ports = set()
    clients: list[LabClient] = [running.client() for _ in range(3)]
    for client in clients:
        assert isinstance(outcome_of(client, *GOOD), Response)
    for client in clients:
        assert isinstance(outcome_of(client, *GOOD), Response)
        client.close()
    ports = {request.peer_port for request in running.lab.site.received()}
    assert len(ports) == 3
