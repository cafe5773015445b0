"""Reads the heads of a response from the bytes of a site system, as strictly as request heads.

A usual head of a response whose body is counted or absent needs no other parser (`received_head`).
h11 parses every other head, and finds the end of its body. It accepts more than RFC 9112: bare line
feeds, folded fields, control characters in values, and a head of any size that arrives at once. So
each head is checked before h11 gets it. A response that two readers could read differently is a
502.
"""

from __future__ import annotations

import re

import h11

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.received_head import ReceivedHead, read_usual_head
from ibcm_bridge.site_system_leg.response_head import BodyEnd, body_end

MAX_HEAD = 65_536
"""Bytes, as for the head of a request."""

MAX_INFORMATIONAL = 16
"""1xx heads before a response. RFC 9110 §15.2 allows any number. A server sends some during a long
operation; unlimited ones could block a client without a response."""

_END = re.compile(rb"\n\r?\n")
"""The empty line, also after a bare LF: such a head is complete, and is refused."""

_TEXT = bytes(byte for byte in range(256) if byte in b"\t\r\n" or (byte >= 32 and byte != 127))
"""The bytes of a head that are not controls (RFC 9110 §5.5)."""


class ResponseReader:
    """The bytes of a response that were received and not read yet. Sans-IO."""

    def __init__(self, request: RequestHead, request_body: bytes) -> None:
        self.informational = 0
        """The number of skipped 1xx heads."""
        self.request = request
        self._request_body = request_body
        self._received = bytearray()
        self._searched = 0
        self._ended = False
        self._parser: h11.Connection | None = None
        """It exists after a head that is not a usual one."""
        self._parses_body = False

    def receive_data(self, data: bytes) -> None:
        """Add bytes of the site system; empty if it closed the connection."""
        if self._parses_body:
            self.parser.receive_data(data)
        else:
            self._received += data
            self._ended |= not data

    @property
    def rest(self) -> bytes:
        """The bytes that were not read yet: the body, and what follows it."""
        return self.parser.trailing_data[0] if self._parses_body else bytes(self._received)

    @property
    def parser(self) -> h11.Connection:
        """The parser, which has parsed the request."""
        if self._parser is None:
            self._parser = _parser_after(self.request, self._request_body)
        return self._parser

    def parse_body(self) -> None:
        """Pass the bytes after the head, and all that follow, to the parser."""
        data, self._parses_body = bytes(self._received), True
        if data:
            self.parser.receive_data(data)

    def take_head(self) -> bytes | Deny | None:
        """Return the next head, or a refusal; None if more bytes are needed."""
        found = _END.search(self._received, self._searched)
        if len(self._received) > MAX_HEAD and (found is None or found.end() > MAX_HEAD):
            return bad_response(f"the response head has more than {MAX_HEAD} bytes")
        if found is None:
            self._searched = max(0, len(self._received) - 2)
            closed = "the connection closed without a complete response head"
            return bad_response(closed) if self._ended else None
        head = bytes(self._received[: found.end()])
        del self._received[: found.end()]
        self._searched = 0
        return head


def _parser_after(request: RequestHead, body: bytes) -> h11.Connection:
    """Return a parser for the response to this request."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [(b"Host", request.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    parser.send(h11.Request(method=request.method, target=request.target.raw, headers=fields))
    if body:
        parser.send(h11.Data(data=body))
    parser.send(h11.EndOfMessage())
    return parser


def response_reader(head: RequestHead, body: bytes) -> ResponseReader:
    """Return a reader for the response to this request."""
    return ResponseReader(head, body)


def next_response(reader: ResponseReader) -> ReceivedHead | Deny | None:
    """Return the response head, or a refusal; None until the head is complete."""
    while True:
        raw = reader.take_head()
        if raw is None or isinstance(raw, Deny):
            return raw
        usual = read_usual_head(raw)
        if usual is not None and body_end(usual, reader.request) is not BodyEnd.CLOSE:
            return usual
        event = _parse(reader.parser, raw)
        if isinstance(event, Deny):
            return event
        if isinstance(event, h11.Response):
            reader.parse_body()
            return _final(event)
        # The bridge requests no upgrade, and the data after a 101 could not be inspected.
        if event.status_code == 101:
            return bad_response("status 101")
        # Other 1xx are for the bridge, which has already sent the client its 100.
        reader.informational += 1
        if reader.informational > MAX_INFORMATIONAL:
            return bad_response(f"more than {MAX_INFORMATIONAL} informational responses")


def _parse(parser: h11.Connection, head: bytes) -> h11.Response | h11.InformationalResponse | Deny:
    """Parse a complete head, or return a refusal."""
    if defect := _defect(head):
        return bad_response(f"the response head has {defect}")
    parser.receive_data(head)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        return bad_response(str(error))
    if isinstance(event, h11.Response | h11.InformationalResponse):
        return event
    return bad_response("not a response head")


def _defect(head: bytes) -> str:
    """The reason why two readers could read a head differently; empty if they cannot."""
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        return "a bare CR or LF"  # RFC 9112 §2.2
    if b"\n " in head or b"\n\t" in head:
        return "a folded field"  # RFC 9112 §5.2
    return "a control character" if head.translate(None, _TEXT) else ""


def _final(response: h11.Response) -> ReceivedHead | Deny:
    # h11 accepts any version of two digits (HTTP-1.1), and any status of three (RFC 9110 §15).
    if response.http_version not in (b"1.0", b"1.1"):
        return bad_response("the response is not HTTP/1.1")
    if response.status_code > 599:
        return bad_response(f"status {response.status_code}")
    fields = zip(response.headers, response.headers.raw_items(), strict=True)
    return ReceivedHead(
        response.status_code,
        response.reason,
        tuple((lower, name, value) for (lower, value), (name, _) in fields),
        http_1_0=response.http_version == b"1.0",
    )


def bad_response(detail: str) -> Deny:
    """Return the refusal of an invalid response."""
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM, detail[:200])
