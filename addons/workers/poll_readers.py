"""Sockets that the parent watches while it waits; it runs no event loop."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection


class PollReaders:
    """See `control.Readers`."""

    def __init__(self) -> None:
        self._functions: dict[int, Callable[[], object]] = {}
        self._later: list[tuple[float, Callable[[], object]]] = []
        """When to call, by `time.monotonic`, and what."""

    def add_reader(self, file: socket.socket, function: Callable[[], object], /) -> None:
        """Begin to watch a socket."""
        self._functions[file.fileno()] = function

    def remove_reader(self, file: socket.socket, /) -> None:
        """Stop watching a socket, if it is watched. It must still be open."""
        self._functions.pop(file.fileno(), None)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> None:
        """Call a function once."""
        self._later.append((time.monotonic() + seconds, function))

    @property
    def due(self) -> float | None:
        """When the next function is called, by `time.monotonic`, even if no socket is readable."""
        return min((due for due, _ in self._later), default=None)

    @property
    def files(self) -> list[int]:
        """The numbers of all sockets."""
        return list(self._functions)

    def run(self, readable: Collection[int]) -> None:
        """Call the functions of the sockets that are readable, and those that are due."""
        now = time.monotonic()
        due = [call for call in self._later if call[0] <= now]
        self._later = [call for call in self._later if call[0] > now]
        for _, function in due:
            function()
        for file in readable:
            # A function before may have removed it.
            if (found := self._functions.get(file)) is not None:
                found()
