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

from ibcm_bridge.addons.server.open_sockets import listen, open_sockets
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import Address, socket_address

type WorkerSockets = dict[Address, list[socket.socket]]
"""The sockets of each listener, one for each IP address of its host."""


class Listening:
    """Open listeners, each with sockets for every worker."""

    def __init__(self, listeners: Sequence[Address], workers: int) -> None:
        """Listen at all addresses. Raise ListenError if another program does."""
        with contextlib.ExitStack() as opened:
            # Without SO_REUSEPORT, so that this fails at a port that another program shares.
            with contextlib.ExitStack() as alone:
                bound = {
                    address: [
                        _name_of(alone.enter_context(listener))
                        for listener in open_sockets(address)
                    ]
                    for address in listeners
                }
            self.of = [
                {
                    address: [_shared(address, name, opened) for name in names]
                    for address, names in bound.items()
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


def _shared(
    address: Address, bound: tuple[socket.AddressFamily, Any], opened: contextlib.ExitStack
) -> socket.socket:
    with listening_at(address):
        return opened.enter_context(listen(*bound, shared=True))


def _name_of(listener: socket.socket) -> tuple[socket.AddressFamily, Any]:
    """Return the address of a socket, with the port that the system chose for port 0."""
    return listener.family, listener.getsockname()
