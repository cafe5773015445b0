"""Reads files again after they change, and logs each problem once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ibcm_bridge.policy.policy import FileState
from ibcm_bridge.policy_file.reading import file_state

logger = logging.getLogger(__name__)

type _Signature = tuple[FileState, ...]


class FileWatch[T]:
    """Watches a set of files, by their metadata at the last read."""

    def __init__(self, files: Callable[[], Iterable[Path]], read: Callable[[], T]) -> None:
        """`files` lists the current files; `read` reads them all."""
        self._files = files
        self._read = read
        self._seen: _Signature | None = None

    def read_if_changed(self) -> T | None:
        """Return the result of `read` if a file has changed, otherwise None.

        Exceptions of `read` propagate. After one, the files count as changed.
        """
        # Taken before the read, so that a change during the read counts next time.
        found = _signature(self._files())
        if found == self._seen:
            return None
        read = self._read()
        self._seen = found
        return read

    def reset(self) -> None:
        """Treat the files as changed at the next call."""
        self._seen = None


def _signature(files: Iterable[Path]) -> _Signature:
    return tuple(map(file_state, files))


class Problems:
    """The current problems. Each is logged once, and again only if it disappeared in between."""

    def __init__(self, where: str, consequence: str = "") -> None:
        """Each log line starts with `where` and ends with `consequence`."""
        self._where = where
        self._consequence = consequence
        self._known: set[str] = set()
        self._silent: set[str] = set()

    def update(self, problems: Sequence[str], *, silently: bool = False) -> bool:
        """Log new problems, unless `silently`. Return True if the last problem disappeared."""
        for problem in problems:
            if problem in self._known:
                continue
            if silently:
                self._silent.add(problem)
            else:
                logger.warning("%s: %s%s", self._where, problem, self._consequence)
        before, self._known = self._known, set(problems)
        self._silent &= self._known
        return bool(before) and not problems

    def current(self) -> list[str]:
        """Return the first line of each logged problem that has not ended, sorted."""
        logged = sorted(self._known - self._silent)
        return [f"{self._where}: {text.partition('\n')[0]}{self._consequence}" for text in logged]
