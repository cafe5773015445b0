"""The usual form of a response head: what our parser accepts, h11 reads in the same way."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibcm_bridge.site_system_leg.received_head import ReceivedHead, read_usual_head
from ibcm_bridge.site_system_leg.response_head import BodyEnd, body_end
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader
from tests.site_system_leg.as_h11 import assert_read_as_by_h11
from tests.site_system_leg.responses import GET, OK, accepted, request

STATUS = b"HTTP/1.1 200 OK\r\n"


def test_a_usual_head_has_its_status_phrase_and_fields() -> None:
    raw = b"HTTP/1.1 503 Not now\r\nX-A:b\r\nETag: \t x y\t \r\nContent-Length: 12\r\n\r\n"
    read = read_usual_head(raw)
    assert read == ReceivedHead(
        503,
        b"Not now",
        ((b"x-a", b"X-A", b"b"), (b"etag", b"ETag", b"x y"), LENGTH),
    )
    assert read.length == 12
    assert read.values(b"etag") == (b"x y",)


LENGTH = (b"content-length", b"Content-Length", b"12")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        STATUS + b"Transfer-Encoding: chunked\r\n\r\n",
        STATUS + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        STATUS + b"Content-Length: 5, 5\r\n\r\n",
        STATUS + b"Content-Length: 05\r\n\r\n",
        STATUS + b"Content-Length:\r\n\r\n",
        STATUS + b"X : a\r\n\r\n",
        STATUS + b": a\r\n\r\n",
        STATUS + b"X\r\n\r\n",
        STATUS + b"X: a\r\n b\r\n\r\n",
        STATUS + b"X: a\rb\r\n\r\n",
        STATUS + b"X: a\nb: c\r\n\r\n",
        STATUS + b"X: a\x00\r\n\r\n",
        STATUS + b"X: a\x7f\r\n\r\n",
        STATUS + b"\xe4: a\r\n\r\n",
        STATUS + b"X: a\r\n\r\nX: b\r\n\r\n",
        STATUS + b"X: a\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=repr,
)
def test_another_head_is_left_to_h11(raw: bytes) -> None:
    assert read_usual_head(raw) is None


NAMES = st.sampled_from(
    [b"Content-Length", b"content-length", b"X", b"Connection", b"Transfer-Encoding", b"ETag"]
)
VALUES = st.one_of(
    st.sampled_from([b"0", b"5", b"05", b"close", b"chunked", b"", b"5, 5"]),
    st.binary(max_size=12),
    st.text("ab \t\xe4", max_size=12).map(lambda text: text.encode("latin-1")),
)
SPACES = st.sampled_from([b"", b" ", b"\t", b"  "])
LINES = st.tuples(NAMES, st.just(b":"), SPACES, VALUES, SPACES).map(b"".join)
STARTS = st.one_of(
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 204 ", b"HTTP/1.1 304 x\ty"]),
    st.binary(max_size=12).map(lambda data: b"HTTP/1.1 200 " + data),
    st.integers(0, 999).map(lambda status: b"HTTP/1.1 %03d x" % status),
)
HEADS = st.tuples(STARTS, st.lists(LINES, max_size=5)).map(
    lambda parts: b"\r\n".join((parts[0], *parts[1], b"", b""))
)


@given(HEADS, st.sampled_from(["GET", "HEAD"]))
@example(OK, "GET")
@example(b"HTTP/1.1 200\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "HEAD")
def test_a_usual_head_is_read_as_by_h11(raw: bytes, method: str) -> None:
    if (read := read_usual_head(raw)) is not None:
        assert_read_as_by_h11(raw, read, request(method))


@given(st.binary(max_size=120))
def test_any_bytes_that_are_a_usual_head_are_read_as_by_h11(data: bytes) -> None:
    for raw in (data, STATUS + data + b"\r\n\r\n", STATUS + b"A:" + data + b"\r\n\r\n"):
        if (read := read_usual_head(raw)) is not None:
            assert_read_as_by_h11(raw, read, GET)


def test_h11_is_not_asked_for_a_usual_head_with_a_counted_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(h11, "Connection", None)
    assert accepted(OK).status == 200
    assert accepted(b"HTTP/1.1 304 Not Modified\r\n\r\n").status == 304
    assert accepted(STATUS + b"\r\n", request("HEAD")).status == 200


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_body_without_length_is_read_by_h11(interim: bytes) -> None:
    reader = response_reader(GET, b"")
    reader.receive_data(interim + STATUS + b"\r\nhello")
    response = next_response(reader)
    assert isinstance(response, ReceivedHead)
    assert body_end(response, GET) is BodyEnd.CLOSE
    assert reader.rest == b"hello"
    event = reader.parser.next_event()
    assert isinstance(event, h11.Data)
    assert event.data == b"hello"
