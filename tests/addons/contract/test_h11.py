"""The undocumented behavior of h11 that the bridge relies on (response_reader)."""

from __future__ import annotations

import h11
import pytest


def test_h11_returns_the_data_after_a_response() -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(b"HTTP/1.1 204 No Content\r\n\r\nsurplus")
    assert isinstance(reader.next_event(), h11.Response)
    assert reader.trailing_data == (b"surplus", False)


def test_h11_returns_a_counted_body_after_its_head() -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    assert isinstance(reader.next_event(), h11.Response)
    assert reader.trailing_data == (b"hel", False)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nX: a\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: %b\r\n\r\n" % (b"x" * 100_000),
    ],
    ids=lambda raw: repr(raw[:30]),
)
def test_h11_accepts_heads_that_the_response_reader_refuses(raw: bytes) -> None:
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=65_536)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(raw)
    assert isinstance(reader.next_event(), h11.Response)
