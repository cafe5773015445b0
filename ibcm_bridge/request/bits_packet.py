"""Parses the header fields of a BITS upload packet ([MC-BUP] §2.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.head import RequestHead


class PacketType(StrEnum):
    """The packet types of clients, in lower case; servers ignore case."""

    PING = "ping"
    CREATE_SESSION = "create-session"
    FRAGMENT = "fragment"
    CLOSE_SESSION = "close-session"
    CANCEL_SESSION = "cancel-session"


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The range of a fragment: offsets of its first and last byte, and the size of the upload."""

    first: int
    last: int
    total: int

    @property
    def length(self) -> int:
        """Size of the fragment in bytes."""
        return self.last - self.first + 1

    @property
    def is_last(self) -> bool:
        """True if the fragment ends the upload."""
        return self.last + 1 == self.total


@dataclass(frozen=True, slots=True)
class Packet:
    """A well-formed packet. Only a fragment has a `range`."""

    type: PacketType
    session: str = ""
    """As sent; empty if absent."""
    range: ContentRange | None = None

    @property
    def needs_session(self) -> bool:
        """True if the packet belongs to a session.

        A Ping names none ([MC-BUP] §2.2.4.2). A Ping that names one is treated as a packet of that
        session: its response could disclose a session of another client, and keep it alive.
        """
        return bool(self.session) or self.type not in (PacketType.PING, PacketType.CREATE_SESSION)

    def describe(self) -> str:
        """A short description for the audit."""
        place = self.range
        where = f" {place.first}-{place.last}/{place.total}" if place is not None else ""
        return f"{self.type}{where}" + (f" of {self.session}" if self.session else "")


PROTOCOL = b"{7df0354d-249b-430f-820d-3d2a9bef4931}"
"""The only defined protocol ([MC-BUP] §1.7.1)."""

_SESSION = re.compile(rb"[0-9A-Za-z{}-]{1,100}")
"""A GUID. The session ID of a server can have 100 characters (Microsoft, "Ack for
Create-Session")."""

_NUMBER = rb"(0|[1-9][0-9]{0,17})"
_RANGE = re.compile(rb"bytes %b-%b/%b" % (_NUMBER, _NUMBER, _NUMBER), re.IGNORECASE)
"""RFC 9110 §14.4, with a known size."""

MAX_FIELD = 4_096
"""Bytes of a field value ([MC-BUP] §2.2.1): the Windows server accepts no longer values."""

MAX_PROTOCOLS = 100
"""The limit of the Windows server ([MC-BUP] note 6)."""

_FIELDS = (
    b"bits-packet-type",
    b"bits-session-id",
    b"bits-supported-protocols",
    b"content-range",
    b"content-name",
)


def read_packet(head: RequestHead) -> Packet | Deny:
    """Parse the head of a BITS_POST, as sent by the client."""
    for name in _FIELDS:
        values = head.values(name)
        if len(values) > 1:
            return _malformed(name.decode("ascii"), "the field is repeated")
        if values and len(values[0]) > MAX_FIELD:
            return _malformed(name.decode("ascii"), f"the value has more than {MAX_FIELD} bytes")
    if head.values(b"content-encoding"):
        # Servers accept and announce only the identity coding, and would store a coded fragment
        # without decoding it.
        return _malformed("content-encoding", "the fragment has a Content-Encoding")
    type_name = (head.value(b"bits-packet-type") or b"").lower()
    try:
        kind = PacketType(type_name.decode("latin-1"))
    except ValueError:
        return _malformed("bits-packet-type", "the type is absent or unknown")
    session = head.value(b"bits-session-id") or b""
    if session and not _SESSION.fullmatch(session):
        return _malformed("bits-session-id", "the session ID is malformed")
    if kind is PacketType.FRAGMENT:
        return _fragment(head, session)
    if head.length:
        return _malformed("content-length", f"{kind} has a body")
    if head.values(b"content-range"):
        return _malformed("content-range", f"{kind} has a range")
    if kind is PacketType.CREATE_SESSION:
        return _create(head, session)
    if kind is not PacketType.PING and not session:
        return _malformed("bits-session-id", "no session ID")
    return Packet(kind, session.decode("ascii"))


def read_content_range(head: RequestHead) -> ContentRange | None:
    """The range of a fragment, even if it is impossible; None if it is absent or malformed."""
    found = _RANGE.fullmatch(head.value(b"content-range") or b"")
    return None if found is None else ContentRange(*map(int, found.groups()))


def _fragment(head: RequestHead, session: bytes) -> Packet | Deny:
    if head.length is None:
        # [MC-BUP] §2.2.1.1 requires it. Without it, a fragment would have no body (RFC 9112 §6.3).
        return Deny(Reason.LENGTH_REQUIRED, rules.HEAD_CONTENT_LENGTH, "no Content-Length")
    if not session:
        return _malformed("bits-session-id", "no session ID")
    place = read_content_range(head)
    if place is None:
        return _malformed("content-range", "not: bytes first-last/total")
    if not place.first <= place.last < place.total:
        return _malformed("content-range", "the range is outside the upload")
    if place.length != head.length:
        return _malformed(
            "content-range",
            f"the range has {place.length} bytes, but Content-Length is {head.length} bytes",
        )
    return Packet(PacketType.FRAGMENT, session.decode("ascii"), place)


def _create(head: RequestHead, session: bytes) -> Packet | Deny:
    if session:
        return _malformed("bits-session-id", "Create-Session must not name a session")
    offered = (head.value(b"bits-supported-protocols") or b"").lower().replace(b",", b" ").split()
    if len(offered) > MAX_PROTOCOLS or PROTOCOL not in offered:
        # Another protocol cannot be inspected.
        return _malformed(
            "bits-supported-protocols", f"the client does not offer {PROTOCOL.decode('ascii')}"
        )
    return Packet(PacketType.CREATE_SESSION)


def _malformed(field: str, detail: str) -> Deny:
    return Deny(Reason.UPLOAD_PACKET, rules.UPLOADS_FIELD.of(field), detail)
