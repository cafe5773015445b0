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

from ibcm_bridge.addons.run.handover import Sockets, divided
from ibcm_bridge.addons.server.open_sockets import listen, open_sockets
from ibcm_bridge.os_errors import listening_at
from ibcm_bridge.policy.addresses import Address, socket_address

type WorkerSockets = dict[Address, list[socket.socket]]
"""The sockets of each listener, one for each IP address of its host."""


class Listening:
    """Open listeners, each with sockets for every worker."""

    def __init__(
        self, listeners: Sequence[Address], workers: int, inherited: Sockets | None = None
    ) -> None:
        """Listen at all addresses. Raise ListenError if another program does.

        An address that has `inherited` sockets gets no others.
        """
        self.of: list[WorkerSockets] = [{} for _ in range(workers)]
        """The sockets of each worker."""
        for address, sockets in (inherited or {}).items():
            if address in listeners:
                self._divide(address, sockets)
        self.open_new(listeners)

    def _divide(self, address: Address, sockets: Sequence[socket.socket]) -> None:
        """Divide the queues of an address. A queue of several workers has a socket for each."""
        by_name = itertools.groupby(sorted(sockets, key=_name_of), key=_name_of)
        for queues in [list(found) for _, found in by_name]:
            used = set[socket.socket]()
            for own, share in zip(self.of, divided(queues, len(self.of)), strict=True):
                opened = [queue.dup() if queue in used else queue for queue in share]
                used.update(share)
                own.setdefault(address, []).extend(opened)

    @property
    def sockets(self) -> Sockets:
        """All sockets of each listener, with each queue once or more."""
        return {
            address: [listener for own in self.of for listener in own[address]]
            for address in self.of[0]
        }

    def open_new(self, listeners: Sequence[Address]) -> list[WorkerSockets]:
        """Listen at the addresses that are not open yet, and return their sockets of each worker.

        Raise ListenError if another program listens at one.
        """
        new = [address for address in listeners if address not in self.of[0]]
        with contextlib.ExitStack() as opened:
            # Without SO_REUSEPORT, so that this fails at a port that another program shares.
            with contextlib.ExitStack() as alone:
                bound = {
                    address: [
                        _name_of(alone.enter_context(listener))
                        for listener in open_sockets(address)
                    ]
                    for address in new
                }
            found: list[WorkerSockets] = [
                {
                    address: [_shared(address, name, opened) for name in names]
                    for address, names in bound.items()
                }
                for _ in self.of
            ]
            opened.pop_all()
        for own, more in zip(self.of, found, strict=True):
            own.update(more)
        return found

    def keep(self, listeners: Sequence[Address]) -> None:
        """Close the sockets of all other listeners. Connections that wait there are reset."""
        for own in self.of:
            for address in [address for address in own if address not in listeners]:
                for listener in own.pop(address):
                    listener.close()

    @property
    def addresses(self) -> list[Address]:
        """The addresses of the listeners."""
        found = (
            socket_address(listener.getsockname())
            for sockets in self.of[0].values()
            for listener in sockets
        )
        # A worker can have several queues of one address.
        return list(dict.fromkeys(found))

    def keep_only(self, worker: int) -> WorkerSockets:
        """Close the sockets of the other workers, in the process of this worker."""
        for number, sockets in enumerate(self.of):
            if number != worker:
                for listener in itertools.chain(*sockets.values()):
                    listener.close()
        return self.of[worker]

    def close(self) -> None:
        """Close all sockets. Connections that no worker has accepted are reset."""
        self.keep(())


def _shared(
    address: Address, bound: tuple[socket.AddressFamily, Any], opened: contextlib.ExitStack
) -> socket.socket:
    with listening_at(address):
        return opened.enter_context(listen(*bound, shared=True))


def _name_of(listener: socket.socket) -> tuple[socket.AddressFamily, Any]:
    """Return the address of a socket, with the port that the system chose for port 0."""
    return listener.family, listener.getsockname()
