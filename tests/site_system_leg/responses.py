"""Responses for the tests of this room."""

from __future__ import annotations

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader


def request(method: str = "GET", length: int | None = None) -> RequestHead:
    lines = "" if length is None else f"Content-Length: {length}\r\n"
    head = read_request_head(f"{method} /x HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    assert isinstance(head, RequestHead)
    return head


GET = request()


def received(status: int, *fields: tuple[str, str]) -> ReceivedHead:
    """Return a head with these fields, as it would be parsed."""
    parsed = tuple((name.lower().encode(), name.encode(), value.encode()) for name, value in fields)
    return ReceivedHead(status, b"", parsed)


def read(raw: bytes, head: RequestHead = GET, body: bytes = b"") -> ReceivedHead | Deny | None:
    reader = response_reader(head, body)
    reader.receive_data(raw)
    return next_response(reader)


def accepted(raw: bytes, head: RequestHead = GET) -> ReceivedHead:
    response = read(raw, head)
    assert isinstance(response, ReceivedHead), response
    return response


def refused(raw: bytes) -> Deny:
    denial = read(raw)
    assert isinstance(denial, Deny), denial
    assert denial.reason is Reason.SITE_SYSTEM_RESPONSE
    assert len(denial.detail) <= 200
    return denial


OK = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "x"\r\n\r\n'
