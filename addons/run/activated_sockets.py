"""Listening sockets that systemd has opened (sd_listen_fds(3)), for the listeners of the policy.

Connections that arrive while the bridge restarts wait in these sockets.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ibcm_bridge.policy.addresses import Address, address_text, socket_address


class Activated(NamedTuple):
    """A socket, and its name in systemd."""

    name: str
    listener: socket.socket

    @property
    def address(self) -> Address:
        """The address at which it listens."""
        return socket_address(self.listener.getsockname())

    def __str__(self) -> str:
        return f"the socket {self.name} ({address_text(self.address)})"


def assigned(
    activated: Sequence[Activated], listeners: Iterable[Address], optional: Iterable[Address] = ()
) -> tuple[Mapping[Address, Sequence[socket.socket]], Sequence[str]]:
    """Return the sockets of each listener, and the problems.

    Each listener must have a socket for each IP address of its host, and each socket a listener.
    An `optional` listener may have none.
    """
    problems = [problem for found in activated for problem in _unusable(found)]
    if problems:
        return {}, problems
    left = list(activated)
    sockets: dict[Address, list[socket.socket]] = {}
    required = list(listeners)
    for listener in dict.fromkeys([*required, *optional]):
        for name in _names(listener):
            found = [passed for passed in left if passed.address == name]
            left = [passed for passed in left if passed.address != name]
            sockets.setdefault(listener, []).extend(passed.listener for passed in found)
            if not found and listener in required:
                wanted = address_text(name)
                problems.append(
                    f"systemd passes no socket for the listener {address_text(listener)}; add "
                    f"ListenStream={wanted} to the socket unit"
                )
    problems += [
        f"systemd passes {passed}, but the policy has no listener there; remove it from the socket "
        "unit, or add the listener"
        for passed in left
    ]
    return {address: found for address, found in sockets.items() if found}, problems


def _names(address: Address) -> list[Address]:
    """The IP addresses of a listener, as `open_sockets` finds them; none if it cannot be found."""
    host, port = address
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:
        return [address]
    return list(dict.fromkeys(socket_address(name) for *_, name in found))


def _unusable(activated: Activated) -> Iterator[str]:
    name, listener = activated
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        yield f"systemd's socket {name} is not for TCP; use ListenStream=ADDRESS:PORT"
    elif listener.type != socket.SOCK_STREAM or not listener.getsockopt(
        socket.SOL_SOCKET, socket.SO_ACCEPTCONN
    ):
        yield f"systemd passes {activated}, which does not listen; use ListenStream= and Accept=no"
    elif listener.family == socket.AF_INET6 and not listener.getsockopt(
        socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
    ):
        # The addresses of its IPv4 clients would be IPv6 addresses.
        yield f"systemd passes {activated}, which also accepts IPv4; set BindIPv6Only=ipv6-only"
