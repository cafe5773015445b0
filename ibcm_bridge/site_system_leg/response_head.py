"""The head of a response: the end of its body (RFC 9112 §6.3), and the fields for the client."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.challenge import FIELD as CHALLENGE_FIELD
from ibcm_bridge.site_system_leg.challenge import challenge_for_client
from ibcm_bridge.site_system_leg.location import FIELDS, location_for_client
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.upload_hosts import FIELDS as UPLOAD_FIELDS
from ibcm_bridge.site_system_leg.upload_hosts import upload_hosts_for_client

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",  # RFC 9110 §11.7.1: for the bridge, which does not authenticate
        b"proxy-authentication-info",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110 §7.6.1: fields of the site-system leg."""

_INTERNAL = frozenset(
    (
        b"server",  # RFC 9110 §10.2.4: the version helps attackers
        b"x-powered-by",
        b"x-aspnet-version",
        b"x-aspnetmvc-version",
        b"alt-svc",  # RFC 7838: another address of the site system, which bypasses the bridge
        b"via",  # RFC 9110 §7.6.3: internal proxies
        b"refresh",  # not standardized; redirects like Location
        b"link",  # RFC 8288
        b"clear-site-data",  # applies to the publication's name, like the next one
        b"strict-transport-security",
    )
)
"""Fields about a site system or other hosts. No client in protocol.md uses them."""

_DROPPED = _HOP_BY_HOP | _INTERNAL

_DESCRIBE_BODY = frozenset(
    (b"content-length", b"content-encoding", b"content-type", b"content-range")
)
"""The body is forwarded unchanged, so these fields are too, even if Connection names them."""


@dataclass(frozen=True, slots=True)
class ClientFields:
    """The fields of a response for the client, except framing."""

    fields: tuple[tuple[bytes, bytes], ...]
    replaced: tuple[str, ...]
    """Names of fields in which the publication's name replaces the site system's."""
    removed: tuple[str, ...] = ()
    """Names of fields that were removed because they name another host."""
    other_schemes: bool = False
    """True if schemes other than Negotiate and NTLM were removed from a challenge."""

    @property
    def note(self) -> str:
        """The note for the audit."""
        notes = []
        if self.other_schemes:
            notes.append("WWW-Authenticate: schemes other than Negotiate and NTLM were removed")
        if self.replaced:
            notes.append(f"{', '.join(self.replaced)}: the site system's name was replaced")
        if self.removed:
            notes.append(f"{', '.join(self.removed)}: removed, as it names another host")
        return "; ".join(notes)


class BodyEnd(enum.Enum):
    """The way in which a response body ends."""

    NO_BODY = "no body"
    COUNTED = "counted"
    CHUNKED = "chunked"
    CLOSE = "close"


def body_end(response: ReceivedHead, head: RequestHead) -> BodyEnd:
    """Return how the body of the response to `head` ends."""
    if head.method == b"HEAD" or response.status in (204, 304):
        return BodyEnd.NO_BODY
    if response.values(b"transfer-encoding"):
        return BodyEnd.CHUNKED
    return BodyEnd.CLOSE if response.length is None else BodyEnd.COUNTED


def ends_connection(response: ReceivedHead) -> bool:
    """Return whether the site system closes its leg after this response."""
    return asks_to_close(response.values(b"connection")) or response.http_1_0


def asks_to_close(connection_values: Iterable[bytes]) -> bool:
    """Return whether a Connection field has `close` (RFC 9112 §9.6)."""
    return any(b"close" in value.lower() for value in connection_values)


def fields_for_client(
    response: ReceivedHead,
    origin: bytes,
    own_names: Collection[str],
    upload_hosts: UploadHosts = UploadHosts.DROP,
) -> ClientFields | Deny:
    """Return the fields for the client, without hop-by-hop and internal ones, or a refusal.

    `origin` is that of the client's request; `own_names` are the names of the site system.
    """
    dropped = _DROPPED
    # RFC 9110 §7.6.1: the options in Connection name fields of the site-system leg.
    for value in response.values(b"connection"):
        options = {option.strip().lower() for option in value.split(b",")}
        dropped |= options - _DESCRIBE_BODY
    named = [(lower, value) for lower, _, value in response.fields if lower in UPLOAD_FIELDS]
    hosts = upload_hosts_for_client(named, origin, own_names, upload_hosts) if named else {}
    fields: list[tuple[bytes, bytes]] = []
    replaced: list[str] = []
    removed: list[str] = []
    other_schemes = False
    for lower, name, value in response.fields:
        if lower in dropped:
            continue
        if lower == CHALLENGE_FIELD:
            challenge = challenge_for_client(value)
            other_schemes |= challenge != value
            if challenge:
                fields.append((name, challenge))
            continue
        if lower in UPLOAD_FIELDS:
            host = hosts.get(lower)
            if host is None:
                removed.append(name.decode("ascii"))
                continue
            if host != value:
                replaced.append(name.decode("ascii"))
                value = host  # noqa: PLW2901
        if lower in FIELDS:
            location = location_for_client(value, origin, own_names)
            if isinstance(location, Deny):
                return location
            if location != value:
                replaced.append(name.decode("ascii"))
                value = location  # noqa: PLW2901
        fields.append((name, value))
    return ClientFields(tuple(fields), tuple(replaced), tuple(removed), other_schemes)


def head_for_client(
    response: ReceivedHead, client_fields: ClientFields, end: BodyEnd, *, keep_alive: bool
) -> bytes:
    """The head for the client: that of the site system, with the framing of the client leg."""
    # The standard phrase: that of the site system may be any text, without a meaning (RFC 9112 §4).
    lines = [b"HTTP/1.1 %d %b" % (response.status, phrase(response.status))]
    # RFC 9112 §6.3: h11 accepts a length with a transfer coding, which overrides it. A 204 has no
    # length (RFC 9110 §8.6).
    no_length = end is BodyEnd.CHUNKED or response.status == 204
    lines += [
        b"%b: %b" % (name, value)
        for name, value in client_fields.fields
        if not (no_length and name.lower() == b"content-length")
    ]
    if end is BodyEnd.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def phrase(status: int) -> bytes:
    """The standard phrase of a status; empty if it has none."""
    return _PHRASES.get(status, b"")


def chunk(data: bytes) -> bytes:
    """A chunk (RFC 9112 §7.1). Without data it is the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
