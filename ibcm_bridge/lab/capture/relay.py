"""Relays of the lab: each forwards TCP connections to one address, and records their bytes.

A relay sees what a sniffer at its place sees, and needs no rights for it. It does not take part in
TLS.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self


class Leg(StrEnum):
    """The place of a relay."""

    CLIENT = "from the client to the bridge"
    SITE_SYSTEM = "from the bridge to the site system"


@dataclass(frozen=True)
class Piece:
    """Bytes that arrived together; without data, the end of this direction."""

    time: float
    """Seconds since the epoch."""
    from_client: bool
    data: bytes


@dataclass
class Recorded:
    """The bytes of one connection, in the order of their arrival."""

    leg: Leg
    tls: bool
    began: float
    pieces: list[Piece] = field(default_factory=list)

    def sent(self, *, from_client: bool) -> bytes:
        """Return all bytes of one direction."""
        return b"".join(piece.data for piece in self.pieces if piece.from_client is from_client)


RECEIVED_BYTES = 65_536


class Relay:
    """Forwards connections to `target`. A context manager; `address` is known before it runs."""

    def __init__(self, target: tuple[str, int], leg: Leg, *, tls: bool) -> None:
        self._target, self._leg, self._tls = target, leg, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._recorded: list[Recorded] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes up accept() on Linux, which close() alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def take(self) -> list[Recorded]:
        """Return the connections since the last call."""
        with self._lock:
            taken, self._recorded = self._recorded, []
        return taken

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        recorded = Recorded(self._leg, self._tls, time.time())
        with self._lock:
            self._recorded.append(recorded)
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, client, recorded), daemon=True)
            back.start()
            _pump(client, server, recorded, from_client=True)
            back.join()


def _pump(
    source: socket.socket,
    destination: socket.socket,
    recorded: Recorded,
    *,
    from_client: bool = False,
) -> None:
    """Copy one direction to its end. A reset of one side ends the other."""
    data = b"begin"
    while data:
        try:
            data = source.recv(RECEIVED_BYTES)
            # Recorded first: a response never precedes its request.
            recorded.pieces.append(Piece(time.time(), from_client, data))
            if data:
                destination.sendall(data)
        except OSError:
            break
    with contextlib.suppress(OSError):
        destination.shutdown(socket.SHUT_WR)
