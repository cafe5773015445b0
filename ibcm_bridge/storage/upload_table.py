"""Upload sessions and their bytes, as rows of two tables in any database.

1. Bytes are stored before they are forwarded, in the transaction that checks them, and never
   change. The site system can only have bytes that are in the spool, whatever was lost in transit
   and whichever side restarted.
2. Bytes and sessions are limited in total and per client. A client at its limit loses its least
   recently used session. At a total limit, the client with the most loses one (`shares`).
3. Abandoned sessions are deleted, and their disk space is released.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType
from ibcm_bridge.shares import gives_way
from ibcm_bridge.storage.database import DatabaseError
from ibcm_bridge.storage.statements import UploadStatements
from ibcm_bridge.storage.stores import Database, Transaction
from ibcm_bridge.uploads.acknowledgement import Acknowledgement
from ibcm_bridge.uploads.session import Sender, Session, StoredObject, UploadPart, judge_packet

MIN_FRAGMENT_BYTES = 4_096
"""Bytes. Smaller fragments are combined into one row. A row has an overhead of about 150 bytes and
costs a lookup, so a client that sends single bytes would fill the disk and block others."""


class SpoolError(DatabaseError):
    """The spool cannot be used. The message has its place and the cause; nothing was changed."""


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


class UploadTable:
    """Upload sessions; a `stores.UploadStore`. Every method raises SpoolError."""

    def __init__(
        self,
        database: Database,
        statements: UploadStatements,
        place: str | StateDatabase,
        limits: SpoolLimits,
        clock: Callable[[], float],
    ) -> None:
        """`place` is where other processes find it. `clock` in seconds, the same for all."""
        self._database = database
        self._statements = statements
        self._place = place
        self._limits = limits
        self._clock = clock
        self.sweep()

    def problem(self) -> str | None:
        """Return why uploads would be lost on restart; None if they would not."""
        return self._database.problem()

    def close(self) -> None:
        """Close the database and keep its content."""
        self._database.close()

    def consider(self, packet: Packet, sender: Sender) -> tuple[Session | None, Deny | None]:
        """Check the head of a packet. Return the sender's own session, and the refusal.

        `take` makes the final decision.
        """
        if packet.type is PacketType.CREATE_SESSION:
            return None, self._refuse_session(sender, self._database.all(self._statements.counts))
        session = self.find(packet, sender)
        refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
        own = session is not None and session.sender == sender
        return session if own else None, refusal

    def find(self, packet: Packet, sender: Sender) -> Session | None:
        """The session of a packet, whichever client created it; None without one."""
        if not packet.session:
            return None
        row = self._database.one(self._statements.find, (sender.site_system, packet.session))
        return None if row is None else _session(row)

    def take(self, packet: Packet, sender: Sender, body: bytes) -> UploadPart | Deny:
        """Store the bytes of a packet. Return the part to be inspected, or the refusal."""
        if not packet.needs_session:
            return UploadPart(packet, None)
        with self._database.transaction() as transaction:
            found = transaction.execute(
                self._statements.find_to_change, (sender.site_system, packet.session)
            )
            row = found.fetchone() if packet.session else None
            session = None if row is None else _session(row)
            refusal = judge_packet(packet, sender, session, self._limits.max_bytes)
            if refusal is not None:
                return refusal
            assert session is not None
            if packet.type is PacketType.CANCEL_SESSION:
                # Even if this packet is refused later, nothing more of the session is forwarded.
                self._forget(transaction, session.name)
            if packet.range is None:
                return UploadPart(packet, session)
            refusal = self._keep(transaction, session, packet.range, body)
            if refusal is not None:
                return refusal
        return self._part(packet, session, packet.range)

    def begin(self, sender: Sender, session: str) -> Deny | None:
        """Store a session that a site system created for a client."""
        self.sweep()
        with self._database.transaction() as transaction:
            # In this transaction: each thread has one connection, and none waits for another.
            counts, limit = self._statements.counts, self._limits.sessions
            refusal = self._refuse_session(sender, transaction.execute(counts).fetchall())
            if refusal is not None:
                return refusal
            if not self._make_room(transaction, counts, limit, sender.key, 1):
                return self._too_many_sessions()
            values = (sender.site_system, session)
            if transaction.execute(self._statements.known, values).fetchone() is not None:
                return _in_use()
            listed = transaction.execute(self._statements.of_client, (sender.key,)).fetchall()
            for (name,) in listed[self._limits.per_client_sessions - 1 :]:
                self._forget(transaction, name)
            name = uuid.uuid4().hex
            row = (sender.site_system, session, sender.key, sender.path, name, self._clock())
            if transaction.execute(self._statements.add, row).rowcount == 0:
                return _in_use()
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
            with self._database.transaction() as transaction:
                # The current length, because other packets of the session may be stored since.
                found = transaction.execute(self._statements.length, (session.name,))
                (known,) = found.fetchone() or (0,)
                if acknowledgement.received > known:
                    # The site system has unknown bytes, so the spool was lost or restored.
                    detail = (
                        f"the site system acknowledged {acknowledgement.received} bytes, but only "
                        f"{known} bytes are stored"
                    )
                    return Deny(Reason.UPLOAD_SESSION, rules.UPLOADS_ACKNOWLEDGED, detail)
                row = (acknowledgement.received, self._clock(), session.name)
                transaction.execute(self._statements.acknowledged, row)
        return None

    def sweep(self) -> int:
        """Delete abandoned sessions. Return their number; 0 while another process does it."""
        before = self._clock() - self._limits.abandoned_after
        with self._database.transaction() as transaction:
            begin = self._statements.begin_sweep
            if begin is not None and transaction.execute(begin).fetchone() is None:
                return 0
            names = transaction.execute(self._statements.abandoned, (before,)).fetchall()
            for (name,) in names:
                self._forget(transaction, name)
        self._give_back()
        return len(names)

    def read(self, stored: StoredObject) -> bytes:
        """All bytes of an object."""
        return read_stored(self._database, self._statements, stored)

    def totals(self) -> tuple[int, int]:
        """The number of sessions, and of their bytes."""
        sessions, size = self._database.one(self._statements.totals) or (0, 0)
        return int(sessions), int(size)

    def _end(self, name: str) -> None:
        with self._database.transaction() as transaction:
            self._forget(transaction, name)
        self._give_back()

    def _give_back(self) -> None:
        if (give_back := self._statements.give_back) is None:
            return
        # The changes are committed already, and space that is not released is reused.
        with contextlib.suppress(SpoolError):
            self._database.all(give_back)

    def _refuse_session(self, sender: Sender, rows: list[tuple[Any, ...]]) -> Deny | None:
        counts = dict(rows)
        room = sum(counts.values()) < self._limits.sessions
        if room or gives_way(counts, sender.key, 1) is not None:
            return None
        return self._too_many_sessions()

    def _too_many_sessions(self) -> Deny:
        detail = f"{self._limits.sessions} sessions are open"
        return Deny(Reason.OVERLOADED, rules.UPLOADS_SESSIONS, detail)

    def _keep(
        self, transaction: Transaction, session: Session, place: ContentRange, body: bytes
    ) -> Deny | None:
        known = session.length - place.first
        end = min(place.last + 1, session.length)
        kept = stored_bytes(transaction, self._statements, session.name, place.first, end)
        if kept != body[: len(kept)]:
            # It is not known which of the two the site system has.
            return Deny(
                Reason.UPLOAD_CHANGED, rules.UPLOADS_OVERLAP, "other bytes than those stored"
            )
        new = body[known:]
        if new:
            self._forget_oldest(transaction, session, len(new))
            sizes, limit = self._statements.sizes, self._limits.max_total_bytes
            if not self._make_room(transaction, sizes, limit, session.sender.key, len(new)):
                detail = f"{len(new)} more bytes exceed the total limit"
                return Deny(Reason.OVERLOADED, rules.UPLOADS_MAX_TOTAL_BYTES, detail)
            after = (session.name, session.length - MIN_FRAGMENT_BYTES)
            last = transaction.execute(self._statements.last, after).fetchone()
            begin, small = last or (session.length, b"")
            transaction.execute(self._statements.keep, (session.name, begin, small + new))
        length = session.length + len(new)
        row = (place.total, length, self._clock(), session.name)
        transaction.execute(self._statements.grown, row)
        return None

    def _forget_oldest(self, transaction: Transaction, session: Session, more: int) -> None:
        """Delete the client's own oldest sessions if it exceeds its limit."""
        values = (session.sender.key, session.name)
        others = transaction.execute(self._statements.others, values).fetchall()
        too_much = session.length + more + sum(length for _, length in others)
        too_much -= self._limits.per_client_bytes
        for name, length in others:
            if too_much <= 0:
                return
            self._forget(transaction, name)
            too_much -= length

    def _part(self, packet: Packet, session: Session, place: ContentRange) -> UploadPart:
        stored = None
        if place.is_last and place.first:
            stored = StoredObject(self._place, session.name, place.total)
        return UploadPart(packet, session, place.is_last, stored)

    def _make_room(
        self, transaction: Transaction, query: str, limit: int, key: str, more: int
    ) -> bool:
        """Return whether a client may have `more`. Sessions of others are deleted for it.

        `query` returns the amount of each client.
        """
        while True:
            amounts = dict(transaction.execute(query).fetchall())
            if sum(amounts.values()) + more <= limit:
                return True
            most = gives_way(amounts, key, more)
            if most is None:
                return False
            listed = transaction.execute(self._statements.of_client, (most,)).fetchall()
            if not listed:
                # All of them are being changed by other transactions.
                return False
            self._forget(transaction, listed[-1][0])

    def _forget(self, transaction: Transaction, name: str) -> None:
        transaction.execute(self._statements.forget, (name,))
        transaction.execute(self._statements.forget_bytes, (name,))


_PIECE = 8_388_608
"""Bytes of an object that are read in one transaction."""


def read_stored(database: Database, statements: UploadStatements, stored: StoredObject) -> bytes:
    """All bytes of an object, which are only appended to."""
    pieces = []
    for first in range(0, stored.length, _PIECE):
        end = min(first + _PIECE, stored.length)
        with database.transaction() as transaction:
            pieces.append(stored_bytes(transaction, statements, stored.name, first, end))
    whole = b"".join(pieces)
    if len(whole) != stored.length:
        raise database.error("has an incomplete upload")
    return whole


def stored_bytes(
    transaction: Transaction, statements: UploadStatements, name: str, first: int, end: int
) -> bytes:
    """The stored bytes of a session from offset `first` up to, but not including, `end`."""
    values = {"name": name, "first": first, "end": end}
    pieces = transaction.execute(statements.overlapping, values).fetchall()
    return b"".join(piece[max(0, first - begin) : end - begin] for begin, piece in pieces)


def _in_use() -> Deny:
    # [MC-BUP] §2.2.1.2: unique among all sessions of a server. GUIDs ignore case.
    detail = "the session id is already in use"
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.UPLOADS_SESSION, detail)


def _session(row: tuple[Any, ...]) -> Session:
    site_system, identifier, key, path, name, total, length, acknowledged, _ = row
    return Session(identifier, Sender(key, site_system, path), name, total, length, acknowledged)
