"""The head of a response: the end of its body (RFC 9112 §6.3), and the fields for the client."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

import h11

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.challenge import FIELD as CHALLENGE_FIELD
from ibcm_bridge.site_system_leg.challenge import challenge_for_client
from ibcm_bridge.site_system_leg.location import FIELDS, location_for_client
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


def body_end(response: h11.Response, head: RequestHead) -> BodyEnd:
    """Return how the body of the response to `head` ends."""
    if head.method == b"HEAD" or response.status_code in (204, 304):
        return BodyEnd.NO_BODY
    names = {name for name, _ in response.headers}
    if b"transfer-encoding" in names:
        return BodyEnd.CHUNKED
    return BodyEnd.COUNTED if b"content-length" in names else BodyEnd.CLOSE


def field_values(response: h11.Response, lower_name: bytes) -> list[bytes]:
    """The values of all fields with this name."""
    return [value for name, value in response.headers if name == lower_name]


def content_length(response: h11.Response) -> int:
    """Content-Length in bytes. h11 refuses repeated and malformed ones."""
    return int(field_values(response, b"content-length")[0])


def ends_connection(response: h11.Response) -> bool:
    """Return whether the site system closes its leg after this response."""
    return asks_to_close(field_values(response, b"connection")) or response.http_version < b"1.1"


def asks_to_close(connection_values: list[bytes]) -> bool:
    """Return whether a Connection field has `close` (RFC 9112 §9.6)."""
    return any(b"close" in value.lower() for value in connection_values)


def fields_for_client(
    response: h11.Response,
    origin: bytes,
    own_names: Collection[str],
    upload_hosts: UploadHosts = UploadHosts.DROP,
) -> ClientFields | Deny:
    """Return the fields for the client, without hop-by-hop and internal ones, or a refusal.

    `origin` is that of the client's request; `own_names` are the names of the site system.
    """
    dropped = _HOP_BY_HOP | _INTERNAL
    # RFC 9110 §7.6.1: the options in Connection name fields of the site-system leg.
    for name, value in response.headers:
        if name == b"connection":
            options = {option.strip().lower() for option in value.split(b",")}
            dropped |= options - _DESCRIBE_BODY
    hosts = upload_hosts_for_client(list(response.headers), origin, own_names, upload_hosts)
    fields: list[tuple[bytes, bytes]] = []
    replaced: list[str] = []
    removed: list[str] = []
    other_schemes = False
    for name, value in response.headers.raw_items():
        lower = name.lower()
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
    response: h11.Response, client_fields: ClientFields, end: BodyEnd, *, keep_alive: bool
) -> bytes:
    """The head for the client: that of the site system, with the framing of the client leg."""
    # The standard phrase: that of the site system may be any text, without a meaning (RFC 9112 §4).
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, phrase(response.status_code))]
    # RFC 9112 §6.3: h11 accepts a length with a transfer coding, which overrides it. A 204 has no
    # length (RFC 9110 §8.6).
    no_length = end is BodyEnd.CHUNKED or response.status_code == 204
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


def phrase(status_code: int) -> bytes:
    """The standard phrase of a status; empty if it has none."""
    try:
        return HTTPStatus(status_code).phrase.encode("ascii")
    except ValueError:
        return b""


def chunk(data: bytes) -> bytes:
    """A chunk (RFC 9112 §7.1). Without data it is the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)
