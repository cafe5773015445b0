"""Sockets that the parent watches while it waits; it runs no event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection


class PollReaders:
    """See `control.Readers`."""

    def __init__(self) -> None:
        self._functions: dict[int, Callable[[], object]] = {}

    def add_reader(self, file: socket.socket, function: Callable[[], object], /) -> None:
        """Begin to watch a socket."""
        self._functions[file.fileno()] = function

    def remove_reader(self, file: socket.socket, /) -> None:
        """Stop watching a socket. It must still be open."""
        del self._functions[file.fileno()]

    @property
    def files(self) -> list[int]:
        """The numbers of all sockets."""
        return list(self._functions)

    def run(self, readable: Collection[int]) -> None:
        """Call the functions of the sockets that are readable."""
        for file in readable:
            # A function before may have removed it.
            if (function := self._functions.get(file)) is not None:
                function()
