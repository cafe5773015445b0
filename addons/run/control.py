"""Carries out the orders that come over the control socket.

| order | replies |
|---|---|
| `reload` | `problems`, one a line, in any number of messages; `done` or `refused`, the digest |
| `take-over` | `sockets` with open files, then `all` |
| `ready`, after `take-over` | `draining`; the bridge then stops as on SIGTERM |

A process that takes over and ends before it is ready changes nothing. An order has the version of
these messages. `error` replies to what cannot be done.
"""

from __future__ import annotations

import functools
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from ibcm_bridge.addons.run.control_socket import ControlSocket, Message, Peer, receive, send
from ibcm_bridge.addons.run.handover import Inherited, send_sockets

VERSION = "1"

RELOAD = "reload"
TAKE_OVER = "take-over"
READY = "ready"

PROBLEMS = "problems"
DONE = "done"
REFUSED = "refused"
ALL = "all"
SERVICE_MANAGER = "service-manager"
"""The text of `all` if the service manager has opened the sockets."""
DRAINING = "draining"
ERROR = "error"

_TEXT_CHARACTERS = 8_000
"""The limit for the problems of one message: four bytes per character at most."""

MOST_PROBLEMS = 200
"""The limit for the problems of a reply. The log has all."""

PAUSE_SECONDS = 1.0
"""Time until another attempt to accept a connection."""

type Say = Callable[[str, int], None]
"""Logs a line about the bridge, with its level."""


class Controlled(Protocol):
    """The bridge, as the control socket sees it."""

    @property
    def digest(self) -> str:
        """The digest of the policy in use."""

    def reload(self, done: Callable[[Sequence[str]], None]) -> None:
        """Reload the policy, and call `done` with the problems."""

    def sockets(self) -> Inherited:
        """Return all listening sockets."""

    def hand_over(self) -> None:
        """Stop as on SIGTERM, and stop serving probes and scrapes: another process does."""


class Readers(Protocol):
    """Calls a function when a socket is readable, or later, as the event loops of asyncio do."""

    def add_reader(self, file: socket.socket, function: Callable[[], object], /) -> object:
        """Begin to watch a socket."""

    def remove_reader(self, file: socket.socket, /) -> object:
        """Stop watching a socket, if it is watched."""

    def call_later(self, seconds: float, function: Callable[[], object], /) -> object:
        """Call a function once."""


class Control:
    """The orders of all connections. Nothing here waits."""

    def __init__(
        self, place: ControlSocket, controlled: Controlled, readers: Readers, say: Say
    ) -> None:
        """Begin to accept connections. `place` is closed with this."""
        self._place = place
        self._controlled = controlled
        self._readers = readers
        self._say = say
        self._peers: dict[socket.socket, Peer] = {}
        self._successor: socket.socket | None = None
        """The connection of the process that takes over."""
        self._handed_over = False
        self._listen()

    def close(self) -> None:
        """Close all connections and the socket."""
        if self._place.listener.fileno() >= 0:
            self._readers.remove_reader(self._place.listener)
            self._place.close(keeps_name=self._handed_over)
        for peer in list(self._peers):
            self._drop(peer)

    def close_in_worker(self) -> None:
        """Close the files in a process that was forked, and change nothing else."""
        self._place.listener.close()
        for peer in self._peers:
            peer.close()

    def _listen(self) -> None:
        if self._place.listener.fileno() >= 0:
            self._readers.add_reader(self._place.listener, self._accept)

    def _accept(self) -> None:
        try:
            connection, _ = self._place.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            # There is no file or memory for a connection, which stays readable.
            self._readers.remove_reader(self._place.listener)
            self._readers.call_later(PAUSE_SECONDS, self._listen)
            return
        connection.setblocking(False)
        self._peers[connection] = Peer.of(connection)
        self._readers.add_reader(connection, functools.partial(self._receive, connection))

    def _receive(self, connection: socket.socket) -> None:
        try:
            message = receive(connection)
        except BlockingIOError:
            return
        except OSError:
            message = Message("", "", ())
        for file in message.files:
            # No order has files, and anything can come here, also from who may not control.
            os.close(file)
        if not message.word:
            self._drop(connection)
        elif not self._peers[connection].may_control:
            self._refuse(connection, "only root and the user of the bridge may control it")
        elif message.word == READY and connection is self._successor:
            self._hand_over(connection)
        elif message.text != VERSION:
            asked = f"the order has version {message.text or 'none'}"
            self._refuse(connection, f"{asked}, but this bridge supports version {VERSION}")
        elif message.word == RELOAD:
            self._controlled.reload(functools.partial(self._report, connection))
        elif message.word == TAKE_OVER:
            self._take_over(connection)
        else:
            self._refuse(connection, f"the order {message.word!r} is unknown")

    def _report(self, connection: socket.socket, problems: Sequence[str]) -> None:
        """Send the outcome of a reload."""
        for text in _messages(problems):
            self._send(connection, PROBLEMS, text)
        self._send(connection, REFUSED if problems else DONE, self._controlled.digest)

    def _take_over(self, connection: socket.socket) -> None:
        if self._successor is not None:
            self._refuse(connection, "another process is taking over")
            return
        self._successor = connection
        self._say(f"process {self._peers[connection].pid} is taking over", logging.INFO)
        try:
            inherited = self._controlled.sockets()
            send_sockets(connection, inherited.sockets)
        except OSError:
            self._drop(connection)
        else:
            self._send(connection, ALL, SERVICE_MANAGER if inherited.by_service_manager else "")

    def _hand_over(self, connection: socket.socket) -> None:
        pid = self._peers[connection].pid
        self._handed_over, self._successor = True, None
        self._controlled.hand_over()
        self._say(f"process {pid} has taken over; this one drains", logging.INFO)
        self._send(connection, DRAINING)
        self.close()

    def _send(self, connection: socket.socket, word: str, text: str = "") -> None:
        # The asker of a reload may have ended.
        if connection not in self._peers:
            return
        try:
            send(connection, word, text)
        except OSError:
            self._drop(connection)

    def _refuse(self, connection: socket.socket, why: str) -> None:
        self._send(connection, ERROR, why)
        self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        self._readers.remove_reader(connection)
        connection.close()
        if connection is self._successor:
            self._successor = None
            text = f"process {peer.pid} has ended before it took over; this one goes on"
            self._say(text, logging.WARNING)


def _messages(problems: Sequence[str]) -> Iterator[str]:
    """Yield the problems in texts that are short enough for a message."""
    lines = list(problems[:MOST_PROBLEMS])
    if len(problems) > MOST_PROBLEMS:
        lines.append(f"{len(problems) - MOST_PROBLEMS} more problems are in the log")
    text = ""
    for line in lines:
        more = line[:_TEXT_CHARACTERS]
        if text and len(text) + len(more) >= _TEXT_CHARACTERS:
            yield text
            text = ""
        text += f"\n{more}" if text else more
    if text:
        yield text
