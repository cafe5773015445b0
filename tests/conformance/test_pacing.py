"""Slow clients, in front of a server that is a function."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ibcm_bridge.conformance.pacing import client_hello, exchange_pieces, first_response
from ibcm_bridge.lab.protocol.client import ConnectionEnded
from ibcm_bridge.routing.client_hello import read_client_hello, whole_client_hello

RESPONSE = b"HTTP/1.1 408 Request Timeout\r\n\r\nlate"


@contextmanager
def connected(serve: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), 10)
        server, _ = listener.accept()
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with client:
            yield client
        thread.join()
        server.close()


def read_to_end(server: socket.socket) -> None:
    while server.recv(65_536):
        pass


def test_pieces_arrive_one_by_one() -> None:
    times = []

    def serve(server: socket.socket) -> None:
        for _ in range(3):
            assert len(server.recv(1)) == 1
            times.append(time.monotonic())
        server.sendall(RESPONSE)
        read_to_end(server)

    with connected(serve) as client:
        assert exchange_pieces(client, (b"a", b"b", b"c"), 0.1, 10) == RESPONSE
    assert all(later - before > 0.05 for before, later in itertools.pairwise(times))


def test_the_end_of_the_connection_is_not_a_hang() -> None:
    with connected(lambda server: server.shutdown(socket.SHUT_RDWR)) as client:
        assert exchange_pieces(client, (), 0, 10) == b""


@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a",) * 100])
def test_a_server_that_does_nothing_hangs(pieces: tuple[bytes, ...]) -> None:
    began = time.monotonic()
    with connected(read_to_end) as client, pytest.raises(TimeoutError):
        exchange_pieces(client, pieces, 0.05, 0.3)
    assert 0.3 <= time.monotonic() - began < 3


def test_a_response_is_not_the_end_if_the_connection_must_end() -> None:
    def serve(server: socket.socket) -> None:
        server.sendall(RESPONSE)
        read_to_end(server)

    with connected(serve) as client, pytest.raises(TimeoutError):
        exchange_pieces(client, (), 0, 0.5, to_end=True)


def test_the_first_response_has_the_status() -> None:
    assert first_response(RESPONSE).status == 408
    with pytest.raises(ConnectionEnded):
        first_response(b"\x15\x03\x03\x00\x02\x02\x28")


def test_a_client_hello_has_the_server_name() -> None:
    hello = whole_client_hello(client_hello("bridge.internet.example"))
    assert isinstance(hello, bytes)
    facts = read_client_hello(hello)
    assert getattr(facts, "server_name", None) == "bridge.internet.example"
