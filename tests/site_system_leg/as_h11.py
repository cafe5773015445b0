"""The second reader of response heads."""

from __future__ import annotations

import h11

from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_head import BodyEnd, body_end


def assert_read_as_by_h11(raw: bytes, read: ReceivedHead, request: RequestHead) -> None:
    """Assert that h11 finds the same head in these bytes, and the same end of the body."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(raw))
    fields = [(b"Host", b"h")]
    parser.send(h11.Request(method=request.method, target=b"/", headers=fields))
    parser.send(h11.EndOfMessage())
    parser.receive_data(raw)
    response = parser.next_event()
    assert isinstance(response, h11.Response), response
    assert (response.status_code, response.reason) == (read.status, read.reason)
    assert response.http_version == b"1.1"
    assert not read.http_1_0
    assert response.headers.raw_items() == [(name, value) for _, name, value in read.fields]
    assert list(response.headers) == [(lower, value) for lower, _, value in read.fields]
    assert parser.trailing_data == (b"", False)
    end = body_end(read, request)
    if end is BodyEnd.COUNTED:
        assert read.length is not None
        # Only after so many bytes is the body complete.
        parser.receive_data(b"x" * min(read.length, 100))
        parts = b""
        while isinstance(event := parser.next_event(), h11.Data):
            parts += event.data
        assert isinstance(event, h11.EndOfMessage) is (read.length <= 100), event
        assert len(parts) == min(read.length, 100)
    else:
        whole = parser.next_event()
        assert isinstance(whole, h11.EndOfMessage) is (end is BodyEnd.NO_BODY), whole
