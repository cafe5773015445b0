"""Response heads: read as strictly as request heads."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.site_system_leg.received_head import ReceivedHead
from ibcm_bridge.site_system_leg.response_reader import (
    MAX_HEAD,
    MAX_INFORMATIONAL,
    next_response,
    response_reader,
)
from tests.site_system_leg.responses import GET, OK, accepted, read, refused, request


def test_a_head_is_parsed_at_once_and_byte_by_byte() -> None:
    whole = accepted(OK + b"hello")
    reader = response_reader(GET, b"")
    for position in range(len(OK)):
        assert next_response(reader) is None
        reader.receive_data(OK[position : position + 1])
    response = next_response(reader)
    assert isinstance(response, ReceivedHead)
    assert response.fields == whole.fields
    assert response.status == whole.status == 200


def test_bytes_after_the_head_are_left_for_the_body() -> None:
    reader = response_reader(GET, b"")
    reader.receive_data(OK + b"hello, and more")
    assert isinstance(next_response(reader), ReceivedHead)
    assert reader.rest == b"hello, and more"


@pytest.mark.parametrize("method", ["CCM_POST", "PROPFIND", "HEAD", "BITS_POST"])
def test_the_verbs_of_configmgr_have_responses(method: str) -> None:
    assert accepted(OK, request(method)).status == 200


def test_a_request_with_a_body_has_a_response() -> None:
    response = read(OK, request("CCM_POST", 3), b"abc")
    assert isinstance(response, ReceivedHead)


def test_interim_responses_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert accepted(interim + OK).status == 200
    assert read(interim) is None


@example([200], [200])
@given(
    st.lists(st.integers(0, 200), max_size=4),
    st.lists(st.integers(1, 800), max_size=8, unique=True),
)
def test_a_head_after_interim_ones_is_parsed_at_its_end(
    lengths: list[int], cuts: list[int]
) -> None:
    """However the bytes arrive: a part of a longer head came alone before."""
    interim = b"".join(
        b"HTTP/1.1 103 Early Hints\r\nLink: %b\r\n\r\n" % (b"x" * length) for length in lengths
    )
    raw, reader = interim + OK, response_reader(GET, b"")
    ends = [*sorted(cut for cut in cuts if cut < len(raw)), len(raw)]
    for begin, end in itertools.pairwise([0, *ends]):
        assert next_response(reader) is None
        reader.receive_data(raw[begin:end])
    assert isinstance(next_response(reader), ReceivedHead)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\x00b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 99 OK\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
    ],
    ids=lambda raw: repr(raw[:60]),
)
def test_an_invalid_response_is_refused(raw: bytes) -> None:
    refused(raw)


@pytest.mark.parametrize("raw", [b"", OK[:20], b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_connection_closed_without_a_response_is_refused(raw: bytes) -> None:
    reader = response_reader(GET, b"")
    if raw:
        reader.receive_data(raw)
    assert next_response(reader) is None
    reader.receive_data(b"")
    denial = next_response(reader)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.SITE_SYSTEM_RESPONSE


@given(st.binary(max_size=120))
def test_any_bytes_are_accepted_incomplete_or_refused(raw: bytes) -> None:
    for whole in (raw, b"HTTP/1.1 " + raw, b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n"):
        result = read(whole)
        assert result is None or isinstance(result, ReceivedHead | Deny)


# Two readings


STATUS = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 0\r\n"

BARE = "the response head has a bare CR or LF"
FOLDED = "the response head has a folded field"
CONTROL = "the response head has a control character"

AMBIGUOUS = {
    "only line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", BARE),
    "a status line with LF": (b"HTTP/1.1 200 OK\n" + LENGTH + b"\r\n", BARE),
    "a field with LF": (STATUS + b"X: a\n" + LENGTH + b"\r\n", BARE),
    "an empty line with LF": (STATUS + LENGTH + b"\n", BARE),
    "LF LF before the end": (STATUS + b"X: a\n\n" + LENGTH + b"\r\n", BARE),
    "CR in a value": (STATUS + b"X: a\rContent-Length: 5\r\n" + LENGTH + b"\r\n", BARE),
    "CR CR LF": (STATUS + b"X: a\r\r\n" + LENGTH + b"\r\n", BARE),
    "CR in the phrase": (b"HTTP/1.1 200 O\rK\r\n" + LENGTH + b"\r\n", BARE),
    "folded by a space": (STATUS + b"X: a\r\n b\r\n" + LENGTH + b"\r\n", FOLDED),
    "folded by a tab": (STATUS + b"X: a\r\n\tb\r\n" + LENGTH + b"\r\n", FOLDED),
    "a folded length": (STATUS + b"Content-Length:\r\n 0\r\n\r\n", FOLDED),
    "folded after the status line": (STATUS + b" X: a\r\n" + LENGTH + b"\r\n", FOLDED),
    "NUL": (STATUS + b"X: a\x00b\r\n" + LENGTH + b"\r\n", CONTROL),
    "vertical tab": (STATUS + b"X: a\x0bb\r\n" + LENGTH + b"\r\n", CONTROL),
    "form feed": (STATUS + b"X:\x0c\r\n" + LENGTH + b"\r\n", CONTROL),
    "escape": (STATUS + b"X: \x1b[31m\r\n" + LENGTH + b"\r\n", CONTROL),
    "delete": (STATUS + b"X: a\x7f\r\n" + LENGTH + b"\r\n", CONTROL),
    "a control in the phrase": (b"HTTP/1.1 200 \x01\r\n" + LENGTH + b"\r\n", CONTROL),
    "in a 100": (b"HTTP/1.1 100 Continue\r\nX: a\n\r\n" + OK, BARE),
}


@pytest.mark.parametrize(("raw", "detail"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_head_with_two_readings_is_refused_at_once_and_byte_by_byte(
    raw: bytes, detail: str
) -> None:
    assert refused(raw).detail == detail
    reader = response_reader(GET, b"")
    for at in range(len(raw)):
        reader.receive_data(raw[at : at + 1])
        if (result := next_response(reader)) is not None:
            break
    assert isinstance(result, Deny)
    assert result.detail == detail


@pytest.mark.parametrize(
    "raw",
    [
        STATUS + b"X:\ta\tb \r\n" + LENGTH + b"\r\n",
        STATUS + b"X:\r\n" + LENGTH + b"\r\n",
        STATUS + b"X: \xe4\xf6\xfc \xe2\x82\xac\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 404 Nicht gefunden \xfc\r\n" + LENGTH + b"\r\n",
        b"HTTP/1.1 200 \r\n" + LENGTH + b"\r\n",
    ],
)
def test_tabs_and_bytes_beyond_ascii_are_not_controls(raw: bytes) -> None:
    accepted(raw)


@pytest.mark.parametrize("separator", [b"\n\n", b"\n \r\n", b"\x00", b"\r"])
def test_the_body_may_have_any_bytes(separator: bytes) -> None:
    reader = response_reader(GET, b"")
    reader.receive_data(STATUS + b"Content-Length: 9\r\n\r\n" + separator)
    assert isinstance(next_response(reader), ReceivedHead)
    reader.receive_data(b"more")
    assert reader.rest == separator + b"more"


@pytest.mark.parametrize("status", [b"200", b"299", b"401", b"599"])
def test_a_final_status_is_between_200_and_599(status: bytes) -> None:
    accepted(b"HTTP/1.1 %b X\r\n\r\n" % status)


@pytest.mark.parametrize("status", [b"600", b"999", b"000", b"099", b"0200", b"20", b"2 00"])
def test_another_status_is_refused(status: bytes) -> None:
    refused(b"HTTP/1.1 %b X\r\n\r\n" % status)


# Limits


def head_of(size: int, line: bytes = STATUS) -> bytes:
    fields = line + b"X: \r\n\r\n"
    return fields.replace(b"X: ", b"X: " + b"x" * (size - len(fields)))


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_head_may_have_the_maximum_size_and_no_more(pieces: int) -> None:
    for size, allowed in ((MAX_HEAD, True), (MAX_HEAD + 1, False), (1_000_000, False)):
        reader = response_reader(GET, b"")
        head = head_of(size) + b"body"
        step = len(head) // pieces + 1
        result = None
        for at in range(0, len(head), step):
            reader.receive_data(head[at : at + step])
            result = next_response(reader)
            if result is not None:
                break
        assert isinstance(result, ReceivedHead if allowed else Deny)


def test_the_body_does_not_count_as_head() -> None:
    reader = response_reader(GET, b"")
    reader.receive_data(OK + b"x" * (2 * MAX_HEAD))
    assert isinstance(next_response(reader), ReceivedHead)
    assert len(reader.rest) == 2 * MAX_HEAD


def test_an_informational_head_is_limited_too() -> None:
    hint = b"HTTP/1.1 103 Hints\r\n"
    accepted(head_of(MAX_HEAD, hint) + OK)
    refused(head_of(MAX_HEAD + 1, hint) + OK)


def test_the_number_of_informational_responses_is_limited() -> None:
    hint = b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
    assert isinstance(read(hint * MAX_INFORMATIONAL + OK), ReceivedHead)
    refused(hint * (MAX_INFORMATIONAL + 1) + OK)
    # At once and one by one.
    reader = response_reader(GET, b"")
    for _ in range(MAX_INFORMATIONAL):
        reader.receive_data(hint)
        assert next_response(reader) is None
    reader.receive_data(hint)
    assert isinstance(next_response(reader), Deny)
