"""A source over its limits is turned away, and another one is served."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
from collections.abc import Iterator

import pytest

from ibcm_bridge.addons.server import proxy_protocol
from ibcm_bridge.policy.policy import PerSource
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for

LIMITED, FREE, BALANCER, OTHER = "127.0.0.2", "127.0.0.3", "127.0.0.9", "127.0.0.1"


@pytest.fixture(scope="module")
def limited(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A bridge where one source may have two connections, behind a load balancer too."""
    policy = running_lab.policy
    listener = dataclasses.replace(policy.listeners[0], balancers=(ipaddress.ip_network(BALANCER),))
    policy = dataclasses.replace(
        policy,
        listeners=(listener,),
        per_source=PerSource(2, None, {ipaddress.ip_network(FREE): "a test"}),
        audit_file=tmp_path_factory.mktemp("sources") / "audit.jsonl",
    )
    with pytest.MonkeyPatch.context() as patch, Running(running_lab, policy) as running:
        patch.setattr(proxy_protocol, "HEADER_SECONDS", 3 * SOON)
        yield running


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def connect(
    running: Running, opened: contextlib.ExitStack, source: str, header: bytes = b""
) -> socket.socket:
    connection = socket.create_connection(running.address, SOON, (source, 0))
    connection.sendall(header)
    return opened.enter_context(connection)


def open_connections(running: Running) -> int:
    return len(running.bridge.connections._records)


@pytest.mark.parametrize(
    ("source", "header"),
    [(LIMITED, b""), (BALANCER, b"PROXY TCP4 203.0.113.7 192.0.2.1 51000 443\r\n")],
    ids=["direct", "through a balancer"],
)
def test_a_source_over_its_limit_is_turned_away(
    limited: Running, opened: contextlib.ExitStack, source: str, header: bytes
) -> None:
    assert wait_for(lambda: open_connections(limited) == 0)
    for _ in range(2):
        connect(limited, opened, source, header)
    assert wait_for(lambda: open_connections(limited) == 2)
    for _ in range(3):
        assert connect(limited, opened, source, header).recv(7) == b"\x15\x03\x03\0\x02\x02P"
    record = limited.wait_for_reason("too-many-connections")
    assert record["rule"] == "limits.per_source.connections"
    assert wait_for(lambda: open_connections(limited) == 2)
    limited.assert_serves()  # from another address
    opened.close()
    assert wait_for(lambda: open_connections(limited) == 0)
    assert not limited.bridge.connections._sources._connections


def test_an_exception_may_have_more(limited: Running, opened: contextlib.ExitStack) -> None:
    assert wait_for(lambda: open_connections(limited) == 0)
    for _ in range(5):
        connect(limited, opened, FREE)
    assert wait_for(lambda: open_connections(limited) == 5)
