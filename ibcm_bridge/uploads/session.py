"""Decide whether a packet may be forwarded in its session. `storage.upload_table` stores them."""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType


@dataclass(frozen=True, slots=True)
class Sender:
    """The client and the destination of a packet."""

    key: str
    """SHA-256 of the client's public key, which a renewed certificate may keep."""
    site_system: str
    path: str


@dataclass(frozen=True, slots=True)
class Session:
    """The state of an upload."""

    id: str
    """The site system's session id."""
    sender: Sender
    name: str
    """The name of the bytes in the spool: random, and never reused."""
    total: int | None = None
    """Bytes of the object; None before the first fragment."""
    length: int = 0
    """Bytes stored: all forwarded bytes, and those to be forwarded next."""
    acknowledged: int = 0
    """The offset that the site system expects next."""

    @property
    def is_whole(self) -> bool:
        """True if the site system has acknowledged all bytes."""
        return self.acknowledged == self.total


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The location of a complete object, for the inspection in another process."""

    spool: str | StateDatabase
    """The path of the spool, or the database."""
    name: str
    """The name of the session in the spool; its bytes are only appended to."""
    length: int


@dataclass(frozen=True, slots=True)
class UploadPart:
    """A packet that was checked against its session. Made by `UploadTable.take` only."""

    packet: Packet
    session: Session | None
    """None if the packet needs none."""
    whole: bool = False
    """Whether the packet has the last byte, so that the complete object must be inspected now."""
    stored: StoredObject | None = None
    """The location of the complete object; None if the packet has all of it, or not the end."""


def judge_packet(
    packet: Packet, sender: Sender, session: Session | None, max_bytes: int
) -> Deny | None:
    """Return the refusal of a packet, or None."""
    if not packet.needs_session:
        return None
    if session is None:
        return Deny(Reason.UPLOAD_SESSION, rules.UPLOADS_SESSION, "the session is unknown")
    if session.sender.key != sender.key:
        return Deny(Reason.UPLOAD_OF_ANOTHER, rules.UPLOADS_SESSION, "another client's session")
    if session.sender != sender:
        return Deny(
            Reason.UPLOAD_CHANGED, rules.UPLOADS_PATH, "the session was created at another path"
        )
    if packet.range is not None:
        return _judge_range(packet.range, session, max_bytes)
    if packet.type is PacketType.CLOSE_SESSION and not session.is_whole:
        # A management point would create a file from the received bytes ([MC-BUP] §3.2.5.1.2).
        total = session.total or "an unknown number of"
        detail = f"{session.acknowledged} of {total} bytes are acknowledged"
        return Deny(Reason.UPLOAD_INCOMPLETE, rules.UPLOADS_CLOSE, detail)
    return None


def _judge_range(place: ContentRange, session: Session, max_bytes: int) -> Deny | None:
    if place.total > max_bytes:
        detail = f"{place.total} bytes; the limit is {max_bytes} bytes"
        return Deny(Reason.UPLOAD_TOO_LARGE, rules.UPLOADS_MAX_BYTES, detail)
    if session.total not in (None, place.total):
        detail = f"a total of {place.total} bytes, previously {session.total} bytes"
        return Deny(Reason.UPLOAD_CHANGED, rules.UPLOADS_TOTAL, detail)
    if place.first > session.length:
        detail = f"a fragment at byte {place.first}, but only {session.length} bytes are stored"
        return Deny(Reason.UPLOAD_GAP, rules.UPLOADS_GAP, detail, received=session.acknowledged)
    return None
