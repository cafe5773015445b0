"""The spool: sessions and their bytes, in one SQLite file that several bridges use at once.

1. Bytes are kept before they are sent, in the transaction that judges them, and nothing ever
   changes them. So what a site system can have of a session is what lies here, whatever was lost on
   the way, and whichever side restarted.
2. How much lies here is bounded: bytes and sessions in all, and of one client, of whose sessions
   the one unused for longest makes room for another, or for more bytes of another.
3. What nobody has used for a while is thrown away, and its room given back to the disk.
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
from ibcm_bridge.storage.database import DatabaseError, DatabaseKind, SharedDatabase
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Sender, Session, StoredObject, UploadPart, judge_packet

APPLICATION = 0x6962636F
"""Says in the file's head what it is: "ibco"."""


class SpoolError(DatabaseError):
    """The spool cannot be used, and why, in words. Nothing has been changed."""


# Neither STRICT nor RETURNING, as in `binding_rows`.
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
    # So that what is thrown away is given back. Only a file that is still empty takes it.
    settings=("PRAGMA auto_vacuum = INCREMENTAL",),
    # Of what a site system has been sent, nothing may be lost here.
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
_IN_ALL = "SELECT count(*), total(length) FROM sessions"
_KEEP = "INSERT OR REPLACE INTO fragments VALUES (?, ?, ?)"
_OVERLAPPING = """
    SELECT first, bytes FROM fragments
    WHERE name = :name AND first < :end AND first + length(bytes) > :first AND first >=
        (SELECT ifnull(max(first), 0) FROM fragments WHERE name = :name AND first <= :first)
    ORDER BY first
"""
_LAST = "SELECT first, bytes FROM fragments WHERE name = ? AND first > ?"

MIN_FRAGMENT_BYTES = 4_096
"""Bytes. What comes in smaller fragments is put together: a row takes some 150 bytes, and each is
looked up, so a client that sends byte by byte would fill the disk and keep everybody waiting."""

_GIVE_BACK = "PRAGMA incremental_vacuum(4096)"
"""Pages, 16 MB: meanwhile nobody else can write. What is left is given back the next time."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much there may be. Sizes in bytes."""

    max_bytes: int
    """One object."""
    max_total_bytes: int
    """All objects together."""
    sessions: int
    per_client_sessions: int
    """Sessions of one client; one more, and its oldest is forgotten."""
    per_client_bytes: int
    """All objects of one client; for more, its oldest are forgotten."""
    abandoned_after: float
    """Seconds without a packet."""


class Spool:
    """Every method raises SpoolError. For one thread at a time."""

    def __init__(self, path: Path, limits: SpoolLimits, clock: Callable[[], float]) -> None:
        """Open the file, or make it. `clock` in seconds, the same for all processes."""
        self._path = path.absolute()
        self._limits = limits
        self._clock = clock
        self._database = SharedDatabase(path, _KIND)
        self.sweep()

    def close(self) -> None:
        """Close the file. What it holds stays."""
        self._database.close()

    def judge_head(self, packet: Packet, sender: Sender) -> tuple[Session | None, Deny | None]:
        """What its head alone says of a packet: the sender's own session that it is of, and why it
        may not go on. `take` has the last word."""
        if packet.type is PacketType.CREATE_SESSION:
            return None, self._room_for_another()
        session = self.find(packet, sender)
        refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
        own = session is not None and session.sender == sender
        return session if own else None, refusal

    def find(self, packet: Packet, sender: Sender) -> Session | None:
        """The session that a packet names, whosever it is."""
        if not packet.session:
            return None
        row = self._database.one(_FIND, (sender.site_system, packet.session))
        return None if row is None else _session(row)

    def take(self, packet: Packet, sender: Sender, body: bytes) -> UploadPart | Deny:
        """Keep what a packet brings, and say how it is to be inspected; or why it is refused."""
        if not packet.needs_session:
            return UploadPart(packet, None)
        with self._database.transaction() as database:
            session = self.find(packet, sender)
            refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
            if refusal is not None:
                return refusal
            assert session is not None
            if packet.type is PacketType.CANCEL_SESSION:
                # Whatever becomes of the packet, nothing more of this session will be sent on.
                _forget(database, session.name)
            if packet.range is None:
                return UploadPart(packet, session)
            refusal = self._keep(database, session, packet.range, body)
            if refusal is not None:
                return refusal
        return self._part(packet, session, packet.range)

    def begin(self, sender: Sender, session: str) -> Deny | None:
        """Keep a session that a site system has created for a client."""
        self.sweep()
        with self._database.transaction() as database:
            refusal = self._room_for_another()
            if refusal is not None:
                return refusal
            known = database.execute(_KNOWN, (sender.site_system, session)).fetchone()
            if known is not None:
                # [MC-BUP] §2.2.1.2: unique among all sessions of a server, and a GUID is the same
                # in other letters.
                detail = "a session that there is already"
                return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.UPLOADS_SESSION, detail)
            names = [name for (name,) in database.execute(_OF_CLIENT, (sender.key,))]
            for name in names[self._limits.per_client_sessions - 1 :]:
                _forget(database, name)
            name = uuid.uuid4().hex
            row = (sender.site_system, session, sender.key, sender.path, name, self._clock())
            database.execute(_ADD, row)
        return None

    def acknowledge(self, part: UploadPart, acknowledgement: Acknowledgement) -> Deny | None:
        """Follow what the site system says of a session; why the session cannot go on."""
        session = part.session
        if session is None:
            return None
        ended = acknowledgement.succeeded and part.packet.type is PacketType.CLOSE_SESSION
        if ended or acknowledgement.forgotten:
            self._end(session.name)
        elif acknowledgement.received is not None and part.packet.range is not None:
            with self._database.transaction() as database:
                # By now: other packets of the session may have come first.
                (known,) = database.execute(_LENGTH, (session.name,)).fetchone() or (0,)
                if acknowledgement.received > known:
                    # It has bytes that were never seen here: a spool that was lost, or put back.
                    detail = f"it has {acknowledgement.received} bytes, and {known} are known"
                    return Deny(Reason.UPLOAD_SESSION, rules.UPLOADS_ACKNOWLEDGED, detail)
                row = (acknowledgement.received, self._clock(), session.name)
                database.execute(_ACKNOWLEDGED, row)
        return None

    def sweep(self) -> int:
        """Throw away what has been abandoned; how many sessions that were."""
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
        # What a session came to is committed; room that is not given back is used again.
        with contextlib.suppress(SpoolError):
            self._database.all(_GIVE_BACK)

    def _room_for_another(self) -> Deny | None:
        row = self._database.one(_IN_ALL)
        assert row is not None
        if row[0] >= self._limits.sessions:
            detail = f"{row[0]} sessions are under way"
            return Deny(Reason.OVERLOADED, rules.UPLOADS_SESSIONS, detail)
        return None

    def _keep(
        self, database: sqlite3.Connection, session: Session, place: ContentRange, body: bytes
    ) -> Deny | None:
        known = session.length - place.first
        kept = _bytes(database, session.name, place.first, min(place.last + 1, session.length))
        if kept != body[: len(kept)]:
            # Which of the two a site system has is not known here: it must not matter.
            return Deny(Reason.UPLOAD_CHANGED, rules.UPLOADS_OVERLAP, "other bytes than before")
        new = body[known:]
        if new:
            self._make_room(database, session, len(new))
            (_, size) = database.execute(_IN_ALL).fetchone()
            if size + len(new) > self._limits.max_total_bytes:
                detail = f"{len(new)} bytes are more than there is room for"
                return Deny(Reason.OVERLOADED, rules.UPLOADS_MAX_TOTAL_BYTES, detail)
            last = database.execute(
                _LAST, (session.name, session.length - MIN_FRAGMENT_BYTES)
            ).fetchone()
            begin, small = last or (session.length, b"")
            database.execute(_KEEP, (session.name, begin, small + new))
        length = session.length + len(new)
        database.execute(_GROWN, (place.total, length, self._clock(), session.name))
        return None

    def _make_room(self, database: sqlite3.Connection, session: Session, more: int) -> None:
        """A client over its share loses its own oldest sessions, not those of others."""
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
    """All bytes of an object, to be inspected in another process. Raises SpoolError."""
    try:
        database = sqlite3.connect(f"{Path(stored.spool).as_uri()}?mode=ro", uri=True)
        try:
            whole = _bytes(database, stored.name, 0, stored.length)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise SpoolError(f"{stored.spool} cannot be read: {error}") from error
    if len(whole) != stored.length:
        raise SpoolError(f"{stored.spool}: an upload is not whole")
    return whole


def _bytes(database: sqlite3.Connection, name: str, first: int, end: int) -> bytes:
    """The bytes of a session from offset `first` on, before `end`."""
    pieces = []
    wanted = {"name": name, "first": first, "end": end}
    for begin, piece in database.execute(_OVERLAPPING, wanted):
        pieces.append(piece[max(0, first - begin) : end - begin])
    return b"".join(pieces)


def _forget(database: sqlite3.Connection, name: str) -> None:
    database.execute(_FORGET, (name,))
    database.execute(_FORGET_BYTES, (name,))


def _session(row: tuple[Any, ...]) -> Session:
    site_system, identifier, key, path, name, total, length, acknowledged, _ = row
    return Session(identifier, Sender(key, site_system, path), name, total, length, acknowledged)
