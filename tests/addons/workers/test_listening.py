"""Each worker has sockets for every listener, and no other program has the port."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.workers.listening import Listening
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.os_errors import ListenError

HERE = "127.0.0.1"


@pytest.fixture
def other() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield made


def test_each_worker_has_a_socket_at_the_same_port() -> None:
    addresses = [(HERE, 0), ("127.0.0.2", 0)]
    with contextlib.closing(Listening(addresses, 3)) as listening:
        names = [
            [made.getsockname() for made in sockets[address]]
            for sockets in listening.of
            for address in addresses
        ]
        assert names[0::2] == [[listening.addresses[0]]] * 3
        assert names[1::2] == [[listening.addresses[1]]] * 3
        assert listening.addresses[0] != listening.addresses[1]


def test_connections_wait_before_a_worker_serves() -> None:
    with (
        contextlib.closing(Listening([(HERE, 0)], 2)) as listening,
        contextlib.ExitStack() as opened,
    ):
        for _ in range(32):
            opened.enter_context(socket.create_connection(listening.addresses[0], 10))
        for sockets in listening.of:
            accepted, _ = sockets[HERE, 0][0].accept()
            accepted.close()


def test_a_worker_keeps_its_own_sockets_only() -> None:
    with contextlib.closing(Listening([(HERE, 0)], 3)) as listening:
        kept = listening.keep_only(1)
        still_open = [sockets[HERE, 0][0].fileno() >= 0 for sockets in listening.of]
        assert still_open == [False, True, False]
        assert kept is listening.of[1]


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_of_another_program_is_refused(other: socket.socket, shared: bool) -> None:
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
    other.bind((HERE, 0))
    other.listen()
    with pytest.raises(ListenError, match="is already in use"):
        Listening([other.getsockname()], 2)


def test_a_second_bridge_at_the_same_port_is_refused() -> None:
    first = Listening([(HERE, 0)], 2)
    with contextlib.closing(first):
        addresses = first.addresses
        with pytest.raises(ListenError, match="is already in use"):
            Listening(addresses, 2)
    Listening(addresses, 2).close()


def test_two_listeners_at_the_same_address_are_refused() -> None:
    with pytest.raises(ListenError, match="is already in use"):
        Listening([(HERE, port := free_port()), ("localhost", port)], 2)


def test_the_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ListenError) as refused:
        Listening([("192.0.2.1", 8443)], 2)
    assert "is not an address of this machine" in str(refused.value.strerror)
