"""Appends the lines of the audit to a file or to standard output.

1. Lines are unbuffered: a failed write means a lost line, and no old data mixes with later lines.
2. After a line that a full disk cut short, a newline is written before the next line.
   Several processes that write the same file take turns (`Turn`), so this holds for all of them.
3. A file that was renamed or removed, as by log rotation, is opened again under its own name. If
   that fails, lines go to the renamed file, and the next check tries again.
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
from types import TracebackType
from typing import BinaryIO, Protocol, Self

CHECK_SECONDS = 1.0
"""The interval of checks for a renamed file, in seconds. Until then, lines go to the old file."""


MODE = 0o640
"""Permissions of a new file: log collectors are in its group. An existing file keeps its own."""


class Turn(Protocol):
    """Entered to write a line. While a process is inside, no other writes."""

    torn: bool
    """True if the last line may be incomplete."""
    failed: bool
    """True if the last line of any process could not be written."""

    def __enter__(self) -> Self:
        """Wait for the turn. Raise OSError if that fails."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Leave the turn to others."""


class OnlyWriter:
    """The turn of a process that writes the file alone."""

    def __init__(self) -> None:
        self.torn = False
        self.failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class AuditFile:
    """Appends lines. On any failure it raises OSError, and the line counts as not written."""

    def __init__(self, path: Path | None, turn: Turn | None = None) -> None:
        """Open the file, or standard output for None. Raise OSError if that fails."""
        self._path = path
        self._turn = turn or OnlyWriter()
        self._checked = time.monotonic()
        self._stream = _open(path)
        self.not_reopened: str | None = None
        """Why a renamed file cannot be opened again, in the words of the operating system."""

    def write(self, line: str) -> None:
        """Append a line that ends in a newline."""
        data = line.encode("ascii")
        with self._turn as turn:
            failed = True
            try:
                self._append(turn, data)
                failed = False
            finally:
                turn.failed = failed

    def _append(self, turn: Turn, data: bytes) -> None:
        self._reopen_if_moved()
        torn = turn.torn and not self._ends_with_newline()
        if torn:
            data = b"\n" + data
        # Set before the write, for the other processes: this process may be killed during it.
        turn.torn = True
        written = 0
        try:
            while written < len(data):
                count = self._stream.write(data[written:])
                if not count:
                    raise BlockingIOError("no byte could be written")
                written += count
        except OSError:
            # A record without its newline is complete: the next line begins with one.
            if written < len(data) - 1:
                raise
        finally:
            turn.torn = written < len(data) if written else torn

    def problem(self) -> str | None:
        """Return why the next line could not be written, as far as that is known before."""
        with self._turn:
            self._reopen_if_moved()
        if self._path is None or not hasattr(os, "statvfs"):
            return None
        found = os.statvfs(self._stream.fileno())
        full = found.f_blocks > 0 and found.f_bavail == 0
        return "the disk is full" if full and self._path.is_file() else None

    def close(self) -> None:
        """Close the file. Standard output stays open."""
        if self._path is not None:
            self._stream.close()

    def _reopen_if_moved(self) -> None:
        """Open a new file if the open one was renamed or removed."""
        if self._path is None or time.monotonic() - self._checked < CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        try:
            stream = _open(self._path) if self._was_moved(self._path) else None
        except OSError as error:
            if os.fstat(self._stream.fileno()).st_nlink == 0:
                raise  # the file was removed, so the line would be lost
            self.not_reopened = error.strerror or type(error).__name__
            return
        self.not_reopened = None
        if stream is None:
            return
        with contextlib.suppress(OSError):
            self._stream.close()
        self._stream, self._turn.torn = stream, False

    def _ends_with_newline(self) -> bool:
        """Whether the last line is complete after all: a process was killed before or after it."""
        if self._path is None or not self._path.is_file():
            return False
        with self._path.open("rb") as file:
            return not file.seek(0, os.SEEK_END) or _last_byte(file) == b"\n"

    def _was_moved(self, path: Path) -> bool:
        if path.is_char_device() or path.is_fifo():
            return False
        try:
            return not os.path.samestat(path.stat(), os.fstat(self._stream.fileno()))
        except FileNotFoundError:
            return True


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _open(path: Path | None) -> RawIOBase:
    if path is None:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "standard output is closed")
        return open(sys.stdout.fileno(), "ab", buffering=0, closefd=False)
    return open(path, "ab", buffering=0, opener=_created_for_owner_and_group)


def _created_for_owner_and_group(path: str, flags: int) -> int:
    """Open a file that others cannot read. The umask may take away more."""
    return os.open(path, flags, MODE)
