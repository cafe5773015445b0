"""The listening sockets of all workers. The parent keeps them open.

Linux divides the connections to one port among the sockets with SO_REUSEPORT, by a hash of both
addresses. A connection that waits for a worker that has died is served by its successor, because
the parent still has the socket.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Sequence
from typing import Any

from ibcm_bridge.addons.server.listener import BACKLOG
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import Address, socket_address

type WorkerSockets = dict[int, list[socket.socket]]
"""Number of a listener -> its sockets, one for each IP address of its host."""


class Listening:
    """Open listeners, each with sockets for every worker."""

    def __init__(self, listeners: Sequence[Address], workers: int) -> None:
        """Listen at all addresses. Raise ListenError if another program does."""
        with contextlib.ExitStack() as opened:
            # Without SO_REUSEPORT, so that this fails at a port that another program shares.
            with contextlib.ExitStack() as alone:
                bound = [
                    (address, [_name_of(listener) for listener in _bind(address, alone)])
                    for address in listeners
                ]
            self.of = [
                {
                    number: [_shared(address, name, opened) for name in names]
                    for number, (address, names) in enumerate(bound)
                }
                for _ in range(workers)
            ]
            """The sockets of each worker."""
            self._opened = opened.pop_all()

    @property
    def addresses(self) -> list[Address]:
        """The addresses of the listeners."""
        return [
            socket_address(listener.getsockname())
            for sockets in self.of[0].values()
            for listener in sockets
        ]

    def keep_only(self, worker: int) -> WorkerSockets:
        """Close the sockets of the other workers, in the process of this worker."""
        for number, sockets in enumerate(self.of):
            if number != worker:
                for listener in itertools.chain(*sockets.values()):
                    listener.close()
        return self.of[worker]

    def close(self) -> None:
        """Close all sockets. Connections that no worker has accepted are reset."""
        self._opened.close()


def _bind(address: Address, opened: contextlib.ExitStack) -> list[socket.socket]:
    """Bind each address of a host, as asyncio does."""
    host, port = address
    with listening_at(address):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [
            _listen(family, name, opened)
            for family, name in dict.fromkeys((family, name) for family, *_, name in found)
        ]


def _shared(
    address: Address, bound: tuple[socket.AddressFamily, Any], opened: contextlib.ExitStack
) -> socket.socket:
    with listening_at(address):
        return _listen(*bound, opened, shared=True)


def _listen(
    family: int, name: Any, opened: contextlib.ExitStack, *, shared: bool = False
) -> socket.socket:
    listener = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setblocking(False)
    listener.bind(name)
    # At once: otherwise another bridge that starts now would find the port free.
    listener.listen(BACKLOG)
    return listener


def _name_of(listener: socket.socket) -> tuple[socket.AddressFamily, Any]:
    """Return the address of a socket, with the port that the system chose for port 0."""
    return listener.family, listener.getsockname()
