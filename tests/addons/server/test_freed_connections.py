"""An ended connection is freed at once, without the garbage collector, which may run much later."""

from __future__ import annotations

import contextlib
import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mitmproxy.proxy.layer import Layer

from ibcm_bridge.addons.server.connection_handler import BridgeConnectionHandler
from ibcm_bridge.addons.server.leg_socket import LegSocket
from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused
from tests.addons.stand_ins.lab import DENIED, GOOD, TUNNELED, Lab
from tests.addons.stand_ins.running import SOON, Running, wait_for

KINDS: list[type[Any]] = [BridgeConnectionHandler, LegSocket, LegConnection, Layer]

type Made = list[tuple[str, weakref.ref[Any]]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """The objects that are made for connections. Meanwhile the garbage collector does not run."""
    found: Made = []

    def noted(kind: type[Any]) -> Callable[..., None]:
        real = kind.__init__

        def note(self: Any, *arguments: Any, **named: Any) -> None:
            found.append((type(self).__name__, weakref.ref(self)))
            real(self, *arguments, **named)

        return note

    for kind in KINDS:
        monkeypatch.setattr(kind, "__init__", noted(kind))
    gc.disable()
    yield found
    gc.enable()


def _request(running: Running) -> None:
    with running.client() as client:
        assert client.request(*GOOD).status == 200


def _refused_request(running: Running) -> None:
    with running.client() as client:
        assert client.request(*DENIED).status == 405


def _refused_handshake(running: Running) -> None:
    with contextlib.suppress(HandshakeRefused, ConnectionEnded), running.anonymous() as client:
        client.request(*GOOD)


def _tunnel(running: Running) -> None:
    with running.client(TUNNELED) as client:
        assert client.request(*GOOD).status == 200


def _not_tls(running: Running) -> None:
    with socket.create_connection(running.address, SOON) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while plain.recv(65_536):
            pass


def _nothing(running: Running) -> None:
    socket.create_connection(running.address, SOON).close()


ENDS = {
    "request": _request,
    "refused request": _refused_request,
    "refused handshake": _refused_handshake,
    "tunnel": _tunnel,
    "not TLS": _not_tls,
    "nothing": _nothing,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_an_ended_connection_is_freed(
    lab: Lab, running: Running, made: Made, end: Callable[[Running], None]
) -> None:
    end(running)
    assert wait_for(lambda: made and not running.bridge.connections._records)
    left = wait_for(lambda: not _left(made)) or _left(made)
    assert left is True, left


def _left(made: Made) -> list[str]:
    return [name for name, reference in made if reference() is not None]
