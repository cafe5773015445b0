"""The heads of requests and responses, for people who look on: without possible secrets.

Bodies are shown by name as far as no name speaks against it; a head is the other way round. There
are few fields, all of them known, and the secrets of a head (tokens, signatures, cookies, what
Windows authentication says) are worth more to a stranger than those of a message: they let him in.
So a value is shown only of a field that is listed here, and of that nothing that looks like a key.
"""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.audit.record import target_field
from ibcm_bridge.messages.views.concealing import HIDDEN, Kind, conceal
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.target import sent_target

type Fields = Sequence[tuple[bytes, bytes]]

SHOWN = frozenset(
    (
        # RFC 9110 and 9112: what both sides say of a message and want of the other.
        *("accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges"),
        *("age", "allow", "cache-control", "connection", "content-encoding", "content-length"),
        *("content-range", "content-type", "date", "etag", "expect", "expires", "host"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
        *("keep-alive", "last-modified", "pragma", "range", "retry-after", "transfer-encoding"),
        *("user-agent", "vary"),
        # WebDAV, SOAP and BITS (protocol.md §6, §7).
        *("bits-packet-type", "bits-supported-protocols", "dav", "depth", "soapaction"),
        "translate",
        # ConfigMgr's own (protocol.md §5): who, and when; neither is a secret.
        *("ccmclientid", "ccmclienttimestamp"),
    )
)
"""Fields of which the value is shown, in lower case. Those by which anybody authenticates must
never be: they are tested for by name."""

MAX_FIELDS = 100
MAX_NAME = 64
MAX_VALUE = 512
"""Of one head: fields, bytes of a name, characters of a value."""


def redacted(head: RequestHead) -> RequestHead:
    """A head to be looked at. Not one to be sent: what is hidden has gone from it."""
    target = target_field(head.target.raw).encode("ascii", "replace")
    method = head.method[:MAX_NAME]
    return RequestHead(method, sent_target(target), redacted_fields(head.fields), head.length)


def redacted_fields(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Fields in their order, each with its value or with the word that there is one."""
    shown = [(name[:MAX_NAME], _value(name, value)) for name, value in fields[:MAX_FIELDS]]
    if len(fields) > MAX_FIELDS:
        shown.append((b"...", b"%d more" % (len(fields) - MAX_FIELDS)))
    return tuple(shown)


def _value(name: bytes, value: bytes) -> bytes:
    if name.decode("latin-1").lower() not in SHOWN:
        return HIDDEN.encode()
    return conceal(value.decode("latin-1"), Kind.OPEN).text[:MAX_VALUE].encode("latin-1", "replace")
