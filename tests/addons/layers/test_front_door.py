"""The front door detects what a connection is from its first bytes, in any segmentation."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.connections import Connections
from ibcm_bridge.addons.hooks.client_authentication import CALLBACKS, ClientAuthentication
from ibcm_bridge.addons.layers import front_door
from ibcm_bridge.addons.layers.front_door import FrontDoorLayer
from ibcm_bridge.addons.layers.site_system_states import SiteSystemStates
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol.client import load_credential, plaintext_request
from ibcm_bridge.policy.publications import BridgePublication
from tests.addons.stand_ins.driver import LIMITS, CalledHooks, Clock, Driver, open_connection
from tests.addons.stand_ins.lab import BRIDGED, GOOD, TUNNELED, Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for

UNRECOGNIZED_NAME = bytes.fromhex("15030300020270")
UNEXPECTED_MESSAGE = bytes.fromhex("1503030002020a")
DECODE_ERROR = bytes.fromhex("15030300020232")


class FrontDoor(Driver):
    """Drives a front door, with the hooks for TLS with a client."""

    def __init__(self, lab: Lab, clock: Clock) -> None:
        context, self.record = open_connection(lab)
        called = CalledHooks()
        layer = FrontDoorLayer(context, self.record, LIMITS, called, SiteSystemStates(lab.policy))
        super().__init__(layer, context.client, clock, called)
        connections = Connections(self.record.capacity)
        connections._records[context.client.id] = self.record
        publication = lab.policy.listeners[0].publications[BRIDGED]
        assert isinstance(publication, BridgePublication)
        tls = PublicationTls(publication, CALLBACKS, utc_now)
        authentication = ClientAuthentication(connections, [tls])
        self.hooks["tls_start_client"] = authentication.tls_start_client
        self.hooks["tls_established_client"] = authentication.tls_established_client

    def refusal(self) -> Deny:
        """Return the only refusal of this connection."""
        refusals = [data.denial for name, data in self.hook_calls if name == "connection_refused"]
        assert len(refusals) == 1, self.hook_calls
        return refusals[0]  # type: ignore[no-any-return]

    def assert_refused(self, reason: str, received: bytes) -> None:
        """Assert that the connection is refused and closed, and ignores later events."""
        assert self.refusal().reason.value == reason
        assert self.to_client() == received
        assert self.gone
        assert not self.dialled
        before = list(self.hook_calls)
        self.receive(b"GET / HTTP/1.1\r\n\r\n")
        self.advance(1000)
        assert self.hook_calls == before


@pytest.fixture
def door(lab: Lab, clock: Clock) -> Driver:
    return FrontDoor(lab, clock).start()


class TlsClient:
    """A TLS client without a socket."""

    def __init__(
        self,
        lab: Lab,
        name: str | None,
        *,
        alpn: list[str] | None = None,
        highest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.maximum_version = highest
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        load_credential(context, lab.computer)
        if alpn:
            context.set_alpn_protocols(alpn)
        # By default OpenSSL 3.5 also sends an ML-KEM key share, 1,200 bytes more.
        context.set_ecdh_curve("prime256v1")
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def handshake_data(self) -> bytes:
        """Return the data that the client sends next."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def hello(lab: Lab, name: str | None = TUNNELED, **options: Any) -> bytes:
    """Return the ClientHello of a client that requests this name."""
    return TlsClient(lab, name, **options).handshake_data()


def in_records(hello: bytes, size: int) -> bytes:
    """Return the ClientHello, split over records of this size."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def large_hello(lab: Lab, size: int, name: str = TUNNELED) -> bytes:
    return hello(lab, name, alpn=["x" * 200] * (size // 200))


# ClientHellos


def test_a_hello_is_read_byte_by_byte_and_forwarded_unchanged(door: FrontDoor, lab: Lab) -> None:
    sent = hello(lab)
    for byte in sent[:-1]:
        door.receive(bytes([byte]))
    assert not door.dialled
    assert not door.hook_calls
    door.receive(sent[-1:])
    assert door.to(door.server) == sent
    assert not door.to_client()


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_hello_in_very_many_records_is_refused(door: FrontDoor, lab: Lab, size: int) -> None:
    door.receive(in_records(hello(lab), size))
    door.assert_refused("not-tls", UNEXPECTED_MESSAGE)


def test_a_hello_is_parsed_once_in_any_segmentation(
    door: FrontDoor, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    original = front_door.read_client_hello
    monkeypatch.setattr(
        front_door, "read_client_hello", lambda data: parsed.append(data) or original(data)
    )
    for byte in hello(lab):
        door.receive(bytes([byte]))
    assert len(parsed) == 1


@pytest.mark.parametrize("size", [20, 50, 100])
def test_a_hello_may_be_split_over_records(door: FrontDoor, lab: Lab, size: int) -> None:
    sent = in_records(hello(lab), size)
    door.receive(sent)
    assert door.to(door.server) == sent


def test_data_after_a_hello_is_forwarded_too(door: FrontDoor, lab: Lab) -> None:
    sent = hello(lab) + b"\x14\x03\x03\x00\x01\x01"
    door.receive(sent)
    assert door.to(door.server) == sent


def test_a_hello_of_nearly_the_limit_is_read(door: FrontDoor, lab: Lab) -> None:
    sent = large_hello(lab, LIMITS.client_hello - 600)
    assert LIMITS.client_hello - 500 < len(sent) <= LIMITS.client_hello
    door.receive(sent)
    assert door.to(door.server) == sent


@pytest.mark.parametrize("step", [1, 1000, 100_000])
def test_a_hello_over_the_limit_is_refused_in_any_segmentation(
    door: FrontDoor, lab: Lab, step: int
) -> None:
    sent = large_hello(lab, LIMITS.client_hello + 400)
    assert len(sent) > LIMITS.client_hello
    for at in range(0, len(sent), step):
        if not door.gone:
            door.receive(sent[at : at + step])
    door.assert_refused("client-hello-too-large", DECODE_ERROR)


def test_a_hello_that_announces_16_megabytes_is_refused_at_the_limit(door: FrontDoor) -> None:
    door.receive(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\x03" * LIMITS.client_hello)
    door.assert_refused("client-hello-too-large", DECODE_ERROR)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x16\x16\x16\x16",
        b"\x16\x03\x04\x00\x05",
        b"\x16\xfe\xfd" + b"\x00" * 20,  # DTLS
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x01\x00",
        b"\x16GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_data_that_only_begins_like_tls_gets_an_alert(door: FrontDoor, data: bytes) -> None:
    for byte in data:
        if not door.gone:
            door.receive(bytes([byte]))
    door.assert_refused("not-tls", UNEXPECTED_MESSAGE)


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd",
        b"\x16\x03\x01\x00\x29\x01\x00\x00\x25\x03\x03" + b"\xff" * 35,
    ],
)
def test_a_hello_that_cannot_be_parsed_gets_decode_error(door: FrontDoor, data: bytes) -> None:
    for byte in data:
        door.receive(bytes([byte]))
    door.assert_refused("client-hello-malformed", DECODE_ERROR)


def body_of(hello: bytes) -> bytes:
    """The ClientHello without the headers of its record and its message."""
    return hello[9:]


def as_hello(body: bytes) -> bytes:
    message = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@pytest.mark.parametrize("name", [BRIDGED, TUNNELED])
@pytest.mark.parametrize(
    "change",
    [lambda body: body + b"\0", lambda body: body[:-1]],
    ids=["a byte more", "a byte less"],
)
def test_a_hello_whose_lengths_do_not_fit_gets_decode_error(
    door: FrontDoor, lab: Lab, name: str, change: Callable[[bytes], bytes]
) -> None:
    door.receive(as_hello(change(body_of(hello(lab, name)))))
    door.assert_refused("client-hello-malformed", DECODE_ERROR)


def test_the_unchanged_hello_gets_a_server_hello(door: FrontDoor, lab: Lab) -> None:
    sent = hello(lab, BRIDGED)
    assert as_hello(body_of(sent)) == sent
    door.receive(sent)
    assert door.to_client()[:1] == b"\x16"


def test_a_server_name_that_is_not_ascii_gets_an_alert_and_is_not_a_defect(
    door: FrontDoor, lab: Lab
) -> None:
    door.receive(hello(lab).replace(TUNNELED.encode(), b"\xff" * len(TUNNELED)))
    assert door.refusal().reason.value in ("not-tls", "unknown-name")
    assert door.gone


PLAINTEXT = [
    b"GET / HTTP/1.1\r\nHost: bridge.internet.example\r\n\r\n",
    b"CONNECT bridge.internet.example:443 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PROXY",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"EHLO client.example\r\n",
    b"\x05\x01\x00",
    b"\x00",
    b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",  # SSLv2
    b"\x15\x03\x01\x00\x02\x02\x28",  # an alert
    b"\x17\x03\x03\x00\x05hello",
]


@pytest.mark.parametrize(
    "data", [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"]
)
def test_a_header_of_a_load_balancer_that_the_policy_does_not_name_is_refused(
    door: FrontDoor, data: bytes
) -> None:
    door.receive(data)
    door.assert_refused("proxy-header", UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("data", PLAINTEXT)
@pytest.mark.parametrize("step", [1, 1000])
def test_plaintext_gets_a_plaintext_refusal(door: FrontDoor, data: bytes, step: int) -> None:
    for at in range(0, len(data), step):
        if not door.gone:
            door.receive(data[at : at + step])
    assert door.refusal().reason.value == "plaintext"
    received = door.to_client()
    assert received.startswith(b"HTTP/1.1 403 ")
    assert b"Connection: close\r\n" in received
    assert b"HTTPS only" in received
    assert door.gone
    assert not door.dialled


@pytest.mark.parametrize(
    "name",
    [None, "unknown.internet.example", "example", "xbridge.internet.example", "bridge.internet"],
)
def test_a_name_that_is_not_published_gets_unrecognized_name(
    door: FrontDoor, lab: Lab, name: str | None
) -> None:
    door.receive(hello(lab, name))
    door.assert_refused("unknown-name", UNRECOGNIZED_NAME)


@pytest.mark.parametrize("spelling", [TUNNELED.upper().encode(), TUNNELED.title().encode()])
def test_published_names_are_not_case_sensitive(door: FrontDoor, lab: Lab, spelling: bytes) -> None:
    door.receive(hello(lab).replace(TUNNELED.encode(), spelling))
    assert door.dialled


@pytest.mark.parametrize(
    "spelling", [b"mp-tunnel.internet.examplE\x00"[:26], b"mp-tunnel.internet.exampl."]
)
def test_a_name_similar_to_a_published_one_is_refused(
    door: FrontDoor, lab: Lab, spelling: bytes
) -> None:
    near = spelling if spelling[-1:] == b"." else b"mp-tunnel.internet.exampl\x00"
    door.receive(hello(lab).replace(TUNNELED.encode(), near))
    assert door.refusal().reason.value in ("unknown-name", "not-tls")
    assert not door.dialled


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_broken_hello_causes_a_defect_or_is_forwarded_without_a_name(
    running_lab: Lab, data: st.DataObject
) -> None:
    sent = bytearray(hello(running_lab))
    for _ in range(data.draw(st.integers(1, 4))):
        sent[data.draw(st.integers(0, len(sent) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(sent)))
    door = FrontDoor(running_lab, Clock())
    door.start()
    for piece in (bytes(sent[:cut]), bytes(sent[cut:])):
        if piece and not door.gone:
            door.receive(piece)
    if door.dialled:
        assert door.to(door.server) == bytes(sent)
        assert door.record.server_name is not None
        assert door.record.server_name.lower() in door.record.listener.publications
    else:
        assert not any(name == "tunnel_ended" for name, _ in door.hook_calls)


# A bridged connection


def complete(door: FrontDoor, client: TlsClient) -> None:
    """Finish the handshake."""
    door.receive(client.handshake_data())
    client.incoming.write(door.to_client())
    door.receive(client.handshake_data())
    client.incoming.write(door.to_client())


def test_a_bridged_name_is_terminated_and_no_site_system_contacted(
    door: FrontDoor, lab: Lab
) -> None:
    client = TlsClient(lab, BRIDGED)
    complete(door, client)
    assert door.record.authenticated
    assert door.record.authenticated.name == "pc1.corp.example"
    assert not door.dialled


def test_the_last_flight_of_a_handshake_is_sent_at_once_unless_nobody_waits_for_it(
    door: FrontDoor, lab: Lab
) -> None:
    client = TlsClient(lab, BRIDGED, highest=ssl.TLSVersion.TLSv1_2)
    door.receive(client.handshake_data())
    client.incoming.write(door.to_client())
    door.receive(client.handshake_data())
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    client.incoming.write(door.to_client())
    client.tls.do_handshake()
    assert client.tls.version() == "TLSv1.2"


def test_the_sessions_of_tls_1_3_are_sent_with_the_first_data(door: FrontDoor, lab: Lab) -> None:
    client = TlsClient(lab, BRIDGED)
    door.receive(client.handshake_data())
    client.incoming.write(door.to_client())
    door.receive(client.handshake_data())
    assert client.tls.version() == "TLSv1.3"
    assert not door.to_client()
    client.tls.write(b"not a request\r\n\r\n")
    door.receive(client.outgoing.read())
    client.incoming.write(door.to_client())
    assert client.tls.read(65_536).startswith(b"HTTP/1.1 ")


def test_a_bridged_hello_may_arrive_byte_by_byte_in_several_records(
    door: FrontDoor, lab: Lab
) -> None:
    for byte in in_records(hello(lab, BRIDGED), 50):
        door.receive(bytes([byte]))
    assert door.to_client()[:1] == b"\x16"
    assert not door.gone


# Deadlines


@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_client_that_does_not_finish_its_hello_in_time_is_closed(
    door: FrontDoor, lab: Lab, sent: int
) -> None:
    if sent:
        door.receive(hello(lab)[:sent])
    door.advance(LIMITS.handshake_seconds - 0.5)
    if sent:
        door.receive(hello(lab)[sent : sent + 1])
    assert not door.gone
    door.advance(0.5)
    assert door.refusal().reason.value == "too-slow"
    assert door.gone
    assert not door.to_client()


def test_a_client_that_does_not_finish_its_handshake_in_time_is_closed(
    door: FrontDoor, lab: Lab
) -> None:
    door.receive(hello(lab, BRIDGED))
    assert door.to_client()
    door.advance(LIMITS.handshake_seconds)
    assert door.refusal().reason.value == "too-slow"
    assert door.gone


def test_the_idle_timeout_applies_after_the_handshake(door: FrontDoor, lab: Lab) -> None:
    client = TlsClient(lab, BRIDGED)
    complete(door, client)
    door.advance(LIMITS.idle_seconds - 1)
    assert not door.gone
    door.advance(1)
    assert door.gone
    assert not any(name == "connection_refused" for name, _ in door.hook_calls)


def test_the_tunnel_idle_timeout_applies_to_a_tunnel(door: FrontDoor, lab: Lab) -> None:
    door.receive(hello(lab))
    door.advance(LIMITS.tunnel_idle_seconds - 1)
    assert not door.gone
    door.advance(1)
    assert door.gone


# Clients that disconnect


@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_client_that_disconnects_early_is_not_recorded_as_refused(
    door: FrontDoor, lab: Lab, sent: int
) -> None:
    if sent:
        door.receive(hello(lab)[:sent])
    door.close()
    assert door.gone
    assert not door.hook_calls


def test_a_client_that_disconnects_during_its_handshake_is_reported_once(
    door: FrontDoor, lab: Lab
) -> None:
    door.receive(hello(lab, BRIDGED))
    door.close()
    assert door.gone
    assert [name for name, _ in door.hook_calls if "failed" in name] == ["tls_failed_client"]


# On sockets


@pytest.mark.parametrize("data", PLAINTEXT)
def test_plaintext_on_a_socket_is_refused_closed_and_recorded(
    running: Running, data: bytes
) -> None:
    received = plaintext_request(running.address, data, SOON)
    assert received.startswith(b"HTTP/1.1 403 ")
    record = running.wait_for_reason("plaintext")
    assert record["reference"].encode() in received
    assert not running.lab.site.handshakes()


def test_an_unknown_name_on_a_socket_is_refused_with_its_alert(running: Running) -> None:
    outcome = running.ask(*GOOD, name="unknown.internet.example")
    assert getattr(outcome, "alert", None) == "unrecognized name"
    assert running.wait_for_reason("unknown-name")["tls_alert"] == "unrecognized_name"


def test_a_client_that_disconnects_leaves_nothing_behind(running: Running) -> None:
    for sent in (b"", b"\x16", b"\x16\x03\x01\x02\x00"):
        with socket.create_connection(running.address, SOON) as plain:
            plain.sendall(sent) if sent else None
            assert wait_for(lambda: running.bridge.connections._records)
        assert wait_for(lambda: not running.bridge.connections._records)
    assert not running.audit()
