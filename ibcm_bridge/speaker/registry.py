"""The bindings, kept in one SQLite file by several bridges and the command line at once.

1. Who reads never waits, and sees what any process has committed (write-ahead log). Who writes
   waits a second for another writer.
2. Each change is one transaction that says what stands afterwards, so of two that learn the same
   client GUID at once one wins, and the other is told who it is.
3. Every row is held to its form when it is written and when it is read: what is damaged is an
   error, never a client GUID that nothing is known of.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ibcm_bridge.speaker.bindings import Binding, confirms
from ibcm_bridge.speaker.rows import TABLE, binding_of, row_of

VERSION = 1
"""Of the tables; a file of a newer one is refused."""

APPLICATION = 0x6962636D
"""Says in the file's head whose database it is: "ibcm"."""

WAIT_SECONDS = 1.0
"""How long a writer waits for another."""

_PAGE = 500
"""Rows that are read at once of many."""

_FIND = "SELECT * FROM bindings WHERE guid = ?"
_PAGE_AFTER = "SELECT * FROM bindings WHERE guid > ? ORDER BY guid LIMIT ?"
_ADD = "INSERT INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_CHANGE = "REPLACE INTO bindings VALUES (?, ?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM bindings WHERE guid = ?"


class RegistryError(Exception):
    """The registry cannot be used, and why, in words with its path. Nothing has been changed."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of bindings that were imported."""

    added: int
    replaced: int
    unchanged: int
    """They said nothing that did not stand already."""
    kept: tuple[tuple[Binding, Binding], ...]
    """What stands, and what was said instead."""


class Registry:
    """Client GUID -> `Binding`. For the thread that made it. Every method raises RegistryError."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or make one that only its owner reads. None: kept in memory."""
        self._place = "the registry in memory" if path is None else str(path)
        try:
            if path is not None:
                with contextlib.suppress(FileExistsError):
                    path.touch(0o600, exist_ok=False)
            self._database = sqlite3.connect(
                ":memory:" if path is None else path, timeout=WAIT_SECONDS, isolation_level=None
            )
        except (OSError, sqlite3.Error) as error:
            raise self._error(error) from error
        try:
            self._open(in_memory=path is None)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. What was committed is in it already."""
        self._database.close()

    def find(self, guid: str) -> Binding | None:
        """What a client GUID (as `guids.read_guid` has it) is bound to; None: it is not known."""
        try:
            row = self._database.execute(_FIND, (guid,)).fetchone()
            return None if row is None else binding_of(row)
        except (sqlite3.Error, ValueError) as error:
            raise self._error(error) from error

    def add(self, binding: Binding) -> Binding:
        """Bind a client GUID that is not bound; what stands afterwards, this one or an earlier."""
        row = self._row(binding)
        with self._transaction() as database:
            database.execute(_ADD, row)
            standing = self.find(binding.guid)
        assert standing is not None
        return standing

    def replace(self, old: Binding, new: Binding) -> Binding | None:
        """Put `new` where exactly `old` stands; what stands afterwards, None if nothing does.

        ValueError where they are of two client GUIDs.
        """
        if old.guid != new.guid:
            raise ValueError("one client GUID cannot take the place of another")
        row = self._row(new)
        with self._transaction() as database:
            standing = self.find(old.guid)
            if standing == old:
                database.execute(_CHANGE, row)
                return new
            return standing

    def forget(self, guid: str) -> bool:
        """Take a client GUID out; whether there was one."""
        with self._transaction() as database:
            return database.execute(_FORGET, (guid,)).rowcount > 0

    def all(self) -> Iterator[Binding]:
        """All bindings, by client GUID. What changes meanwhile may be among them or not."""
        # Page by page: a statement left open would hold its view, and the log could not be emptied.
        last = ""
        while True:
            try:
                rows = self._database.execute(_PAGE_AFTER, (last, _PAGE)).fetchall()
                page = [binding_of(row) for row in rows]
            except (sqlite3.Error, ValueError) as error:
                raise self._error(error) from error
            yield from page
            if len(page) < _PAGE:
                return
            last = page[-1].guid

    def take_in(self, bindings: Iterable[Binding], *, replace: bool = False) -> Imported:
        """Import bindings, all or none. One that is bound otherwise is kept, unless `replace`."""
        added = replaced = unchanged = 0
        kept = []
        # Before the transaction, in which a bridge waits that wants to write.
        rows = [(said, self._row(said)) for said in bindings]
        with self._transaction() as database:
            for said, row in rows:
                standing = self.find(said.guid)
                if standing is None:
                    database.execute(_ADD, row)
                    added += 1
                elif confirms(standing, said):
                    unchanged += 1
                elif replace:
                    database.execute(_CHANGE, row)
                    replaced += 1
                else:
                    kept.append((standing, said))
        return Imported(added, replaced, unchanged, tuple(kept))

    def _open(self, *, in_memory: bool) -> None:
        # Asks to write, although it may only read: a bridge should learn now that it cannot.
        with self._transaction() as database:
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            (application,) = database.execute("PRAGMA application_id").fetchone()
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if (tables, application, version) == (0, 0, 0):
                database.execute(TABLE)
                database.execute(f"PRAGMA application_id = {APPLICATION}")
                database.execute(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION:
                raise RegistryError(f"{self._place} is a database of something else")
            elif version > VERSION:
                raise RegistryError(
                    f"{self._place} was written by a newer ibcm-bridge: "
                    f"its tables are version {version}, this one knows {VERSION}"
                )
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise RegistryError(f"{self._place} is damaged: {found}")
        if not in_memory:
            self._write_ahead()

    def _write_ahead(self) -> None:
        try:
            self._database.execute("PRAGMA synchronous = NORMAL")
            mode = self._journal_mode()
        except sqlite3.Error as error:
            raise self._error(error) from error
        if mode != "wal":
            raise RegistryError(
                f"{self._place} cannot be shared by processes where it is (a network folder?)"
            )

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
            with self._transaction():
                pass
        raise RegistryError(f"{self._place} {_WORDS[sqlite3.SQLITE_BUSY]}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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
                raise self._error(error) from error
            raise

    def _row(self, binding: Binding) -> tuple[object, ...]:
        try:
            return row_of(binding)
        except ValueError as error:
            raise RegistryError(f"{self._place} cannot keep a binding: {error}") from error

    def _error(self, error: OSError | sqlite3.Error | ValueError) -> RegistryError:
        """What went wrong, in words. A ValueError is of a row that was read."""
        if isinstance(error, OSError):
            return RegistryError(f"{self._place} cannot be made: {error.strerror}")
        if isinstance(error, ValueError):
            return RegistryError(f"{self._place} is damaged: {error}")
        words = _WORDS.get(_code(error), f"cannot be used: {error}")
        return RegistryError(f"{self._place} {words}")


_TRIES = 5
"""More openings at once than that, each in the way of this one, there are not."""

# https://www.sqlite.org/rescode.html
_WORDS = {
    sqlite3.SQLITE_BUSY: f"has been locked by another process for {WAIT_SECONDS:g} s",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; file and folder must be there and writable",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk or its file system fails",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_PERM: "cannot be opened: permission denied",
    sqlite3.SQLITE_READONLY: "is read-only; file and folder must be writable",
}


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
