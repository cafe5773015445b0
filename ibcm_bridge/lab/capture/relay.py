"""Relays of the lab: each forwards TCP connections to one address, and can record their bytes.

A relay sees what a sniffer at its place sees, and needs no rights for it. It does not take part in
TLS. It records a connection that begins while an `Allowance` is set, and forwards all others.
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
    cut: bool = False
    """True if the allowance ended first: the rest is not recorded."""

    def sent(self, *, from_client: bool) -> bytes:
        """Return all bytes of one direction."""
        return b"".join(piece.data for piece in self.pieces if piece.from_client is from_client)


class Allowance:
    """The bytes that all relays together may still record."""

    def __init__(self, size: int | None) -> None:
        """`size`: None for no limit."""
        self._left = size
        self._lock = threading.Lock()

    def use(self, size: int) -> bool:
        """Return whether so many bytes are left, and use them."""
        with self._lock:
            if self._left is None:
                return True
            if size > self._left:
                return False
            self._left -= size
            return True


RECEIVED_BYTES = 65_536


class Relay:
    """Forwards connections to `target`. A context manager; `address` is known before it runs."""

    def __init__(self, target: tuple[str, int], leg: Leg, *, tls: bool) -> None:
        self._target, self._leg, self._tls = target, leg, tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._recorded: list[Recorded] = []
        self._allowance: Allowance | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._start(self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        self.take_down()

    def take_down(self) -> None:
        """Refuse connections, as the target does while it is down."""
        # Wakes up accept() on Linux, which close() alone does not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def bring_up(self) -> None:
        """Accept connections again, on the same port. OSError if the port is in use."""
        self._listener = socket.create_server(self.address)
        self._start(self._listener)

    def record(self, allowance: Allowance) -> None:
        """Record the connections that begin from now on."""
        with self._lock:
            self._allowance = allowance

    def take(self) -> list[Recorded]:
        """Return the connections since `record`, and record no more."""
        with self._lock:
            taken, self._recorded = self._recorded, []
            self._allowance = None
        return taken

    def _start(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _tape(self) -> _Tape | None:
        """Return None if nothing is recorded now."""
        with self._lock:
            if self._allowance is None:
                return None
            recorded = Recorded(self._leg, self._tls, time.time())
            self._recorded.append(recorded)
            return _Tape(recorded, self._allowance)

    def _serve(self, client: socket.socket) -> None:
        tape = self._tape()
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_pump, args=(server, client, tape), daemon=True)
            back.start()
            _pump(client, server, tape, from_client=True)
            back.join()


@dataclass(frozen=True)
class _Tape:
    """Where a connection is recorded."""

    recorded: Recorded
    allowance: Allowance

    def add(self, from_client: bool, data: bytes) -> None:
        recorded = self.recorded
        if not recorded.cut and self.allowance.use(len(data)):
            recorded.pieces.append(Piece(time.time(), from_client, data))
        else:
            recorded.cut = True


def _pump(
    source: socket.socket,
    destination: socket.socket,
    tape: _Tape | None,
    *,
    from_client: bool = False,
) -> None:
    """Copy one direction to its end. A reset of one side ends the other."""
    data = b"begin"
    while data:
        try:
            data = source.recv(RECEIVED_BYTES)
            # Recorded first: a response never precedes its request.
            if tape is not None:
                tape.add(from_client, data)
            if data:
                destination.sendall(data)
        except OSError:
            break
    with contextlib.suppress(OSError):
        destination.shutdown(socket.SHUT_WR)
