"""Bodies of responses, piece by piece: whole, or not at all."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.request.byte_ranges import PART_BYTES, ByteRanges, read_byte_ranges
from ibcm_bridge.site_system_leg.partial_body import PartialBody
from ibcm_bridge.site_system_leg.response_body import IncompleteBodyError, ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd

COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"
NO_BODY = b"HTTP/1.1 204 No Content\r\n\r\n"
ENDS = {
    COUNTED: BodyEnd.COUNTED,
    CHUNKED: BodyEnd.CHUNKED,
    CLOSE: BodyEnd.CLOSE,
    NO_BODY: BodyEnd.NO_BODY,
    LARGE: BodyEnd.COUNTED,
}


def body(head: bytes, came: bytes = b"", partial: PartialBody | None = None) -> ResponseBody:
    """A body of which so much came with its head."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(head + came)
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    return ResponseBody(reader, response, ENDS[head], partial)


def taken(one: ResponseBody) -> bytes | None:
    """All there is; None where that is not the whole body."""
    found = b""
    while piece := one.take():
        found += piece
    return found if piece is not None else None


@pytest.mark.parametrize(
    ("head", "sent", "whole"),
    [
        (COUNTED, b"hello", b"hello"),
        (CHUNKED, b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
        (CHUNKED, b"0\r\n\r\n", b""),
    ],
)
def test_a_body_is_taken_whole_however_it_comes(head: bytes, sent: bytes, whole: bytes) -> None:
    for size in range(1, len(sent) + 1):
        one, found = body(head), b""
        for index in range(0, len(sent), size):
            one.receive(sent[index : index + size])
            while piece := one.take():
                found += piece
        assert one.take() == b""
        assert one.take() == b"", "and that does not change"
        assert found == whole
        assert not one.surplus
    assert taken(body(head, sent)) == whole


def test_a_body_until_the_end_of_the_connection_is_whole_at_a_clean_end_only() -> None:
    one = body(CLOSE, b"hel")
    assert (one.take(), one.take()) == (b"hel", None)
    one.receive(b"lo")
    one.receive(b"")
    assert taken(one) == b"lo"
    one = body(CLOSE, b"hel")
    one.receive(None)
    with pytest.raises(IncompleteBodyError):
        taken(one)


@pytest.mark.parametrize(
    ("head", "sent"),
    [
        (COUNTED, b"hell"),
        (COUNTED, b""),
        (CHUNKED, b"2\r\nhe\r\n"),
        (CHUNKED, b"2\r\nhe\r\n0\r\n"),
    ],
)
@pytest.mark.parametrize("end", [b"", None])
def test_a_body_that_ends_early_is_not_whole(head: bytes, sent: bytes, end: bytes | None) -> None:
    one = body(head, sent)
    assert taken(one) is None
    one.receive(end)
    for _ in range(2):
        with pytest.raises(IncompleteBodyError):
            one.take()


def test_a_body_that_is_not_as_its_coding_must_be_is_not_whole() -> None:
    one = body(CHUNKED, b"2\r\nhe\r\nZZ\r\n")
    assert one.take() == b"he"
    for _ in range(2):
        with pytest.raises(IncompleteBodyError):
            one.take()


@pytest.mark.parametrize(
    ("head", "sent"),
    [(COUNTED, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"), (NO_BODY, b"")],
)
def test_what_is_more_than_the_body_is_not_taken_and_told(head: bytes, sent: bytes) -> None:
    one = body(head, sent + b"HTTP/1.1 200 OK")
    whole = taken(one)
    assert whole in (b"hello", b"")
    assert one.surplus
    one = body(head, sent)
    assert taken(one) == whole
    assert not one.surplus


def test_more_of_a_counted_body_is_told_also_where_it_comes_later() -> None:
    one = body(COUNTED, b"hel")
    assert one.take() == b"hel"
    one.receive(b"lo, world")
    assert (one.take(), one.take()) == (b"lo", b"")
    assert one.surplus


@given(st.binary(min_size=1, max_size=20), st.sampled_from([COUNTED, CLOSE]))
def test_what_is_put_back_is_taken_again_and_then_the_rest(data: bytes, head: bytes) -> None:
    one = body(head, b"he")
    one.put_back(data + (one.take() or b""))
    assert (one.take(), one.take()) == (data + b"he", None)
    one.receive(b"llo")
    assert one.take() == b"llo"


def test_what_is_put_back_of_a_broken_body_is_taken_before_it_is_said_that_it_is() -> None:
    one = body(COUNTED, b"hel")
    one.put_back(one.take() or b"")
    one.receive(None)
    assert one.take() == b"hel"
    with pytest.raises(IncompleteBodyError):
        one.take()


def test_a_length_is_known_where_it_was_said() -> None:
    assert [body(head).length for head in ENDS] == [5, None, None, None, 900]


def at_most(count: int) -> PartialBody:
    """The bound of an answer to a request for so many bytes, and what a part may have beside."""
    ranges = read_byte_ranges([b"bytes=0-%d" % (count - 1)])
    assert isinstance(ranges, ByteRanges)
    return PartialBody(ranges, None)


@pytest.mark.parametrize("head", [LARGE, CHUNKED, CLOSE])
@pytest.mark.parametrize("size", [1, 100, 900])
def test_what_is_more_than_was_asked_for_is_cut_off(head: bytes, size: int) -> None:
    one, found = body(head, partial=at_most(20)), b""
    for _ in range(0, 200, size):
        piece = bytes(size)
        one.receive(b"%x\r\n%b\r\n" % (size, piece) if head is CHUNKED else piece)
        found += one.take() or b""
    one.receive(b"1\r\nx\r\n" if head is CHUNKED else b"x")
    with pytest.raises(IncompleteBodyError):
        one.take()
    assert len(found) == 20 + PART_BYTES
    assert one.problem.startswith("the site system sent more than 200 bytes")
    with pytest.raises(IncompleteBodyError):
        one.take()


def test_what_is_not_more_is_whole() -> None:
    one = body(COUNTED, b"hello", at_most(5))
    assert taken(one) == b"hello"
    assert one.problem == "the site system's response is incomplete"
