"""Forwards bytes between two sockets in the kernel, by splice(2). Only Linux has it.

The bytes go through a pipe, and never into this process. The pipe is emptied before more is read,
so a receiver that is slow stops the sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

PIPE_BYTES = 65_536
"""The size of a new pipe (pipe(7)). Short messages fit; a larger pipe takes time to make."""

LARGE_PIPE_BYTES = 1_048_576
LONG_BYTES = 16_384
"""The size of the pipe once more than LONG_BYTES came at once. Few reads forward much."""

SLOW_BYTES = 262_144
"""The most to read at once after the receiver was slow, because the kernel stores it."""


class ReceiverFailed(Exception):
    """The receiver cannot be written to."""


if sys.platform == "linux":
    import fcntl

    _FLAGS = os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE

    async def splice(
        source: socket.socket, receiver: socket.socket, forwarded: Callable[[int], Awaitable[None]]
    ) -> None:
        """Forward until the source ends, and report each number of bytes. No socket may block.

        Raises OSError if the source failed or the system refuses, and ReceiverFailed. Nothing that
        was read is then left to forward, except if the receiver failed.
        """
        loop = asyncio.get_running_loop()
        taken = -1
        with source.dup() as own_source:  # asyncio lets nobody else watch its sockets
            while taken:
                await _until_ready(own_source, loop.add_reader, loop.remove_reader)
                # Most tunnels wait, and need neither a pipe nor another file.
                with _pipe() as (exit_end, entry_end), receiver.dup() as own_receiver:
                    size = most = PIPE_BYTES
                    while (taken := _take(own_source, entry_end, most)) > 0:
                        at_once = await _forward(exit_end, own_receiver, taken, forwarded)
                        if size == PIPE_BYTES and taken > LONG_BYTES:
                            size = _enlarged(entry_end)
                        most = size if at_once else min(size, SLOW_BYTES)

    async def _forward(
        pipe: int,
        receiver: socket.socket,
        waiting: int,
        forwarded: Callable[[int], Awaitable[None]],
    ) -> bool:
        """Empty the pipe. Return whether the receiver was ready all the time."""
        loop = asyncio.get_running_loop()
        at_once = True
        try:
            while waiting:
                if sent := _send(pipe, receiver, waiting):
                    waiting -= sent
                    await forwarded(sent)
                    # Other connections; and an end that the report has caused.
                    await asyncio.sleep(0)
                else:
                    at_once = False
                    await _until_ready(receiver, loop.add_writer, loop.remove_writer)
        except OSError as error:
            raise ReceiverFailed(str(error)) from error
        return at_once

    def _enlarged(pipe: int) -> int:
        """Enlarge the pipe if the system allows it, and return its size."""
        try:
            return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, LARGE_PIPE_BYTES)
        except OSError:  # the pipes of this user are too large together
            return PIPE_BYTES

    def _take(source: socket.socket, pipe: int, most: int) -> int:
        """Read into the pipe. Return the number of bytes, 0 at the end and -1 if there are none."""
        try:
            return os.splice(source.fileno(), pipe, most, flags=_FLAGS)
        except BlockingIOError:
            return -1

    def _send(pipe: int, receiver: socket.socket, most: int) -> int:
        """Write from the pipe. Return the number of bytes, 0 if the receiver takes none."""
        try:
            return os.splice(pipe, receiver.fileno(), most, flags=_FLAGS)
        except BlockingIOError:
            return 0

    @contextlib.contextmanager
    def _pipe() -> Iterator[tuple[int, int]]:
        ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield ends
        finally:
            for end in ends:
                os.close(end)

    async def _until_ready(
        connection: socket.socket, add: Callable[..., Any], remove: Callable[..., Any]
    ) -> None:
        ready = asyncio.Event()
        add(connection, ready.set)
        try:
            await ready.wait()
        finally:
            remove(connection)

else:

    async def splice(
        source: socket.socket, receiver: socket.socket, forwarded: Callable[[int], Awaitable[None]]
    ) -> None:
        """Raise OSError, so that the bytes are copied."""
        raise OSError("this system cannot splice")
