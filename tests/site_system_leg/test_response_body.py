"""Bodies of responses in pieces: complete or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.request.byte_ranges import PART_BYTES, ByteRanges, read_byte_ranges
from ibcm_bridge.site_system_leg.partial_body import PartialBody
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_body import IncompleteBodyError, ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd
from ibcm_bridge.site_system_leg.response_reader import next_response, response_reader
from tests.site_system_leg.responses import GET

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


def body_of(head: bytes, received: bytes = b"", partial: PartialBody | None = None) -> ResponseBody:
    """A body whose first bytes are `received` with the head."""
    reader = response_reader(GET, b"")
    reader.receive_data(head + received)
    response = next_response(reader)
    assert isinstance(response, ReceivedHead)
    return ResponseBody(reader, response, ENDS[head], partial)


def taken(body: ResponseBody) -> bytes | None:
    """All available bytes; None if the body is incomplete."""
    found = b""
    while piece := body.take():
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
def test_a_body_is_complete_in_pieces_of_any_size(head: bytes, sent: bytes, whole: bytes) -> None:
    for size in range(1, len(sent) + 1):
        body, found = body_of(head), b""
        for index in range(0, len(sent), size):
            body.receive(sent[index : index + size])
            while piece := body.take():
                found += piece
        assert body.take() == b""
        assert body.take() == b"", "and that does not change"
        assert found == whole
        assert not body.surplus
    assert taken(body_of(head, sent)) == whole


def test_a_body_until_the_end_of_the_connection_is_complete_after_a_clean_end_only() -> None:
    body = body_of(CLOSE, b"hel")
    assert (body.take(), body.take()) == (b"hel", None)
    body.receive(b"lo")
    body.receive(b"")
    assert taken(body) == b"lo"
    body = body_of(CLOSE, b"hel")
    body.receive(None)
    with pytest.raises(IncompleteBodyError):
        taken(body)


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
def test_a_body_that_ends_early_is_incomplete(head: bytes, sent: bytes, end: bytes | None) -> None:
    body = body_of(head, sent)
    assert taken(body) is None
    body.receive(end)
    for _ in range(2):
        with pytest.raises(IncompleteBodyError):
            body.take()


def test_a_body_with_a_malformed_coding_is_incomplete() -> None:
    body = body_of(CHUNKED, b"2\r\nhe\r\nZZ\r\n")
    assert body.take() == b"he"
    for _ in range(2):
        with pytest.raises(IncompleteBodyError):
            body.take()


@pytest.mark.parametrize(
    ("head", "sent"),
    [(COUNTED, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n"), (NO_BODY, b"")],
)
def test_bytes_after_the_body_are_not_taken_but_reported(head: bytes, sent: bytes) -> None:
    body = body_of(head, sent + b"HTTP/1.1 200 OK")
    whole = taken(body)
    assert whole in (b"hello", b"")
    assert body.surplus
    body = body_of(head, sent)
    assert taken(body) == whole
    assert not body.surplus


def test_later_bytes_after_a_counted_body_are_reported() -> None:
    body = body_of(COUNTED, b"hel")
    assert body.take() == b"hel"
    body.receive(b"lo, world")
    assert (body.take(), body.take()) == (b"lo", b"")
    assert body.surplus


@given(st.binary(min_size=1, max_size=20), st.sampled_from([COUNTED, CLOSE]))
def test_a_piece_that_is_put_back_is_taken_again_before_the_rest(data: bytes, head: bytes) -> None:
    body = body_of(head, b"he")
    body.put_back(data + (body.take() or b""))
    assert (body.take(), body.take()) == (data + b"he", None)
    body.receive(b"llo")
    assert body.take() == b"llo"


def test_a_piece_that_is_put_back_is_taken_before_the_error_of_an_incomplete_body() -> None:
    body = body_of(COUNTED, b"hel")
    body.put_back(body.take() or b"")
    body.receive(None)
    assert body.take() == b"hel"
    with pytest.raises(IncompleteBodyError):
        body.take()


def test_the_length_is_that_of_the_head() -> None:
    assert [body_of(head).length for head in ENDS] == [5, None, None, None, 900]


def at_most(count: int) -> PartialBody:
    """The limit of a response to a request for `count` bytes, with the overhead of a part."""
    ranges = read_byte_ranges([b"bytes=0-%d" % (count - 1)])
    assert isinstance(ranges, ByteRanges)
    return PartialBody(ranges, None)


@pytest.mark.parametrize("head", [LARGE, CHUNKED, CLOSE])
@pytest.mark.parametrize("size", [1, 100, 900])
def test_bytes_over_the_limit_are_cut(head: bytes, size: int) -> None:
    body, found = body_of(head, partial=at_most(20)), b""
    for _ in range(0, 200, size):
        piece = bytes(size)
        body.receive(b"%x\r\n%b\r\n" % (size, piece) if head is CHUNKED else piece)
        found += body.take() or b""
    body.receive(b"1\r\nx\r\n" if head is CHUNKED else b"x")
    with pytest.raises(IncompleteBodyError):
        body.take()
    assert len(found) == 20 + PART_BYTES
    assert body.problem.startswith("the site system sent more than 200 bytes")
    with pytest.raises(IncompleteBodyError):
        body.take()


def test_a_body_within_the_limit_is_complete() -> None:
    body = body_of(COUNTED, b"hello", at_most(5))
    assert taken(body) == b"hello"
    assert body.problem == "the site system's response is incomplete"
