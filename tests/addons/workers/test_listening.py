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


# Inherited sockets


@pytest.mark.parametrize(("before", "after"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 2), (4, 1)])
def test_no_waiting_connection_is_lost_with_another_number_of_workers(
    before: int, after: int
) -> None:
    address = (HERE, 0)
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(contextlib.closing(Listening([address], before)))
        waiting = [
            opened.enter_context(socket.create_connection(first.addresses[0], 10))
            for _ in range(32)
        ]
        # As they come from another process: own files of the same sockets.
        inherited = {key: [own.dup() for own in found] for key, found in first.sockets.items()}
        second = opened.enter_context(contextlib.closing(Listening([address], after, inherited)))
        assert second.addresses == first.addresses
        first.close()
        accepted = []
        for number in range(after):
            # Each worker closes the sockets of the others, and must not lose its own.
            for listener in second.of[number][address]:
                assert not listener.getblocking()
                with contextlib.suppress(BlockingIOError):
                    while True:
                        accepted.append(opened.enter_context(listener.accept()[0]))
        assert len(accepted) == len(waiting)


def test_workers_that_share_a_queue_have_their_own_files(other: socket.socket) -> None:
    address = (HERE, 0)
    other.bind(address)
    other.listen()
    other.setblocking(False)
    with (
        contextlib.closing(Listening([address], 3, {address: [other.dup()]})) as listening,
        socket.create_connection(listening.addresses[0], 10),
    ):
        (kept,) = listening.keep_only(2)[address]
        accepted, _ = kept.accept()
        accepted.close()


def test_an_inherited_listener_is_not_bound_again_and_others_are(other: socket.socket) -> None:
    other.bind((HERE, 0))
    other.listen()
    inherited, new = other.getsockname(), (HERE, free_port())
    sockets = {inherited: [other.dup()], ("127.0.0.9", 1): [other.dup()]}
    with contextlib.closing(Listening([inherited, new], 2, sockets)) as listening:
        assert listening.addresses == [inherited, new]
    sockets["127.0.0.9", 1][0].close()
