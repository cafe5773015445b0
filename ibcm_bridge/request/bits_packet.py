"""A packet of an upload: what the header fields of a BITS_POST say ([MC-BUP] §2.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.head import RequestHead


class PacketType(StrEnum):
    """What a client can send. In lower case; servers do not tell cases apart."""

    PING = "ping"
    CREATE_SESSION = "create-session"
    FRAGMENT = "fragment"
    CLOSE_SESSION = "close-session"
    CANCEL_SESSION = "cancel-session"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Where a fragment belongs: offsets of its first and last byte, and the size of the whole."""

    first: int
    last: int
    total: int

    @property
    def length(self) -> int:
        """Bytes."""
        return self.last - self.first + 1

    @property
    def is_last(self) -> bool:
        """Whether nothing comes after it."""
        return self.last + 1 == self.total


@dataclass(frozen=True, slots=True)
class Packet:
    """A well-formed packet. `range` is there exactly for a fragment."""

    type: PacketType
    session: str = ""
    """As sent; empty where none is named."""
    range: ContentRange | None = None

    @property
    def needs_session(self) -> bool:
        """Whether it is of a session. A Ping names none ([MC-BUP] §2.2.4.2); one that does is one:
        the answer could tell a thief whether there is one, and keep it alive."""
        return bool(self.session) or self.type not in (PacketType.PING, PacketType.CREATE_SESSION)

    def describe(self) -> str:
        """A few words for the audit."""
        place = self.range
        where = f" {place.first}-{place.last}/{place.total}" if place is not None else ""
        return f"{self.type}{where}" + (f" of {self.session}" if self.session else "")


PROTOCOL = b"{7df0354d-249b-430f-820d-3d2a9bef4931}"
"""The only one there is ([MC-BUP] §1.7.1)."""

_SESSION = re.compile(rb"[0-9A-Za-z{}-]{1,100}")
"""A GUID; a server's id may have 100 characters (Microsoft, "Ack for Create-Session")."""

_NUMBER = rb"(0|[1-9][0-9]{0,17})"
_RANGE = re.compile(rb"bytes %b-%b/%b" % (_NUMBER, _NUMBER, _NUMBER), re.IGNORECASE)
"""RFC 9110 §14.4, of a size that is known."""

MAX_FIELD = 4_096
"""Bytes of a field's value ([MC-BUP] §2.2.1): Windows' server takes no longer ones."""

MAX_PROTOCOLS = 100
"""Which Windows' server takes at most ([MC-BUP] note 6)."""

_FIELDS = (
    b"bits-packet-type",
    b"bits-session-id",
    b"bits-supported-protocols",
    b"content-range",
    b"content-name",
)


def read_packet(head: RequestHead) -> Packet | Deny:
    """Read the head of a BITS_POST, as the client has sent it."""
    for name in _FIELDS:
        values = head.values(name)
        if len(values) > 1:
            return _malformed(name.decode("ascii"), "given more than once")
        if values and len(values[0]) > MAX_FIELD:
            return _malformed(name.decode("ascii"), f"more than {MAX_FIELD} bytes")
    if head.values(b"content-encoding"):
        # Servers take the identity only, and say so; a coded fragment would be kept as it is.
        return _malformed("content-encoding", "a coded fragment")
    named = (head.value(b"bits-packet-type") or b"").lower()
    try:
        kind = PacketType(named.decode("latin-1"))
    except ValueError:
        return _malformed("bits-packet-type", "none, or not one that is known")
    session = head.value(b"bits-session-id") or b""
    if session and not _SESSION.fullmatch(session):
        return _malformed("bits-session-id", "not a session id")
    if kind is PacketType.FRAGMENT:
        return _fragment(head, session)
    if head.length:
        return _malformed("content-length", f"a body with {kind}")
    if head.values(b"content-range"):
        return _malformed("content-range", f"a range with {kind}")
    if kind is PacketType.CREATE_SESSION:
        return _create(head, session)
    if kind is not PacketType.PING and not session:
        return _malformed("bits-session-id", "none")
    return Packet(kind, session.decode("ascii"))


def read_content_range(head: RequestHead) -> ContentRange | None:
    """Where a fragment says it belongs, be it possible or not; None where it does not say so."""
    found = _RANGE.fullmatch(head.value(b"content-range") or b"")
    return None if found is None else ContentRange(*map(int, found.groups()))


def _fragment(head: RequestHead, session: bytes) -> Packet | Deny:
    if head.length is None:
        # [MC-BUP] §2.2.1.1: on every request. Only where there is no body, its absence says so too.
        return Deny(Reason.LENGTH_REQUIRED, rules.HEAD_CONTENT_LENGTH, "no Content-Length")
    if not session:
        return _malformed("bits-session-id", "none")
    place = read_content_range(head)
    if place is None:
        return _malformed("content-range", "none, or not bytes first-last/total")
    if not place.first <= place.last < place.total:
        return _malformed("content-range", "not a range of the whole")
    if place.length != head.length:
        return _malformed("content-range", f"{place.length} bytes, and Content-Length says another")
    return Packet(PacketType.FRAGMENT, session.decode("ascii"), place)


def _create(head: RequestHead, session: bytes) -> Packet | Deny:
    if session:
        return _malformed("bits-session-id", "one that is not created yet")
    offered = (head.value(b"bits-supported-protocols") or b"").lower().replace(b",", b" ").split()
    if len(offered) > MAX_PROTOCOLS or PROTOCOL not in offered:
        # What another protocol would be cannot be inspected.
        return _malformed("bits-supported-protocols", f"not {PROTOCOL.decode('ascii')}")
    return Packet(PacketType.CREATE_SESSION)


def _malformed(field: str, detail: str) -> Deny:
    return Deny(Reason.UPLOAD_PACKET, rules.UPLOADS_FIELD.of(field), detail)
