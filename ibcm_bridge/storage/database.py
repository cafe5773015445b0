"""One SQLite file that several bridges and the command line use at once.

1. Who reads never waits, and sees what any process has committed (write-ahead log). Who writes
   waits a second for another writer.
2. Each change is one transaction, done whole or not at all.
3. A file of something else, of a newer version, damaged or on a file system that cannot be shared
   is refused when it is opened, and every error is in words, with the file's path.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_SECONDS = 1.0
"""How long a writer waits for another."""

LOG_BYTES = 16_777_216
"""What the write-ahead log is cut to, once what is in it stands in the file."""


class DatabaseError(Exception):
    """The file cannot be used, and why, in words with its path. Nothing has been changed."""


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """What a file is for, and what tells it from files of other kinds."""

    in_memory: str
    """What it is called in words where there is no file."""
    application: int
    """Four letters in the file's head (SQLite's application_id)."""
    version: int
    """Of the tables; a file of a newer one is refused."""
    tables: tuple[str, ...]
    """The statements that make them."""
    settings: tuple[str, ...] = ()
    """Statements for a new file, before there is anything in it."""
    synchronous: str = "NORMAL"
    """SQLite's word; NORMAL may lose the last changes when the machine fails, FULL none."""
    error: type[DatabaseError] = DatabaseError


class SharedDatabase:
    """Every method raises the kind's error. For one thread at a time."""

    def __init__(self, path: Path | None, kind: DatabaseKind) -> None:
        """Open the file, or make one that only its owner reads. None: kept in memory."""
        self._place = kind.in_memory if path is None else str(path)
        self._kind = kind
        try:
            if path is not None:
                with contextlib.suppress(FileExistsError):
                    path.touch(0o600, exist_ok=False)
            self._database = sqlite3.connect(
                ":memory:" if path is None else path,
                timeout=WAIT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise self.explained(error) from error
        try:
            self._open(in_memory=path is None)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Close the file. What was committed is in it already."""
        self._database.close()

    def one(self, question: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a result."""
        return next(iter(self._rows(question, values, 1)), None)

    def all(self, question: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        return self._rows(question, values, -1)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is done inside is done whole or not at all, and nobody else writes meanwhile."""
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except BaseException as error:
            # A full disk has ended the transaction already, a closed database never had one.
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self.explained(error) from error
            raise

    def explained(self, error: OSError | sqlite3.Error | ValueError) -> DatabaseError:
        """What went wrong, in words. A ValueError is of a row that was read."""
        if isinstance(error, OSError):
            return self.error(
                f"cannot be made: {error.strerror}; its folder must be there and writable"
            )
        if isinstance(error, ValueError):
            return self.error(f"is damaged: {error}")
        return self.error(_WORDS.get(_code(error), f"cannot be used: {error}"))

    def error(self, words: str) -> DatabaseError:
        """An error of this file."""
        return self._kind.error(f"{self._place} {words}")

    def _rows(self, question: str, values: Sequence[object], count: int) -> list[tuple[Any, ...]]:
        try:
            found = self._database.execute(question, values)
            return found.fetchmany(count) if count > 0 else found.fetchall()
        except sqlite3.Error as error:
            raise self.explained(error) from error

    def _open(self, *, in_memory: bool) -> None:
        kind = self._kind
        try:
            for setting in kind.settings:
                self._database.execute(setting)
        except sqlite3.Error as error:
            raise self.explained(error) from error
        # Asks to write, although it may only read: a bridge should learn now that it cannot.
        with self.transaction() as database:
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if (tables, application, version) == (0, 0, 0):
                for table in kind.tables:
                    database.execute(table)
                database.execute(f"PRAGMA application_id = {kind.application}")
                database.execute(f"PRAGMA user_version = {kind.version}")
            elif application != kind.application:
                raise self.error("is a database of something else")
            elif version > kind.version:
                raise self.error(
                    "was written by a newer ibcm-bridge: "
                    f"its tables are version {version}, this one knows {kind.version}"
                )
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise self.error(f"is damaged: {found}")
        if not in_memory:
            self._write_ahead()

    def _write_ahead(self) -> None:
        try:
            self._database.execute(f"PRAGMA synchronous = {self._kind.synchronous}")
            # What the log needed for a large change, it does not need for ever.
            self._database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            mode = self._journal_mode()
        except sqlite3.Error as error:
            raise self.explained(error) from error
        if mode != "wal":
            raise self.error("cannot be shared by processes where it is (a network folder?)")

    def _journal_mode(self) -> str:
        """Change over to the write-ahead log, which the file remembers."""
        for _ in range(_TRIES):
            try:
                (mode,) = self._database.execute("PRAGMA journal_mode = WAL").fetchone()
                return str(mode)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY:
                    raise
            # SQLite does not wait here for another process that is about to do the same
            # (a reader cannot wait to become the writer); before a transaction it does.
            with self.transaction():
                pass
        raise self.error(_WORDS[sqlite3.SQLITE_BUSY])


_TRIES = 5
"""More openings at once than that, each in the way of this one, there are not."""

# https://www.sqlite.org/rescode.html
_WORDS = {
    sqlite3.SQLITE_BUSY: f"has been locked by another process for {WAIT_SECONDS:g} s",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; file and folder must be there and writable",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk or its file system fails",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied; file and folder must be writable",
    sqlite3.SQLITE_READONLY: "is read-only; file and folder must be writable",
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
