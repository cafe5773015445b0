"""The head of a response: the end of its body (RFC 9112 §6.3), and the fields for the client.

h11 parses the bytes of the site system. It refuses malformed heads, and finds the end of a body
from the request and the head.
"""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus

import h11

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.challenge import FIELD as CHALLENGE_FIELD
from ibcm_bridge.site_system_leg.challenge import challenge_for_client
from ibcm_bridge.site_system_leg.location import FIELDS, location_for_client
from ibcm_bridge.site_system_leg.upload_hosts import FIELDS as UPLOAD_FIELDS
from ibcm_bridge.site_system_leg.upload_hosts import upload_hosts_for_client

MAX_HEAD = 65_536
"""Bytes, as for the head of a request."""

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

MAX_INFORMATIONAL = 16
"""1xx heads before a response. RFC 9110 §15.2 allows any number. A server sends some during a long
operation; unlimited ones could block a client without a response."""

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


class ResponseReader(h11.Connection):
    """An h11 parser that also counts skipped 1xx heads."""

    informational = 0


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


def response_reader(head: RequestHead, body: bytes) -> ResponseReader:
    """Return a parser for the response to this request."""
    reader = ResponseReader(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [(b"Host", head.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    reader.send(h11.Request(method=head.method, target=head.target.raw, headers=fields))
    if body:
        reader.send(h11.Data(data=body))
    reader.send(h11.EndOfMessage())
    return reader


def next_response(reader: ResponseReader) -> h11.Response | Deny | None:
    """Return the response head, or a refusal; None until the head is complete."""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError as error:
            return _bad(str(error))
        if isinstance(event, h11.Response):
            # h11 accepts any version of two digits (HTTP-1.1).
            supported = event.http_version in (b"1.0", b"1.1")
            return event if supported else _bad("the response is not HTTP/1.1")
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            # The bridge requests no upgrade, and the data after a 101 could not be inspected.
            return _bad("status 101, or the connection closed without a response")
        # Other 1xx are for the bridge, which has already sent the client its 100.
        reader.informational += 1
        if reader.informational > MAX_INFORMATIONAL:
            return _bad(f"more than {MAX_INFORMATIONAL} informational responses")


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
        if name.lower() in dropped:
            continue
        if name.lower() == CHALLENGE_FIELD:
            challenge = challenge_for_client(value)
            other_schemes |= challenge != value
            if challenge:
                fields.append((name, challenge))
            continue
        if name.lower() in UPLOAD_FIELDS:
            host = hosts.get(name.lower())
            if host is None:
                removed.append(name.decode("ascii"))
                continue
            if host != value:
                replaced.append(name.decode("ascii"))
                value = host  # noqa: PLW2901
        if name.lower() in FIELDS:
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
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, _phrase(response.status_code))]
    lines += [
        b"%b: %b" % (name, value)
        for name, value in client_fields.fields
        # RFC 9112 §6.3: h11 accepts a length with a transfer coding, which overrides it.
        if not (end is BodyEnd.CHUNKED and name.lower() == b"content-length")
    ]
    if end is BodyEnd.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _phrase(status_code: int) -> bytes:
    try:
        return HTTPStatus(status_code).phrase.encode("ascii")
    except ValueError:
        return b""


def chunk(data: bytes) -> bytes:
    """A chunk (RFC 9112 §7.1). Without data it is the last chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _bad(detail: str) -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM, detail[:200])
