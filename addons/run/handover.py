"""The listening sockets that a process hands to the one that replaces it.

A listening socket is a queue of connections that wait. The processes share the queue, so it stays
when one of them closes its socket.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ibcm_bridge.addons.run.control_socket import MOST_FILES, Message, send
from ibcm_bridge.policy.addresses import Address

type Sockets = Mapping[Address, Sequence[socket.socket]]
"""Listen address, as the policy has it -> its queues."""

SOCKETS = "sockets"
"""A message with sockets, and the address of each in JSON."""


class Inherited(NamedTuple):
    """The listening sockets with which a process starts."""

    sockets: Sockets
    by_service_manager: bool = False
    """The service manager keeps them open, and only its configuration can change them."""

    def with_sockets(self, sockets: Sockets) -> Inherited:
        """Return other sockets that were opened in the same way."""
        return self._replace(sockets=sockets)

    def of(self, addresses: Iterable[Address]) -> Sockets:
        """Return the sockets of these addresses."""
        return {key: self.sockets[key] for key in addresses if key in self.sockets}

    def close_others(self, addresses: Iterable[Address]) -> None:
        """Close the sockets of all other addresses."""
        used = set(addresses)
        for address, sockets in self.sockets.items():
            if address not in used:
                for listener in sockets:
                    listener.close()


def send_sockets(connection: socket.socket, sockets: Sockets) -> None:
    """Send all sockets. Raise OSError."""
    found = [(address, opened) for address, queues in sockets.items() for opened in queues]
    for some in itertools.batched(found, MOST_FILES):
        names = json.dumps([address for address, _ in some])
        send(connection, SOCKETS, names, [opened.fileno() for _, opened in some])


def received_sockets(message: Message) -> list[tuple[Address, socket.socket]]:
    """Return what a message of `send_sockets` has."""
    opened = [socket.socket(fileno=file) for file in message.files]
    for listener in opened:
        # This is a property of the queue: `dup` of a blocking socket would block all processes.
        listener.setblocking(False)
    names = [(str(host), int(port)) for host, port in json.loads(message.text)]
    return list(zip(names, opened, strict=True))


def divided[Queue](queues: Sequence[Queue], workers: int) -> list[list[Queue]]:
    """Give each worker at least one queue, and each queue at least one worker.

    With another number of workers than before, some serve several queues, or share one.
    """
    shares: list[list[Queue]] = [[] for _ in range(workers)]
    for number in range(max(workers, len(queues))):
        shares[number % workers].append(queues[number % len(queues)])
    return shares
