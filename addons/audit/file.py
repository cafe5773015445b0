"""Appends the lines of the audit to a file or to standard output.

1. Lines are unbuffered: a failed write means a lost line, and no old data mixes with later lines.
2. After a line that a full disk cut short, a newline is written before the next line.
3. A file that was renamed or removed, as by log rotation, is opened again under its own name.
4. A new file is readable by its owner and its group only.
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
"""The interval of checks for a renamed file, in seconds. Until then, lines go to the old file."""


MODE = 0o640
"""Permissions of a new file: log collectors are in its group. An existing file keeps its own."""


class AuditFile:
    """Appends lines. On any failure it raises OSError, and the line counts as not written."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or standard output for None. Raise OSError if that fails."""
        self._path = path
        self._torn = False
        self._checked = time.monotonic()
        self._stream = _open(path)

    def write(self, line: str) -> None:
        """Append a line that ends in a newline."""
        self._reopen_if_moved()
        data = line.encode("ascii")
        if self._torn:
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                count = self._stream.write(data[written:])
                if not count:
                    raise BlockingIOError("no byte could be written")
                written += count
        finally:
            if written:
                self._torn = written < len(data)

    def close(self) -> None:
        """Close the file. Standard output stays open."""
        if self._path is not None:
            self._stream.close()

    def _reopen_if_moved(self) -> None:
        """Open a new file if the open one was renamed or removed."""
        if self._path is None or time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        if not self._was_moved(self._path):
            return
        stream = _open(self._path)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream, self._torn = stream, False

    def _was_moved(self, path: Path) -> bool:
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
    return open(path, "ab", buffering=0, opener=_created_for_owner_and_group)


def _created_for_owner_and_group(path: str, flags: int) -> int:
    """Open a file that others cannot read. The umask may take away more."""
    return os.open(path, flags, MODE)
