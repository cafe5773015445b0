"""Where the audit's lines go: appended to a file, whole, or to standard output.

1. A line is written at once and unbuffered: what was not written is known to be lost, and nothing
   waits in a buffer to be mixed with what comes later.
2. A line that was cut short by a full disk is ended before the next one is written.
3. A file that was renamed or removed, as log rotation does, is opened anew under its own name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from io import RawIOBase
from pathlib import Path

CHECK_SECONDS = 1.0
"""How long lines may still go to a file that was renamed."""


class AuditFile:
    """Appends lines. Whatever goes wrong is an OSError, and the line has not been written."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or standard output for None. OSError where that fails."""
        self._path = path
        self._torn = False
        self._checked = time.monotonic()
        self._stream = _open(path)

    def write(self, line: str) -> None:
        """Append a line that ends in a newline."""
        self._follow()
        data = line.encode("ascii")
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                count = self._stream.write(data[written:])
                if not count:
                    raise BlockingIOError("nothing could be written")
                written += count
        finally:
            if written:
                self._torn = written < len(data)

    def close(self) -> None:
        """Close the file; standard output is not ours to close."""
        if self._path is not None:
            self._stream.close()

    def _follow(self) -> None:
        """Go over to a new file where the one that is open has been moved away."""
        if self._path is None or time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        if not self._moved(self._path):
            return
        stream = _open(self._path)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream, self._torn = stream, False

    def _moved(self, path: Path) -> bool:
        if path.is_char_device() or path.is_fifo():
            return False
        try:
            return not os.path.samestat(path.stat(), os.fstat(self._stream.fileno()))
        except FileNotFoundError:
            return True


def _open(path: Path | None) -> RawIOBase:
    if path is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        return open(sys.stdout.fileno(), "ab", buffering=0, closefd=False)
    return path.open("ab", buffering=0)
