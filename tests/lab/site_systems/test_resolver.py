"""The resolver of the lab, and the lookup of its clients (RFC 1035)."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from mitmproxy.dns import DNSMessage, Question
from mitmproxy.net.dns import classes, op_codes, response_codes, types

from ibcm_bridge.lab.namespaces import HERE
from ibcm_bridge.lab.simulated import name_lookup
from ibcm_bridge.lab.simulated.name_lookup import NoSuchName, resolve
from ibcm_bridge.lab.site_systems.resolver import Resolver

NAMES = {"bridge.internet.example": "192.0.2.1", "six.internet.example": "2001:db8::1"}


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    with Resolver(NAMES) as resolver:
        yield resolver


@pytest.mark.parametrize(("name", "address"), NAMES.items())
def test_a_name_has_its_address(resolver: Resolver, name: str, address: str) -> None:
    assert resolve(name, resolver.address, HERE) == address
    assert resolve(name.upper(), resolver.address, HERE) == address
    assert set(resolver.queried) == {name}


def test_another_name_does_not_exist(resolver: Resolver) -> None:
    with pytest.raises(NoSuchName, match=r"mp01.corp.example cannot be resolved .* \(NXDOMAIN\)"):
        resolve("mp01.corp.example", resolver.address, HERE)


QUERY = DNSMessage(
    id=7,
    query=True,
    op_code=op_codes.QUERY,
    authoritative_answer=False,
    truncation=False,
    recursion_desired=True,
    recursion_available=False,
    reserved=0,
    response_code=response_codes.NOERROR,
    questions=[Question("bridge.internet.example", types.A, classes.IN)],
    answers=[],
    authorities=[],
    additionals=[],
)


def exchanged(resolver: Resolver, data: bytes) -> DNSMessage:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(data, resolver.address)
        return DNSMessage.unpack(client.recv(512))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"op_code": op_codes.UPDATE}, response_codes.NOTIMP),
        ({"questions": []}, response_codes.FORMERR),
        (
            {"questions": [Question("bridge.internet.example", types.A, classes.CH)]},
            response_codes.REFUSED,
        ),
    ],
)
def test_other_queries_are_refused(resolver: Resolver, changes: dict[str, Any], code: int) -> None:
    response = exchanged(resolver, replace(QUERY, **changes).packed)
    assert (response.id, response.response_code, response.answers) == (7, code, [])


@pytest.mark.parametrize("data", [b"", b"\0" * 5, b"\0\7\1\0\0\1" + b"\xff" * 20])
def test_invalid_data_gets_no_response(resolver: Resolver, data: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        client.sendto(data, resolver.address)
        with pytest.raises(TimeoutError):
            client.recv(512)
    assert resolve("bridge.internet.example", resolver.address, HERE) == "192.0.2.1"


# The lookup


@pytest.fixture
def fake() -> Iterator[Callable[[list[Callable[[DNSMessage], bytes]]], tuple[str, int]]]:
    """A server that sends the given responses to each query."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve(responses: list[Callable[[DNSMessage], bytes]]) -> tuple[str, int]:
        def run() -> None:
            try:
                while True:
                    data, sender = server.recvfrom(512)
                    for response in responses:
                        server.sendto(response(DNSMessage.unpack(data)), sender)
            except OSError:
                pass

        threading.Thread(target=run, daemon=True).start()
        address: tuple[str, int] = server.getsockname()
        return address

    yield serve
    server.close()


def other_id(message: DNSMessage) -> bytes:
    message.id ^= 1
    return message.fail(response_codes.NXDOMAIN).packed


def other_question(message: DNSMessage) -> bytes:
    message.questions = [Question("other.example", types.A, classes.IN)]
    return message.fail(response_codes.NXDOMAIN).packed


def test_a_response_to_another_query_is_ignored(
    fake: Callable[[list[Callable[[DNSMessage], bytes]]], tuple[str, int]],
) -> None:
    refuse = response_codes.REFUSED
    address = fake(
        [other_id, other_question, lambda _: b"?", lambda asked: asked.fail(refuse).packed]
    )
    with pytest.raises(NoSuchName, match="REFUSED"):
        resolve("bridge.internet.example", address, HERE)


def test_a_silent_resolver_is_an_error(
    fake: Callable[[list[Callable[[DNSMessage], bytes]]], tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(name_lookup, "SECONDS", 0.05)
    with pytest.raises(OSError, match=r"the resolver sends no response for a\.example"):
        resolve("a.example", fake([]), HERE)


def test_a_name_without_address_is_an_error(
    fake: Callable[[list[Callable[[DNSMessage], bytes]]], tuple[str, int]],
) -> None:
    with pytest.raises(NoSuchName, match=r"a\.example has no address"):
        resolve("a.example", fake([lambda asked: asked.succeed([]).packed]), HERE)
