"""Sockets of systemd belong to the listeners of the policy, and to nothing else."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from ibcm_bridge.addons.run.activated_sockets import Activated, assigned
from ibcm_bridge.policy.addresses import Address, address_text

pytestmark = pytest.mark.skipif(not socket.has_ipv6, reason="requires IPv6")


def opened(host: str, *, v6only: bool = True, listens: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    listener.bind((host, 0))
    if listens:
        listener.listen()
    return listener


@pytest.fixture
def pair() -> Iterator[tuple[Activated, Activated]]:
    with contextlib.ExitStack() as stack:
        v4, v6 = (stack.enter_context(opened(host)) for host in ("127.0.0.1", "::1"))
        yield Activated("clients", v4), Activated("devices", v6)


def port(activated: Activated) -> int:
    return activated.address[1]


def test_sockets_are_found_by_their_address(pair: tuple[Activated, Activated]) -> None:
    v4, v6 = pair
    listeners: list[Address] = [("::1", port(v6)), ("127.0.0.1", port(v4))]
    sockets, problems = assigned(pair, listeners)
    assert problems == []
    assert sockets == {listeners[0]: [v6.listener], listeners[1]: [v4.listener]}


def test_two_sockets_of_one_address_are_both_used(pair: tuple[Activated, Activated]) -> None:
    """ReusePort=yes."""
    v4, _ = pair
    with v4.listener.dup() as other:
        second = Activated("clients", other)
        sockets, problems = assigned([v4, second], [v4.address])
    assert problems == []
    assert sockets == {v4.address: [v4.listener, other]}


def test_a_listener_without_a_socket_is_a_problem(pair: tuple[Activated, Activated]) -> None:
    v4, v6 = pair
    _, (problem,) = assigned([v4], [v4.address, v6.address])
    text = address_text(v6.address)
    assert problem == (
        f"systemd passes no socket for the listener {text}; add ListenStream={text} to the socket "
        "unit"
    )


def test_an_optional_listener_may_have_a_socket_or_none(pair: tuple[Activated, Activated]) -> None:
    v4, v6 = pair
    assert assigned([v4], [v4.address], [v6.address]) == ({v4.address: [v4.listener]}, [])
    sockets, problems = assigned(pair, [v4.address], [v6.address])
    assert (sockets[v6.address], problems) == ([v6.listener], [])


def test_a_socket_without_a_listener_is_a_problem(pair: tuple[Activated, Activated]) -> None:
    v4, v6 = pair
    _, (problem,) = assigned(pair, [v4.address])
    assert problem == (
        f"systemd passes the socket devices ({address_text(v6.address)}), but the policy has no "
        "listener there; remove it from the socket unit, or add the listener"
    )


def test_a_socket_that_accepts_ipv4_as_ipv6_is_a_problem() -> None:
    with opened("::", v6only=False) as both:
        activated = Activated("all", both)
        sockets, (problem,) = assigned([activated], [activated.address])
    assert sockets == {}
    assert problem.endswith("which also accepts IPv4; set BindIPv6Only=ipv6-only")


@pytest.mark.parametrize("kind", ["unix", "udp", "does not listen"])
def test_other_sockets_are_problems(kind: str) -> None:
    made = {
        "unix": lambda: socket.socket(socket.AF_UNIX),
        "udp": lambda: socket.socket(type=socket.SOCK_DGRAM),
        "does not listen": lambda: opened("127.0.0.1", listens=False),
    }
    with made[kind]() as other:
        _, (problem,) = assigned([Activated("x", other)], [])
    expected = "is not for TCP" if kind == "unix" else "which does not listen"
    assert expected in problem
