"""Opens the sockets of a listener, one for each IP address of its host, as asyncio does."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from ibcm_bridge.os_errors import ListenError, listening_at
from ibcm_bridge.policy.addresses import Address

BACKLOG = 1024


def open_all(addresses: Iterable[Address]) -> dict[Address, list[socket.socket]]:
    """Listen at all addresses. Raise ListenError with the cause for each that fails."""
    found: dict[Address, list[socket.socket]] = {}
    failed: list[ListenError] = []
    for address in addresses:
        try:
            found[address] = open_sockets(address)
        except ListenError as error:
            failed.append(error)
    if failed:
        close_sockets(found)
        raise ListenError(failed[0].errno, "; ".join(str(error.strerror) for error in failed))
    return found


def close_sockets(sockets: Mapping[Address, Sequence[socket.socket]]) -> None:
    """Close the sockets of all addresses."""
    for opened in sockets.values():
        for listener in opened:
            listener.close()


def open_sockets(address: Address) -> list[socket.socket]:
    """Listen at an address. Raise OSError if that fails."""
    host, port = address
    with contextlib.ExitStack() as opened, listening_at(address):
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        names = dict.fromkeys((family, name) for family, *_, name in found)
        sockets = [opened.enter_context(listen(family, name)) for family, name in names]
        opened.pop_all()
    return sockets


def listen(family: int, name: object, *, shared: bool = False) -> socket.socket:
    """Return a listening socket; `shared`: several may listen at its address (Linux)."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # On Windows another program could then listen at the same address.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(name)  # type: ignore[arg-type]
        # At once: otherwise another bridge that starts now would find the port free.
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
