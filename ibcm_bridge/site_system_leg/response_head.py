"""The head of a response: how its body ends, and what of it is passed back (RFC 9112 §6.3).

h11 reads the site system's bytes; it refuses malformed heads, and finds the end of a body from the
request and the head together.
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
from ibcm_bridge.site_system_leg.location import FIELDS, location_for_client
from ibcm_bridge.site_system_leg.upload_hosts import FIELDS as UPLOAD_FIELDS
from ibcm_bridge.site_system_leg.upload_hosts import upload_hosts_for_client

MAX_HEAD = 65_536
"""Bytes; as for a request's head."""

_NOT_PASSED_BACK = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110 §7.6.1: the site-system leg's own."""

MAX_INFORMATIONAL = 16
"""1xx heads before a response. RFC 9110 §15.2 allows any number; a server that waits for work to be
done sends one now and then, and more of them would hold a client without an answer."""

_INTERNAL = frozenset(
    (
        b"server",  # RFC 9110 §10.2.4 warns of it: it says which attacks would work
        b"x-powered-by",
        b"x-aspnet-version",
        b"x-aspnetmvc-version",
        b"alt-svc",  # RFC 7838: where else the site system is, past the bridge
        b"via",  # RFC 9110 §7.6.3: who else stands inside
        b"refresh",  # no standard; leads elsewhere as Location does
        b"link",  # RFC 8288
        b"clear-site-data",  # of a name that is the publication's, as the next
        b"strict-transport-security",
    )
)
"""What a site system says of itself, and of others. Nothing in protocol.md has a client read it."""

_DESCRIBE_BODY = frozenset(
    (b"content-length", b"content-encoding", b"content-type", b"content-range")
)
"""The body goes to the client as it is, so these do too, whatever Connection says of them."""


class ResponseReader(h11.Connection):
    """h11's reader, which counts the 1xx heads it has left out."""

    informational = 0


@dataclass(frozen=True, slots=True)
class ClientFields:
    """The fields of a response that the client gets, framing aside."""

    fields: tuple[tuple[bytes, bytes], ...]
    replaced: tuple[str, ...]
    """Names of fields in which the site system's name became the publication's."""
    left_out: tuple[str, ...] = ()
    """Names of fields that would have sent the client elsewhere."""

    @property
    def note(self) -> str:
        """What the audit says of it."""
        said = []
        if self.replaced:
            said.append(f"{', '.join(self.replaced)}: the site system's name was replaced")
        if self.left_out:
            said.append(f"{', '.join(self.left_out)}: taken out, as it leads elsewhere")
        return "; ".join(said)


class BodyEnd(enum.Enum):
    """How the end of a response body is known."""

    NO_BODY = "no body"
    COUNTED = "counted"
    CHUNKED = "chunked"
    CLOSE = "close"


def response_reader(head: RequestHead, body: bytes) -> ResponseReader:
    """A reader for the one response to this request."""
    reader = ResponseReader(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [(b"Host", head.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    reader.send(h11.Request(method=head.method, target=head.target.raw, headers=fields))
    if body:
        reader.send(h11.Data(data=body))
    reader.send(h11.EndOfMessage())
    return reader


def next_response(reader: ResponseReader) -> h11.Response | Deny | None:
    """The response head, once the reader has been given all of it; None until then."""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError as error:
            return _bad(str(error))
        if isinstance(event, h11.Response):
            # h11 takes any version that is two digits (HTTP-1.1).
            return event if event.http_version in (b"1.0", b"1.1") else _bad("not HTTP/1.1")
        if event is h11.NEED_DATA:
            return None
        if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
            # Nothing could inspect what follows a 101; and nobody asked for it.
            return _bad("101, or the connection closed without a response")
        # Other 1xx are for whoever asked: the client's 100 was ours to give.
        reader.informational += 1
        if reader.informational > MAX_INFORMATIONAL:
            return _bad(f"more than {MAX_INFORMATIONAL} informational responses")


def body_end(response: h11.Response, head: RequestHead) -> BodyEnd:
    """How the body of the response to `head` ends."""
    if head.method == b"HEAD" or response.status_code in (204, 304):
        return BodyEnd.NO_BODY
    names = {name for name, _ in response.headers}
    if b"transfer-encoding" in names:
        return BodyEnd.CHUNKED
    return BodyEnd.COUNTED if b"content-length" in names else BodyEnd.CLOSE


def field_values(response: h11.Response, lower_name: bytes) -> list[bytes]:
    """The values of all fields of that name."""
    return [value for name, value in response.headers if name == lower_name]


def content_length(response: h11.Response) -> int:
    """Bytes of a counted body. h11 has refused repeated and malformed lengths."""
    return int(field_values(response, b"content-length")[0])


def ends_connection(response: h11.Response) -> bool:
    """Whether the site system will close its leg after this response."""
    return asks_to_close(field_values(response, b"connection")) or response.http_version < b"1.1"


def asks_to_close(connection_values: list[bytes]) -> bool:
    """Whether Connection fields say close (RFC 9112 §9.6)."""
    return any(b"close" in value.lower() for value in connection_values)


def fields_for_client(
    response: h11.Response,
    origin: bytes,
    own_names: Collection[str],
    upload_hosts: UploadHosts = UploadHosts.DROP,
) -> ClientFields | Deny:
    """The response's fields without those of its leg and those about the inside.

    `origin` is where the client sent its request, `own_names` are the site system's.
    """
    left_out = _NOT_PASSED_BACK | _INTERNAL
    # RFC 9110 §7.6.1: what the site system's Connection names is for its own leg.
    for name, value in response.headers:
        if name == b"connection":
            named = {option.strip().lower() for option in value.split(b",")}
            left_out |= named - _DESCRIBE_BODY
    hosts = upload_hosts_for_client(list(response.headers), origin, own_names, upload_hosts)
    fields: list[tuple[bytes, bytes]] = []
    replaced: list[str] = []
    elsewhere: list[str] = []
    for name, value in response.headers.raw_items():
        if name.lower() in left_out:
            continue
        if name.lower() in UPLOAD_FIELDS:
            told = hosts.get(name.lower())
            if told is None:
                elsewhere.append(name.decode("ascii"))
                continue
            if told != value:
                replaced.append(name.decode("ascii"))
                value = told  # noqa: PLW2901
        if name.lower() in FIELDS:
            location = location_for_client(value, origin, own_names)
            if isinstance(location, Deny):
                return location
            if location != value:
                replaced.append(name.decode("ascii"))
                value = location  # noqa: PLW2901
        fields.append((name, value))
    return ClientFields(tuple(fields), tuple(replaced), tuple(elsewhere))


def head_for_client(
    response: h11.Response, passed: ClientFields, end: BodyEnd, *, keep_alive: bool
) -> bytes:
    """The head as the client gets it: the site system's, with the client leg's own framing."""
    # The phrase is our own: a site system's may be anything, and means nothing (RFC 9112 §4).
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, _phrase(response.status_code))]
    lines += [
        b"%b: %b" % (name, value)
        for name, value in passed.fields
        # RFC 9112 §6.3: of a length beside a coding, which h11 lets pass, only the coding counts.
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
    """One chunk (RFC 9112 §7.1); the last one for no data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _bad(detail: str) -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM, detail[:200])
