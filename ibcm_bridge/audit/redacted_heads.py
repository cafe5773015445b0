"""Heads of requests and responses for the web page, without possible secrets.

In a body, values are hidden by name. In a head, only listed fields show their value, because the
fields are few and known, and because a head's secrets (tokens, signatures, cookies, Windows
authentication) give access. In a listed field, values that look like a key are hidden too.
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
        # RFC 9110 and 9112: metadata and preferences of both sides.
        *("accept", "accept-charset", "accept-encoding", "accept-language", "accept-ranges"),
        *("age", "allow", "cache-control", "connection", "content-encoding", "content-length"),
        *("content-range", "content-type", "date", "etag", "expect", "expires", "host"),
        *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since"),
        *("keep-alive", "last-modified", "pragma", "range", "retry-after", "transfer-encoding"),
        *("user-agent", "vary"),
        # WebDAV, SOAP and BITS (protocol.md §6, §7).
        *("bits-packet-type", "bits-supported-protocols", "dav", "depth", "soapaction"),
        "translate",
        # ConfigMgr (protocol.md §5): the client GUID and the time, neither of them secret.
        *("ccmclientid", "ccmclienttimestamp"),
    )
)
"""Fields whose value is shown, in lower case. Fields that authenticate must never be listed; a test
checks them by name."""

MAX_FIELDS = 100
"""Fields of a head."""
MAX_NAME = 64
"""Bytes of a name."""
MAX_VALUE = 512
"""Characters of a value."""


def redacted(head: RequestHead) -> RequestHead:
    """A head for display. Never send it: hidden values are removed."""
    target = target_field(head.target.raw).encode("ascii", "replace")
    method = head.method[:MAX_NAME]
    return RequestHead(method, sent_target(target), redacted_fields(head.fields), head.length)


def redacted_fields(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Fields in their order, each with its value or a placeholder."""
    shown = [(name[:MAX_NAME], _value(name, value)) for name, value in fields[:MAX_FIELDS]]
    if len(fields) > MAX_FIELDS:
        shown.append((b"...", b"%d more" % (len(fields) - MAX_FIELDS)))
    return tuple(shown)


def _value(name: bytes, value: bytes) -> bytes:
    if name.decode("latin-1").lower() not in SHOWN:
        return HIDDEN.encode()
    return conceal(value.decode("latin-1"), Kind.OPEN).text[:MAX_VALUE].encode("latin-1", "replace")
