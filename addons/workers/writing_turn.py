"""The turn in which a worker writes a line of the audit, while no other worker does.

A pipe keeps only short lines whole (PIPE_BUF, pipe(7)), and a full disk cuts off a line of any
file. The lock is one of fcntl(2): the system releases it when its process ends.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Self


class WritingTurn:
    """Made before the workers are forked, which then exclude each other. See `audit.file.Turn`."""

    def __init__(self) -> None:
        self._file = os.memfd_create("ibcm-bridge-audit-turn")
        os.ftruncate(self._file, mmap.PAGESIZE)
        self._state = mmap.mmap(self._file, mmap.PAGESIZE)

    def __enter__(self) -> Self:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)

    @property
    def torn(self) -> bool:
        """True if the last line of any worker may be incomplete."""
        return self._state[0] != 0

    @torn.setter
    def torn(self, torn: bool) -> None:
        self._state[0] = torn
