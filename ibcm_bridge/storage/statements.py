"""The statements of a store. Each kind of database has its own, in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BindingStatements:
    """The statements of one kind of database."""

    find: str
    find_to_change: str
    """As `find`; no other transaction changes the row meanwhile."""
    page_after: str
    add: str
    """Insert a row unless its client GUID has one."""
    change: str
    """Insert a row, in place of the one of its client GUID."""
    forget: str


@dataclass(frozen=True, slots=True)
class UploadStatements:
    """The statements of one kind of database. A session is named by its random name.

    A statement that deletes sessions of others skips one that another transaction is changing.
    """

    find: str
    find_to_change: str
    """As `find`; no other transaction changes the session meanwhile."""
    known: str
    """As `find`, whatever the case of the session id."""
    length: str
    """The length of a session, which no other transaction changes meanwhile."""
    add: str
    """Insert a session unless its id is in use."""
    grown: str
    acknowledged: str
    forget: str
    forget_bytes: str
    abandoned: str
    of_client: str
    """The sessions of a client, the most recently used first."""
    others: str
    """Name and length of the other sessions of a client, the least recently used first."""
    counts: str
    """Each client and the number of its sessions."""
    sizes: str
    """Each client and the number of its bytes."""
    totals: str
    """The number of sessions, and of their bytes."""
    keep: str
    """Insert bytes, or replace those at the same offset."""
    overlapping: str
    """Offset and bytes of the pieces with bytes of a range, by `name`, `first` and `end`."""
    last: str
    """The last piece of a session that begins after an offset."""
    begin_sweep: str | None
    """Returns a row if no other process sweeps; None if none can."""
    give_back: str | None
    """Release disk space; None if the database does."""
