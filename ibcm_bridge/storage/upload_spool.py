"""The upload spool in a SQLite file that several bridges share: `upload_table`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from ibcm_bridge.storage.database import DatabaseKind, SharedDatabase
from ibcm_bridge.storage.statements import UploadStatements
from ibcm_bridge.storage.upload_table import SpoolError, SpoolLimits, UploadTable, stored_bytes
from ibcm_bridge.uploads.session import StoredObject

APPLICATION = 0x6962636F
"""SQLite's application_id in the file header: "ibco"."""

# Without STRICT and RETURNING, as in `binding_rows`.
_KIND = DatabaseKind(
    "the spool in memory",
    APPLICATION,
    1,
    (
        """
        CREATE TABLE sessions (
            site_system TEXT NOT NULL,
            id TEXT NOT NULL,
            key TEXT NOT NULL,
            path TEXT NOT NULL,
            name TEXT NOT NULL UNIQUE,
            total INTEGER,
            length INTEGER NOT NULL,
            acknowledged INTEGER NOT NULL,
            used REAL NOT NULL,
            PRIMARY KEY (site_system, id)
        )
        """,
        """
        CREATE TABLE fragments (
            name TEXT NOT NULL,
            first INTEGER NOT NULL,
            bytes BLOB NOT NULL,
            PRIMARY KEY (name, first)
        )
        """,
    ),
    # Releases the space of deleted sessions. SQLite accepts it only for an empty file.
    settings=("PRAGMA auto_vacuum = INCREMENTAL",),
    # Bytes that were forwarded must not be lost in a power failure.
    synchronous="FULL",
    error=SpoolError,
)

_FIND = "SELECT * FROM sessions WHERE site_system = ? AND id = ?"

# A transaction of `SharedDatabase` is alone: no statement locks or skips a row.
_STATEMENTS = UploadStatements(
    find=_FIND,
    find_to_change=_FIND,
    known=f"{_FIND} COLLATE NOCASE",
    length="SELECT length FROM sessions WHERE name = ?",
    add="INSERT INTO sessions VALUES (?, ?, ?, ?, ?, NULL, 0, 0, ?) ON CONFLICT DO NOTHING",
    grown="UPDATE sessions SET total = ?, length = ?, used = ? WHERE name = ?",
    acknowledged="UPDATE sessions SET acknowledged = ?, used = ? WHERE name = ?",
    forget="DELETE FROM sessions WHERE name = ?",
    forget_bytes="DELETE FROM fragments WHERE name = ?",
    abandoned="SELECT name FROM sessions WHERE used < ?",
    of_client="SELECT name FROM sessions WHERE key = ? ORDER BY used DESC",
    others="SELECT name, length FROM sessions WHERE key = ? AND name != ? ORDER BY used",
    counts="SELECT key, count(*) FROM sessions GROUP BY key",
    sizes="SELECT key, sum(length) FROM sessions GROUP BY key",
    totals="SELECT count(*), ifnull(sum(length), 0) FROM sessions",
    keep="INSERT OR REPLACE INTO fragments VALUES (?, ?, ?)",
    overlapping="""
        SELECT first, bytes FROM fragments
        WHERE name = :name AND first < :end AND first + length(bytes) > :first AND first >=
            (SELECT ifnull(max(first), 0) FROM fragments WHERE name = :name AND first <= :first)
        ORDER BY first
    """,
    last="SELECT first, bytes FROM fragments WHERE name = ? AND first > ?",
    begin_sweep=None,
    # 4,096 pages are 16 MB. Other processes cannot write meanwhile. The rest is released later.
    give_back="PRAGMA incremental_vacuum(4096)",
)


class Spool(UploadTable):
    """An open spool file. For one thread at a time. Every method raises SpoolError."""

    def __init__(self, path: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        """Open the file, or create it. `clock` in seconds, the same for all processes."""
        place = str(path.absolute())
        super().__init__(SharedDatabase(path, _KIND), _STATEMENTS, place, limits, clock)


def read_object(stored: StoredObject) -> bytes:
    """All bytes of an object in a file, for the inspection in another process.

    Raises SpoolError.
    """
    assert isinstance(stored.spool, str)
    try:
        database = sqlite3.connect(f"{Path(stored.spool).as_uri()}?mode=ro", uri=True)
        try:
            whole = stored_bytes(database, _STATEMENTS, stored.name, 0, stored.length)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolError(f"{stored.spool} cannot be read: {error}") from error
    if len(whole) != stored.length:
        raise SpoolError(f"{stored.spool}: an upload is incomplete")
    return whole
