"""A lock on a file, which the system lets go of however its holder ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Self

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class FileLock:
    """One that is held. The file is made if it is not there, for its owner alone, and stays."""

    def __init__(self, path: Path) -> None:
        """Take it at once. BlockingIOError where another process has it; or another OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _take(self._file)
        except OSError as error:
            os.close(self._file)
            raise BlockingIOError(error.errno, "somebody has it", str(path)) from error

    def release(self) -> None:
        """Let go of it."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


if sys.platform == "win32":

    def _take(lock: int) -> None:
        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)

else:

    def _take(lock: int) -> None:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
