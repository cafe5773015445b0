"""A SQLite file that several bridges and the command line share.

1. Readers never wait, and see the committed changes of all processes (write-ahead log). A writer
   waits up to a second for another writer.
2. Each change is an atomic transaction.
3. Opening a file fails if it has another application, a newer version or damage, or if its file
   system cannot be shared. Every error message has the file's path and the cause.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WAIT_SECONDS = 1.0
"""Seconds that a writer waits for another."""

LOG_BYTES = 16_777_216
"""The size to which the write-ahead log is truncated after a checkpoint."""


class DatabaseError(Exception):
    """The file cannot be used. The message has its path and the cause; nothing was changed."""

    of_statement = False
    """True if only this use failed, because of the rows that it needs. Others can succeed."""


@dataclass(frozen=True, slots=True)
class DatabaseKind:
    """The kind of a database file."""

    in_memory: str
    """The name in messages if the database has no file."""
    application: int
    """Four letters in the file header (SQLite's application_id)."""
    version: int
    """The version of the tables; a file with a newer version is refused."""
    tables: tuple[str, ...]
    """The statements that create the tables."""
    settings: tuple[str, ...] = ()
    """Statements for a new, still empty file."""
    synchronous: str = "NORMAL"
    """SQLite's setting: with NORMAL a power failure may lose the last changes, with FULL none."""
    error: type[DatabaseError] = DatabaseError


class SharedDatabase:
    """An open database. Every method raises the kind's error. For one thread at a time."""

    def __init__(self, path: Path | None, kind: DatabaseKind) -> None:
        """Open the file, or create it, readable only by its owner. None: in memory."""
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
        self._path = path
        try:
            self._open(in_memory=path is None)
            self._identity = None if path is None else _identity(path)
        except OSError as error:
            self._database.close()
            raise self.error(_not_checked(error)) from error
        except BaseException:
            self._database.close()
            raise

    def problem(self) -> str | None:
        """Return why changes could be lost on restart; None if they would not.

        SQLite keeps using a file that was deleted or replaced, and one whose folder has become
        inaccessible.
        """
        if self._path is None:
            return None
        try:
            found = _identity(self._path)
        except OSError as error:
            return f"{self._place} {_not_checked(error)}"
        if found == self._identity:
            return None
        what = "was deleted" if found is None else "was replaced by another file"
        return f"{self._place} {what} while it was in use; restart the bridge"

    def close(self) -> None:
        """Close the file. Committed changes are already in it."""
        self._database.close()

    def one(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a result; None without rows."""
        return next(iter(self._rows(query, values, 1)), None)

    def all(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        return self._rows(query, values, -1)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """An atomic transaction; no other process can write during it."""
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except BaseException as error:
            # A full disk has already ended the transaction; a closed database never began one.
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self.explained(error) from error
            raise

    def explained(self, error: OSError | sqlite3.Error | ValueError) -> DatabaseError:
        """Convert an error to one with a path and a cause. A ValueError is from an invalid row."""
        if isinstance(error, OSError):
            return self.error(
                f"cannot be created: {error.strerror}; its folder must exist and be writable"
            )
        if isinstance(error, ValueError):
            return self.error(f"is damaged: {error}")
        return self.error(_WORDS.get(_code(error), f"cannot be used: {error}"))

    def error(self, words: str) -> DatabaseError:
        """An error with the path of this file."""
        return self._kind.error(f"{self._place} {words}")

    def _rows(self, query: str, values: Sequence[object], count: int) -> list[tuple[Any, ...]]:
        try:
            found = self._database.execute(query, values)
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
        # A write transaction, even if nothing is written, so that a read-only file fails now.
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
                raise self.error("is a database of another application")
            elif version > kind.version:
                raise self.error(
                    "was written by a newer ibcm-bridge: "
                    f"its tables have version {version}, this one supports {kind.version}"
                )
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise self.error(f"is damaged: {found}")
        if not in_memory:
            self._write_ahead()

    def _write_ahead(self) -> None:
        try:
            self._database.execute(f"PRAGMA synchronous = {self._kind.synchronous}")
            # Shrink the log again after a large change.
            self._database.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            mode = self._journal_mode()
        except sqlite3.Error as error:
            raise self.explained(error) from error
        if mode != "wal":
            raise self.error(
                "cannot be shared by processes on this file system; use a local folder"
            )

    def _journal_mode(self) -> str:
        """Switch to the write-ahead log, which is a persistent setting of the file."""
        for _ in range(_TRIES):
            try:
                (mode,) = self._database.execute("PRAGMA journal_mode = WAL").fetchone()
                return str(mode)
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY:
                    raise
            # SQLite does not wait here for another process that switches the mode, too (a reader
            # cannot wait to become a writer). It does wait at the beginning of a transaction.
            with self.transaction():
                pass
        raise self.error(_WORDS[sqlite3.SQLITE_BUSY])


_TRIES = 5
"""More attempts than processes that plausibly open the file at the same time."""

# https://www.sqlite.org/rescode.html
_WORDS = {
    sqlite3.SQLITE_BUSY: f"has been locked by another process for {WAIT_SECONDS:g} s",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; file and folder must exist and be writable",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: an I/O error of the disk or file system",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied; file and folder must be writable",
    sqlite3.SQLITE_READONLY: "is read-only; file and folder must be writable",
}


def _identity(path: Path) -> tuple[int, int] | None:
    """The file system and the number of a file; None if it does not exist. Raise OSError."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _not_checked(error: OSError) -> str:
    return f"cannot be checked: {error.strerror or type(error).__name__}"


def row_count(path: Path, query: str) -> tuple[Any, ...]:
    """The first row of a query on a file, read-only. In any thread. Raises sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as it:
        return tuple(it.execute(query).fetchone())


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error from Python itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
