"""May this packet go on in this session? `storage.upload_spool` keeps the sessions."""

from __future__ import annotations

from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.bits_packet import ContentRange, Packet, PacketType


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose packet it is, and where it is going."""

    key: str
    """SHA-256 of the client's public key: a renewed certificate of the same key is the same."""
    site_system: str
    path: str


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of one upload."""

    id: str
    """The site system's."""
    sender: Sender
    name: str
    """Ours, by which its bytes are found: random, and never used again."""
    total: int | None = None
    """Bytes of the whole; None before the first fragment."""
    length: int = 0
    """Bytes kept: all that have ever been sent on, and those that may be next."""
    acknowledged: int = 0
    """The offset that the site system wants next."""

    @property
    def is_whole(self) -> bool:
        """Whether the site system has acknowledged all of it."""
        return self.acknowledged == self.total


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where a whole object lies, to be inspected in another process."""

    spool: str
    """Path of the spool."""
    name: str
    """Of the session; what is kept under it only grows."""
    length: int


@dataclass(frozen=True, slots=True)
class UploadPart:
    """What a packet carries, once it fits into its session. Made by `Spool.take` only."""

    packet: Packet
    session: Session | None
    """None for what needs none."""
    whole: bool = False
    """Whether it brings the last byte, so that everything must be inspected now."""
    stored: StoredObject | None = None
    """Where the whole lies; None where the packet alone is the whole, or is not to be all."""


def judge_packet(
    packet: Packet, sender: Sender, session: Session | None, max_bytes: int
) -> Deny | None:
    """Why a packet may not go on; None where it may."""
    if not packet.needs_session:
        return None
    if session is None:
        return Deny(Reason.UPLOAD_SESSION, rules.UPLOADS_SESSION, "no such session is known")
    if session.sender.key != sender.key:
        return Deny(Reason.UPLOAD_OF_ANOTHER, rules.UPLOADS_SESSION, "another client's session")
    if session.sender != sender:
        return Deny(Reason.UPLOAD_CHANGED, rules.UPLOADS_PATH, "begun at another path")
    if packet.range is not None:
        return _judge_range(packet.range, session, max_bytes)
    if packet.type is PacketType.CLOSE_SESSION and not session.is_whole:
        # A management point makes a file of what there is ([MC-BUP] §3.2.5.1.2).
        had = f"{session.acknowledged} of {session.total or 'no known number of'} bytes"
        return Deny(Reason.UPLOAD_INCOMPLETE, rules.UPLOADS_CLOSE, had)
    return None


def _judge_range(place: ContentRange, session: Session, max_bytes: int) -> Deny | None:
    if place.total > max_bytes:
        detail = f"{place.total} of at most {max_bytes} bytes"
        return Deny(Reason.UPLOAD_TOO_LARGE, rules.UPLOADS_MAX_BYTES, detail)
    if session.total not in (None, place.total):
        detail = f"{place.total} bytes in all, and {session.total} before"
        return Deny(Reason.UPLOAD_CHANGED, rules.UPLOADS_TOTAL, detail)
    if place.first > session.length:
        detail = f"from {place.first}, and {session.length} bytes are known"
        return Deny(Reason.UPLOAD_GAP, rules.UPLOADS_GAP, detail, received=session.acknowledged)
    return None
