"""Gives orders to a running bridge over its control socket; see `control`."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from ibcm_bridge.addons.run.control import (
    ALL,
    DONE,
    DRAINING,
    ERROR,
    PROBLEMS,
    READY,
    REFUSED,
    RELOAD,
    SERVICE_MANAGER,
    TAKE_OVER,
    VERSION,
)
from ibcm_bridge.addons.run.control_socket import (
    ControlError,
    Message,
    Peer,
    connected,
    receive,
    send,
)
from ibcm_bridge.addons.run.handover import SOCKETS, Inherited, received_sockets
from ibcm_bridge.policy.addresses import Address

RELOAD_SECONDS = 150.0
"""A reload waits for workers that start, and then at most a minute for what they build."""

REPLY_SECONDS = 10.0
"""The time for a reply that needs no work."""


class Outcome(NamedTuple):
    """The outcome of a reload."""

    problems: Sequence[str]
    digest: str
    """The policy in use."""


def reload_bridge(path: Path) -> Outcome | None:
    """Reload the bridge at a path. Return None if none is there. Raise ControlError."""
    connection = connected(path)
    if connection is None:
        return None
    with connection:
        connection.settimeout(RELOAD_SECONDS)
        _send(connection, RELOAD, VERSION)
        problems: list[str] = []
        while True:
            message = _reply(connection)
            if message.word == PROBLEMS:
                problems += message.text.splitlines()
            elif message.word in (DONE, REFUSED):
                return Outcome(problems, message.text)
            else:
                _fail(message)


class Takeover:
    """Replaces the bridge at a path. Until `finish`, that bridge goes on if this process ends."""

    def __init__(self, connection: socket.socket) -> None:
        """Get its sockets. Raise ControlError."""
        self._connection = connection
        self.pid = Peer.of(connection).pid
        connection.settimeout(REPLY_SECONDS)
        _send(connection, TAKE_OVER, VERSION)
        found: dict[Address, list[socket.socket]] = {}
        while (message := _reply(connection)).word != ALL:
            if message.word != SOCKETS:
                _fail(message)
            for address, opened in received_sockets(message):
                found.setdefault(address, []).append(opened)
        self.inherited = Inherited(found, message.text == SERVICE_MANAGER)

    def finish(self) -> None:
        """Let the other bridge drain, now that this one serves. Raise ControlError."""
        with self._connection:
            _send(self._connection, READY)
            if (message := _reply(self._connection)).word != DRAINING:
                _fail(message)

    def close(self) -> None:
        """Close the connection. Without `finish`, the other bridge goes on."""
        self._connection.close()


def take_over(path: Path) -> Takeover | None:
    """Begin to replace the bridge at a path. Return None if none is there. Raise ControlError."""
    connection = connected(path)
    if connection is None:
        return None
    try:
        return Takeover(connection)
    except BaseException:
        connection.close()
        raise


def _send(connection: socket.socket, word: str, text: str = "") -> None:
    try:
        send(connection, word, text)
    except OSError as error:
        raise ControlError(f"the running bridge has ended ({error.strerror or error})") from error


def _reply(connection: socket.socket) -> Message:
    try:
        message = receive(connection)
    except TimeoutError as error:
        seconds = connection.gettimeout()
        raise ControlError(f"the running bridge did not reply in {seconds:g} s") from error
    except OSError as error:
        raise ControlError(f"the running bridge has ended ({error.strerror or error})") from error
    if not message.word:
        raise ControlError("the running bridge has ended before it replied")
    return message


def _fail(message: Message) -> NoReturn:
    if message.word == ERROR:
        raise ControlError(f"the running bridge refuses: {message.text}")
    raise ControlError(f"the running bridge sent {message.word!r}; it is of another version")
