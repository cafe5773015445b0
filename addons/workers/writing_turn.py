"""The turn in which a worker writes a line of the audit, while no other worker does.

A pipe keeps only short lines whole (PIPE_BUF, pipe(7)), and a full disk cuts off a line of any
file. The lock is one of fcntl(2): the system releases it when its process ends.

A worker that is stopped during its turn, as by SIGSTOP, must not stop the others. They wait for it
once, and then write without a turn until it ends its own. Lines of a file stay whole then too,
because the system appends each as a whole (O_APPEND, open(2)), as long as the disk is not full.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from typing import Self

MOST_SECONDS = 0.25
"""The longest wait for another worker, whose turn takes microseconds."""

SPINS = 100
"""Attempts without a pause, about as long as a turn takes."""

PAUSE_SECONDS = 0.001


class WritingTurn:
    """Made before the workers are forked, which then exclude each other. See `audit.file.Turn`."""

    def __init__(self) -> None:
        self._file = os.memfd_create("ibcm-bridge-audit-turn")
        os.ftruncate(self._file, mmap.PAGESIZE)
        self._state = mmap.mmap(self._file, mmap.PAGESIZE)
        self._is_ours = True

    def __enter__(self) -> Self:
        # After a wait in vain, one attempt is enough until the other worker has gone on.
        self._is_ours = self._try() or (self._is_ours and self._wait())
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _wait(self) -> bool:
        for _ in range(SPINS):
            os.sched_yield()
            if self._try():
                return True
        deadline = time.monotonic() + MOST_SECONDS
        while time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)
            if self._try():
                return True
        return False

    def _try(self) -> bool:
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    @property
    def torn(self) -> bool:
        """True if the last line of any worker may be incomplete."""
        return self._state[0] != 0

    @torn.setter
    def torn(self, torn: bool) -> None:
        self._state[0] = torn

    @property
    def failed(self) -> bool:
        """True if the last line of any worker could not be written."""
        return self._state[1] != 0

    @failed.setter
    def failed(self, failed: bool) -> None:
        self._state[1] = failed
