"""The head of a response: how its body ends, and what of it is passed back (RFC 9112 §6.3).

h11 reads the site system's bytes; it refuses malformed heads, and finds the end of a body from the
request and the head together.
"""

from __future__ import annotations

import enum

import h11

from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.request_head import RequestHead

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


class BodyEnd(enum.Enum):
    """How the end of a response body is known."""

    NO_BODY = "no body"
    COUNTED = "counted"
    CHUNKED = "chunked"
    CLOSE = "close"


def response_reader(head: RequestHead, body: bytes) -> h11.Connection:
    """A reader for the one response to this request."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [(b"Host", head.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    reader.send(h11.Request(method=head.method, target=head.target, headers=fields))
    if body:
        reader.send(h11.Data(data=body))
    reader.send(h11.EndOfMessage())
    return reader


def next_response(reader: h11.Connection) -> h11.Response | Deny | None:
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


def body_end(response: h11.Response, head: RequestHead) -> BodyEnd:
    """How the body of the response to `head` ends."""
    if head.method == b"HEAD" or response.status_code in (204, 304):
        return BodyEnd.NO_BODY
    names = {name for name, _ in response.headers}
    if b"transfer-encoding" in names:
        return BodyEnd.CHUNKED
    return BodyEnd.COUNTED if b"content-length" in names else BodyEnd.CLOSE


def content_length(response: h11.Response) -> int:
    """Bytes of a counted body. h11 has refused repeated and malformed lengths."""
    return next(int(value) for name, value in response.headers if name == b"content-length")


def ends_connection(response: h11.Response) -> bool:
    """Whether the site system will close its leg after this response."""
    values = [value for name, value in response.headers if name == b"connection"]
    return asks_to_close(values) or response.http_version < b"1.1"


def asks_to_close(connection_values: list[bytes]) -> bool:
    """Whether Connection fields say close (RFC 9112 §9.6)."""
    return any(b"close" in value.lower() for value in connection_values)


def head_for_client(response: h11.Response, end: BodyEnd, *, keep_alive: bool) -> bytes:
    """The head as the client gets it: the site system's, with the client leg's own framing."""
    # RFC 9112 §6.3: of a length beside a coding, which h11 lets pass, only the coding counts.
    left_out = _NOT_PASSED_BACK | ({b"content-length"} if end is BodyEnd.CHUNKED else set())
    # RFC 9110 §7.6.1: what the site system's Connection names is for its own leg.
    for name, value in response.headers:
        if name == b"connection":
            left_out |= {option.strip().lower() for option in value.split(b",")}
    if end is BodyEnd.COUNTED:
        left_out -= {b"content-length"}
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, response.reason)]
    lines += [
        b"%b: %b" % (name, value)
        for name, value in response.headers.raw_items()
        if name.lower() not in left_out
    ]
    if end is BodyEnd.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 §7.1); the last one for no data."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _bad(detail: str) -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, "site_system", detail[:200])
