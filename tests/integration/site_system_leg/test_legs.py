"""Each client connection has its own legs, and each leg ends with its client (BRIDGE-TERMINATE)."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem
from tests.integration.site_system_leg.publications import (
    FILE,
    MP_LIST,
    MP_NAME,
    OK,
    SLOW_SECONDS,
    address,
)


def test_each_client_connection_has_its_own_leg(lab: Lab) -> None:
    other = lab.credentials.other
    with (
        lab.client(address=address("good")) as first,
        lab.client(address=address("good")) as second,
        lab.client(other, address=address("good")) as third,
    ):
        for _ in range(3):
            for client in (first, second, third):
                assert client.request("GET", MP_LIST).status == 200
    ports = [received.peer_port for received in lab.site.received()]
    assert ports == ports[:3] * 3
    assert len(set(ports)) == len(lab.site.handshakes()) == 3
    clients = [record["client_name"] for record in lab.records(9)]
    assert clients == ["pc1.corp.example", "pc1.corp.example", "pc9.corp.example"] * 3


def test_a_leg_is_not_reused_for_the_next_client(lab: Lab) -> None:
    for _ in range(3):
        with lab.client(address=address("good")) as client:
            assert client.request("GET", MP_LIST).status == 200
    assert len({received.peer_port for received in lab.site.received()}) == 3
    lab.records(3)


def test_requests_to_both_roles_keep_both_legs(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        for _ in range(3):
            assert client.request("GET", MP_LIST).status == 200
            assert client.request("HEAD", FILE).status == 200
    ports = [received.peer_port for received in lab.site.received()]
    assert ports == ports[:2] * 3
    assert len(lab.site.handshakes()) == 2
    lab.records(6)


def test_no_leg_is_opened_before_a_request(lab: Lab, raw: RawSiteSystem) -> None:
    raw.respond_with(OK)
    with lab.connect(address=address("raw")) as connection:
        connection.sendall(lab.request(fields={"Connection": "close"})[:-2])
        assert raw.peers == []
        connection.sendall(b"\r\n")
        assert lab.read_to_end(connection).endswith(b"ok")
    assert len(raw.peers) == 1
    lab.records(1)


def test_a_leg_that_the_site_system_closed_while_idle_is_opened_again(
    lab: Lab, raw: RawSiteSystem
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.close_and_wait()  # without having said so

    raw.behave(script, lab.pki.server(MP_NAME))
    with lab.client(address=address("raw")) as client:
        for _ in range(3):
            assert client.request("GET", MP_LIST).body == b"ok"
            lab.until(raw.peers[-1].ended.is_set)
    assert len(raw.peers) == 3
    assert [record["verdict"] for record in lab.records(3)] == ["allow"] * 3


def test_a_leg_with_connection_close_is_closed(lab: Lab, raw: RawSiteSystem) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(MP_NAME))
    with lab.client(address=address("raw")) as client:
        first = client.request("GET", MP_LIST)
        assert (first.body, first.header("Connection")) == (b"ok", None)
        assert client.request("GET", MP_LIST).body == b"ok"
    assert len(raw.peers) == 2
    lab.records(2)


# Clients that send too much, or close the connection


def test_requests_far_ahead_of_the_response_are_refused(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: (peer.read_head(), peer.wait_for_end()), lab.pki.server(MP_NAME))
    with lab.connect(address=address("raw")) as connection:
        connection.sendall(lab.request())
        lab.until(lambda: raw.peers and b"\r\n\r\n" in raw.peers[0].received)
        connection.sendall(lab.request(fields={"Accept": "x" * 80_000}))
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["GET"])
    lab.check_refused(reply, Reason.PIPELINED, "exchange.ahead", "HTTP-1.1")
    assert raw.peers[0].received.count(b"GET ") == 1


def test_the_leg_of_a_closed_client_connection_is_closed(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: (peer.read_head(), peer.wait_for_end()), lab.pki.server(MP_NAME))
    connection = lab.connect(address=address("raw"))
    connection.sendall(lab.request())
    lab.until(lambda: raw.peers and b"\r\n\r\n" in raw.peers[0].received)
    connection.close()
    lab.until(raw.peers[0].ended.is_set, seconds=SLOW_SECONDS)
    record = lab.record()
    assert (record["verdict"], record.get("status")) == ("allow", None)
    assert record["note"] == "the client closed the connection"


def test_the_simulated_management_point_replies_to_messages(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        assert lab.ccm_post(client).body == ccm.NO_REPLY
    lab.records(1)
