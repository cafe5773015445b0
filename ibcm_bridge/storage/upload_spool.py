"""The spool: upload sessions and their bytes, in a SQLite file that several bridges share.

1. Bytes are stored before they are forwarded, in the transaction that checks them, and never
   change. The site system can only have bytes that are in the spool, whatever was lost in transit
   and whichever side restarted.
2. Bytes and sessions are limited in total and per client. A client at its limit loses its least
   recently used session. At a total limit, the client with the most loses one (`shares`).
3. Abandoned sessions are deleted, and their disk space is released.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType
from ibcm_bridge.shares import gives_way
from ibcm_bridge.storage.database import DatabaseError, DatabaseKind, SharedDatabase
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Sender, Session, StoredObject, UploadPart, judge_packet

APPLICATION = 0x6962636F
"""SQLite's application_id in the file header: "ibco"."""


class SpoolError(DatabaseError):
    """The spool cannot be used. The message has its path and the cause; nothing was changed."""


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
_KNOWN = f"{_FIND} COLLATE NOCASE"
_LENGTH = "SELECT length FROM sessions WHERE name = ?"
_ADD = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, NULL, 0, 0, ?) ON CONFLICT DO NOTHING"
_GROWN = "UPDATE sessions SET total = ?, length = ?, used = ? WHERE name = ?"
_ACKNOWLEDGED = "UPDATE sessions SET acknowledged = ?, used = ? WHERE name = ?"
_FORGET = "DELETE FROM sessions WHERE name = ?"
_FORGET_BYTES = "DELETE FROM fragments WHERE name = ?"
_ABANDONED = "SELECT name FROM sessions WHERE used < ?"
_OF_CLIENT = "SELECT name FROM sessions WHERE key = ? ORDER BY used DESC"
_OTHERS = "SELECT name, length FROM sessions WHERE key = ? AND name != ? ORDER BY used"
_COUNTS = "SELECT key, count(*) FROM sessions GROUP BY key"
_SIZES = "SELECT key, sum(length) FROM sessions GROUP BY key"
_KEEP = "INSERT OR REPLACE INTO fragments VALUES (?, ?, ?)"
_OVERLAPPING = """
    SELECT first, bytes FROM fragments
    WHERE name = :name AND first < :end AND first + length(bytes) > :first AND first >=
        (SELECT ifnull(max(first), 0) FROM fragments WHERE name = :name AND first <= :first)
    ORDER BY first
"""
_LAST = "SELECT first, bytes FROM fragments WHERE name = ? AND first > ?"

MIN_FRAGMENT_BYTES = 4_096
"""Bytes. Smaller fragments are combined into one row. A row has an overhead of about 150 bytes and
costs a lookup, so a client that sends single bytes would fill the disk and block others."""

_GIVE_BACK = "PRAGMA incremental_vacuum(4096)"
"""4,096 pages are 16 MB. Other processes cannot write meanwhile. The rest is released later."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """The limits of a spool. Sizes in bytes."""

    max_bytes: int
    """Size of an object."""
    max_total_bytes: int
    """Total size of all objects."""
    sessions: int
    per_client_sessions: int
    """Sessions of a client; a further one deletes its oldest."""
    per_client_bytes: int
    """Total size of a client's objects; more bytes delete its oldest sessions."""
    abandoned_after: float
    """Seconds without a packet."""


class Spool:
    """An open spool. Every method raises SpoolError. For one thread at a time."""

    def __init__(self, path: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        """Open the file, or create it. `clock` in seconds, the same for all processes."""
        self._path = path.absolute()
        self._limits = limits
        self._clock = clock
        self._database = SharedDatabase(path, _KIND)
        self.sweep()

    def problem(self) -> str | None:
        """Return why uploads would be lost on restart; None if they would not."""
        return self._database.problem()

    def close(self) -> None:
        """Close the file and keep its content."""
        self._database.close()

    def judge_head(self, packet: Packet, sender: Sender) -> tuple[Session | None, Deny | None]:
        """Check the head of a packet. Return the sender's own session, and the refusal.

        `take` makes the final decision.
        """
        if packet.type is PacketType.CREATE_SESSION:
            return None, self._refuse_session(sender)
        session = self.find(packet, sender)
        refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
        own = session is not None and session.sender == sender
        return session if own else None, refusal

    def find(self, packet: Packet, sender: Sender) -> Session | None:
        """The session of a packet, whichever client created it; None without one."""
        if not packet.session:
            return None
        row = self._database.one(_FIND, (sender.site_system, packet.session))
        return None if row is None else _session(row)

    def take(self, packet: Packet, sender: Sender, body: bytes) -> UploadPart | Deny:
        """Store the bytes of a packet. Return the part to be inspected, or the refusal."""
        if not packet.needs_session:
            return UploadPart(packet, None)
        with self._database.transaction() as database:
            session = self.find(packet, sender)
            refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
            if refusal is not None:
                return refusal
            assert session is not None
            if packet.type is PacketType.CANCEL_SESSION:
                # Even if this packet is refused later, nothing more of the session is forwarded.
                _forget(database, session.name)
            if packet.range is None:
                return UploadPart(packet, session)
            refusal = self._keep(database, session, packet.range, body)
            if refusal is not None:
                return refusal
        return self._part(packet, session, packet.range)

    def begin(self, sender: Sender, session: str) -> Deny | None:
        """Store a session that a site system created for a client."""
        self.sweep()
        with self._database.transaction() as database:
            refusal = self._refuse_session(sender)
            if refusal is not None:
                return refusal
            _make_room(database, _COUNTS, self._limits.sessions, sender.key, 1)
            known = database.execute(_KNOWN, (sender.site_system, session)).fetchone()
            if known is not None:
                # [MC-BUP] §2.2.1.2: unique among all sessions of a server. GUIDs ignore case.
                detail = "the session id is already in use"
                return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.UPLOADS_SESSION, detail)
            names = [name for (name,) in database.execute(_OF_CLIENT, (sender.key,))]
            for name in names[self._limits.per_client_sessions - 1 :]:
                _forget(database, name)
            name = uuid.uuid4().hex
            row = (sender.site_system, session, sender.key, sender.path, name, self._clock())
            database.execute(_ADD, row)
        return None

    def acknowledge(self, part: UploadPart, acknowledgement: Acknowledgement) -> Deny | None:
        """Update a session by the site system's response. Return a refusal, or None."""
        session = part.session
        if session is None:
            return None
        ended = acknowledgement.succeeded and part.packet.type is PacketType.CLOSE_SESSION
        if ended or acknowledgement.forgotten:
            self._end(session.name)
        elif acknowledgement.received is not None and part.packet.range is not None:
            with self._database.transaction() as database:
                # The current length, because other packets of the session may be stored since.
                (known,) = database.execute(_LENGTH, (session.name,)).fetchone() or (0,)
                if acknowledgement.received > known:
                    # The site system has unknown bytes, so the spool was lost or restored.
                    detail = (
                        f"the site system acknowledged {acknowledgement.received} bytes, but only "
                        f"{known} bytes are stored"
                    )
                    return Deny(Reason.UPLOAD_SESSION, rules.UPLOADS_ACKNOWLEDGED, detail)
                row = (acknowledgement.received, self._clock(), session.name)
                database.execute(_ACKNOWLEDGED, row)
        return None

    def sweep(self) -> int:
        """Delete abandoned sessions. Return their number."""
        before = self._clock() - self._limits.abandoned_after
        with self._database.transaction() as database:
            names = [name for (name,) in database.execute(_ABANDONED, (before,))]
            for name in names:
                _forget(database, name)
        self._give_back()
        return len(names)

    def _end(self, name: str) -> None:
        with self._database.transaction() as database:
            _forget(database, name)
        self._give_back()

    def _give_back(self) -> None:
        # The changes are committed already, and space that is not released is reused.
        with contextlib.suppress(SpoolError):
            self._database.all(_GIVE_BACK)

    def _refuse_session(self, sender: Sender) -> Deny | None:
        counts = dict(self._database.all(_COUNTS))
        room = sum(counts.values()) < self._limits.sessions
        if room or gives_way(counts, sender.key, 1) is not None:
            return None
        detail = f"{self._limits.sessions} sessions are open"
        return Deny(Reason.OVERLOADED, rules.UPLOADS_SESSIONS, detail)

    def _keep(
        self, database: sqlite3.Connection, session: Session, place: ContentRange, body: bytes
    ) -> Deny | None:
        known = session.length - place.first
        kept = _bytes(database, session.name, place.first, min(place.last + 1, session.length))
        if kept != body[: len(kept)]:
            # It is not known which of the two the site system has.
            return Deny(
                Reason.UPLOAD_CHANGED, rules.UPLOADS_OVERLAP, "other bytes than those stored"
            )
        new = body[known:]
        if new:
            self._forget_oldest(database, session, len(new))
            limit = self._limits.max_total_bytes
            if not _make_room(database, _SIZES, limit, session.sender.key, len(new)):
                detail = f"{len(new)} more bytes exceed the total limit"
                return Deny(Reason.OVERLOADED, rules.UPLOADS_MAX_TOTAL_BYTES, detail)
            last = database.execute(
                _LAST, (session.name, session.length - MIN_FRAGMENT_BYTES)
            ).fetchone()
            begin, small = last or (session.length, b"")
            database.execute(_KEEP, (session.name, begin, small + new))
        length = session.length + len(new)
        database.execute(_GROWN, (place.total, length, self._clock(), session.name))
        return None

    def _forget_oldest(self, database: sqlite3.Connection, session: Session, more: int) -> None:
        """Delete the client's own oldest sessions if it exceeds its limit."""
        others = database.execute(_OTHERS, (session.sender.key, session.name)).fetchall()
        too_much = session.length + more + sum(length for _, length in others)
        too_much -= self._limits.per_client_bytes
        for name, length in others:
            if too_much <= 0:
                return
            _forget(database, name)
            too_much -= length

    def _part(self, packet: Packet, session: Session, place: ContentRange) -> UploadPart:
        stored = None
        if place.is_last and place.first:
            stored = StoredObject(str(self._path), session.name, place.total)
        return UploadPart(packet, session, place.is_last, stored)


def read_object(stored: StoredObject) -> bytes:
    """All bytes of an object, for the inspection in another process. Raises SpoolError."""
    try:
        database = sqlite3.connect(f"{Path(stored.spool).as_uri()}?mode=ro", uri=True)
        try:
            whole = _bytes(database, stored.name, 0, stored.length)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolError(f"{stored.spool} cannot be read: {error}") from error
    if len(whole) != stored.length:
        raise SpoolError(f"{stored.spool}: an upload is incomplete")
    return whole


def _bytes(database: sqlite3.Connection, name: str, first: int, end: int) -> bytes:
    """The bytes of a session from offset `first` up to, but not including, `end`."""
    pieces = []
    wanted = {"name": name, "first": first, "end": end}
    for begin, piece in database.execute(_OVERLAPPING, wanted):
        pieces.append(piece[max(0, first - begin) : end - begin])
    return b"".join(pieces)


def _make_room(database: sqlite3.Connection, query: str, limit: int, key: str, more: int) -> bool:
    """Return whether a client may have `more`. Sessions of others are deleted for it.

    `query` returns what each client has.
    """
    while True:
        amounts = dict(database.execute(query).fetchall())
        if sum(amounts.values()) + more <= limit:
            return True
        most = gives_way(amounts, key, more)
        if most is None:
            return False
        *_, (oldest,) = database.execute(_OF_CLIENT, (most,))
        _forget(database, oldest)


def _forget(database: sqlite3.Connection, name: str) -> None:
    database.execute(_FORGET, (name,))
    database.execute(_FORGET_BYTES, (name,))


def _session(row: tuple[Any, ...]) -> Session:
    site_system, identifier, key, path, name, total, length, acknowledged, _ = row
    return Session(identifier, Sender(key, site_system, path), name, total, length, acknowledged)
