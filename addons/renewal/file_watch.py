"""Files that are read again once they have changed, and problems that are logged once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

type _Signature = tuple[tuple[Path, int, int, int], ...]


class FileWatch[T]:
    """Some files, and what they were like when they were last read."""

    def __init__(self, files: Callable[[], Iterable[Path]], read: Callable[[], T]) -> None:
        """`files` names them, those of today; `read` makes something of them."""
        self._files = files
        self._read = read
        self._seen: _Signature | None = None

    def look(self) -> T | None:
        """What they hold, or None where they are as they were. Raises what `read` raises.

        Files that could not be read count as changed the next time.
        """
        # Before they are read: what changes meanwhile is read the next time.
        found = _signature(self._files())
        if found == self._seen:
            return None
        read = self._read()
        self._seen = found
        return read

    def forget(self) -> None:
        """Read them the next time, whatever they are like."""
        self._seen = None


def _signature(files: Iterable[Path]) -> _Signature:
    """What changes when a file does: name, inode, size and time. Zeros for one that is missing."""
    found = []
    for path in files:
        try:
            status = path.stat()
        except OSError:
            found.append((path, 0, 0, 0))
        else:
            found.append((path, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


class Problems:
    """What is wrong now. Each problem is logged once, and again only after it was gone."""

    def __init__(self, where: str, consequence: str = "") -> None:
        """`where` begins each line of the log, and `consequence` ends it."""
        self._where = where
        self._consequence = consequence
        self._known: set[str] = set()

    def update(self, problems: Sequence[str], *, silently: bool = False) -> bool:
        """Log what is new, unless `silently`. Whether there were problems, and are none now."""
        for problem in problems:
            if problem not in self._known and not silently:
                logger.warning("%s: %s%s", self._where, problem, self._consequence)
        before, self._known = self._known, set(problems)
        return bool(before) and not problems
