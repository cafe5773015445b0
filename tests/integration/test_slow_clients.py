"""Clients that take their time, and TLS that breaks: each is let go, and written down."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.reply_documents import authority
from tests.integration.lab import Lab

NAME = "bridge.internet.example"
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
SECONDS = 0.5
IDLE_SECONDS = 5.0
FIELDS = {"Content-Type": ccm.CONTENT_TYPE, "Content-Length": "1000"}


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    """Idle longer than the rest, as by default: each limit has to hold by itself."""
    policy["limits"] = {
        "handshake_seconds": SECONDS,
        "head_seconds": SECONDS,
        "body_seconds": SECONDS,
        "idle_seconds": IDLE_SECONDS,
        "tunnel_idle_seconds": SECONDS,
    }


@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_connection_without_a_handshake_is_closed(lab: Lab, sent: int) -> None:
    began = time.monotonic()
    assert lab.plain(lab.client_hello(NAME)[:sent]) == b""
    assert time.monotonic() - began >= SECONDS
    record = lab.record()
    lab.check_denied(record, Reason.TOO_SLOW, "limits.handshake_seconds", "BRIDGE-TERMINATE")
    assert record["event"] == "connection-refused"
    lab.check_nothing_arrived()


def test_a_connection_with_half_a_handshake_is_closed(lab: Lab) -> None:
    began = time.monotonic()
    lab.plain(lab.client_hello(NAME))
    assert time.monotonic() - began >= SECONDS
    lab.check_denied(lab.record(), Reason.TOO_SLOW, "limits.handshake_seconds")
    lab.check_nothing_arrived()


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    ("rule", "data"),
    [
        ("limits.head_seconds", b"GET " + MP_LIST.encode() + b" HTTP/1.1\r\nHost: "),
        ("limits.body_seconds", None),
    ],
)
def test_a_connection_with_half_a_request_is_closed(
    lab: Lab, rule: str, data: bytes | None, warm: bool
) -> None:
    data = data or lab.request("CCM_POST", "/ccm_system/request", FIELDS) + bytes(10)
    with lab.connect() as connection:
        if warm:
            connection.sendall(lab.request())
            answer = b"\r\n\r\n" + authority("MPLIST")
            received = b""
            while not received.endswith(answer):
                received += lab.read_exactly(connection, 1)
            lab.records()
            lab.clear()
        began = time.monotonic()
        connection.sendall(data)
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["CCM_POST"])
    assert time.monotonic() - began >= SECONDS
    lab.check_refused(reply, Reason.TOO_SLOW, rule, "BRIDGE-TERMINATE")


def test_a_client_that_sends_byte_by_byte_is_refused_at_the_deadline(lab: Lab) -> None:
    # Each byte comes soon after the other, and still the head as a whole does not come in time.
    data = lab.request(fields={"User-Agent": "x" * 10_000})
    with lab.connect() as connection, contextlib.suppress(OSError):
        for index in range(len(data)):
            connection.sendall(data[index : index + 1])
            connection.settimeout(0.01)
            with contextlib.suppress(TimeoutError):
                if connection.recv(1):
                    break
    lab.check_denied(lab.record(), Reason.TOO_SLOW, "limits.head_seconds")
    lab.check_nothing_arrived()


def test_an_idle_connection_is_closed_without_a_further_response(lab: Lab) -> None:
    began = time.monotonic()
    with lab.connect() as connection:
        connection.sendall(lab.request())
        assert len(lab.read_responses(lab.read_to_end(connection), ["GET"])) == 1
    assert time.monotonic() - began >= IDLE_SECONDS
    assert lab.record()["verdict"] == "allow"


def test_an_idle_tunnel_is_closed(lab: Lab) -> None:
    name = "mp-tunnel.internet.example"
    with socket.create_connection(lab.bridge.address, 10) as connection:
        connection.sendall(lab.client_hello(name))
        lab.read_to_end(connection)
    record = lab.record()
    assert (record["event"], record["detail"]) == ("tunnel", "idle")
    assert record["duration_seconds"] >= SECONDS


# TLS that breaks after the handshake

BROKEN = b"\x17\x03\x03\x00\x30" + bytes(48)


def broken_after(lab: Lab, request: bytes) -> bytes:
    """Send a request and, in the same breath, a record that cannot be read; what comes back."""
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = lab.context().wrap_bio(received, sent, server_hostname=NAME)
    with socket.create_connection(lab.bridge.address, 10) as connection:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(sent.read())
                received.write(connection.recv(65_536))
        if request:
            tls.write(request)
        connection.sendall(sent.read() + BROKEN)
        return lab.read_to_end(connection)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_decision_is_recorded_if_tls_fails(lab: Lab, method: str) -> None:
    broken_after(lab, lab.request(method, fields=lab.identification))
    record = lab.record()
    if method == "DELETE":
        lab.check_denied(record, Reason.VERB, "management-point.verbs")
        lab.check_nothing_arrived()
    else:
        assert record["verdict"] == "allow"
        assert record["note"] == "the client closed the connection"


def test_invalid_tls_closes_the_connection_at_once(lab: Lab) -> None:
    began = time.monotonic()
    broken_after(lab, b"")
    assert time.monotonic() - began < IDLE_SECONDS
    assert lab.audit() == []
