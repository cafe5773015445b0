"""Reads the heads of a response from the bytes of a site system, as strictly as request heads.

h11 parses a head and finds the end of the body from it. It accepts more than RFC 9112: bare line
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

MAX_HEAD = 65_536
"""Bytes, as for the head of a request."""

MAX_INFORMATIONAL = 16
"""1xx heads before a response. RFC 9110 §15.2 allows any number. A server sends some during a long
operation; unlimited ones could block a client without a response."""

_END = re.compile(rb"\n\r?\n")
"""The empty line, also after a bare LF: such a head is complete, and is refused."""

_TEXT = bytes(byte for byte in range(256) if byte in b"\t\r\n" or (byte >= 32 and byte != 127))
"""The bytes of a head that are not controls (RFC 9110 §5.5)."""


class ResponseReader(h11.Connection):
    """An h11 parser that gets each head only after it was checked."""

    def __init__(self) -> None:
        super().__init__(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.informational = 0
        """The number of skipped 1xx heads."""
        self._unread: bytearray | None = bytearray()
        """The data after the last head; None after the final one."""
        self._searched = 0
        self._ended = False

    def receive_data(self, data: bytes) -> None:
        """Add bytes of the site system; empty if it closed the connection."""
        if self._unread is None:
            super().receive_data(data)
        else:
            self._unread += data
            self._ended |= not data

    def take_head(self) -> bytes | Deny | None:
        """Return the next head, or a refusal; None if more bytes are needed."""
        assert self._unread is not None
        found = _END.search(self._unread, self._searched)
        if len(self._unread) > MAX_HEAD and (found is None or found.end() > MAX_HEAD):
            return bad_response(f"the response head has more than {MAX_HEAD} bytes")
        if found is None:
            self._searched = max(0, len(self._unread) - 2)
            closed = "the connection closed without a complete response head"
            return bad_response(closed) if self._ended else None
        head = bytes(self._unread[: found.end()])
        del self._unread[: found.end()]
        self._searched = 0
        defect = _defect(head)
        return bad_response(f"the response head has {defect}") if defect else head

    def begin_body(self) -> None:
        """Pass the data after the final head, and all that follows, to h11."""
        assert self._unread is not None
        data, self._unread = bytes(self._unread), None
        if data:
            super().receive_data(data)

    def parse(self, head: bytes) -> h11.Response | h11.InformationalResponse | Deny:
        """Parse a complete head, or return a refusal."""
        super().receive_data(head)
        try:
            event = self.next_event()
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


def response_reader(head: RequestHead, body: bytes) -> ResponseReader:
    """Return a parser for the response to this request."""
    reader = ResponseReader()
    fields = [(b"Host", head.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    reader.send(h11.Request(method=head.method, target=head.target.raw, headers=fields))
    if body:
        reader.send(h11.Data(data=body))
    reader.send(h11.EndOfMessage())
    return reader


def next_response(reader: ResponseReader) -> h11.Response | Deny | None:
    """Return the response head, or a refusal; None until the head is complete."""
    while True:
        head = reader.take_head()
        if head is None or isinstance(head, Deny):
            return head
        event = reader.parse(head)
        if isinstance(event, Deny):
            return event
        if isinstance(event, h11.Response):
            reader.begin_body()
            return _final(event)
        # The bridge requests no upgrade, and the data after a 101 could not be inspected.
        if event.status_code == 101:
            return bad_response("status 101")
        # Other 1xx are for the bridge, which has already sent the client its 100.
        reader.informational += 1
        if reader.informational > MAX_INFORMATIONAL:
            return bad_response(f"more than {MAX_INFORMATIONAL} informational responses")


def _final(response: h11.Response) -> h11.Response | Deny:
    # h11 accepts any version of two digits (HTTP-1.1), and any status of three (RFC 9110 §15).
    if response.http_version not in (b"1.0", b"1.1"):
        return bad_response("the response is not HTTP/1.1")
    if response.status_code > 599:
        return bad_response(f"status {response.status_code}")
    return response


def bad_response(detail: str) -> Deny:
    """Return the refusal of an invalid response."""
    return Deny(Reason.SITE_SYSTEM_RESPONSE, rules.SITE_SYSTEM, detail[:200])
