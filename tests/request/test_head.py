"""Parsing of heads, and the refusal of every form that two parsers can read differently."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.request.head import MAX_FIELDS, MAX_LENGTH, RequestHead, read_request_head
from ibcm_bridge.request.target import sent_target

POST = b"CCM_POST /ccm_system/request HTTP/1.1\r\nHost: bridge.internet.example\r\n"


def head(*lines: bytes) -> RequestHead | Deny:
    return read_request_head(POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def accepted(*lines: bytes) -> RequestHead:
    result = head(*lines)
    assert isinstance(result, RequestHead), result
    return result


def reason(result: RequestHead | Deny) -> Reason:
    assert isinstance(result, Deny), result
    return result.reason


# Accepted heads


def test_a_head_is_parsed_as_it_was_sent() -> None:
    result = accepted(b"CCMClientID: GUID:1", b"content-LENGTH: 12", b"X-Empty:")
    assert result.method == b"CCM_POST"
    assert result.target.raw == b"/ccm_system/request"
    assert result.fields == (
        (b"Host", b"bridge.internet.example"),
        (b"CCMClientID", b"GUID:1"),
        (b"content-LENGTH", b"12"),
        (b"X-Empty", b""),
    )
    assert result.length == 12


def test_a_head_without_fields_is_parsed() -> None:
    assert read_request_head(b"GET / HTTP/1.1\r\n\r\n") == RequestHead(
        b"GET", sent_target(b"/"), (), None
    )


def test_a_verb_in_lower_case_is_another_verb() -> None:
    result = read_request_head(b"ccm_post / HTTP/1.1\r\n\r\n")
    assert isinstance(result, RequestHead)
    assert result.method == b"ccm_post"


@pytest.mark.parametrize("line", [b"X:a", b"X: a", b"X:\ta", b"X:   a \t ", b"X: a\t"], ids=repr)
def test_white_space_around_a_value_is_not_part_of_it(line: bytes) -> None:
    assert accepted(line).value(b"x") == b"a"


def test_white_space_inside_a_value_and_bytes_outside_ascii_are_kept() -> None:
    assert accepted(b"User-Agent: a  b\tc \xc3\xa4").value(b"user-agent") == b"a  b\tc \xc3\xa4"


def test_a_repeated_field_has_values_and_no_value() -> None:
    result = accepted(b"Range: a", b"range: b")
    assert result.values(b"range") == (b"a", b"b")
    assert result.value(b"range") is None
    assert result.value(b"accept") is None


def test_keeping_drops_the_other_fields_and_reports_them() -> None:
    result = accepted(b"X-One: 1", b"Range: a", b"x-two: 2")
    kept, dropped = result.keeping(frozenset((b"host", b"range")))
    assert kept.fields == ((b"Host", b"bridge.internet.example"), (b"Range", b"a"))
    assert dropped == ("X-One", "x-two")
    assert (kept.method, kept.target, kept.length) == (result.method, result.target, None)
    assert kept.keeping(frozenset((b"host", b"range"))) == (kept, ())


# The request line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.0", Reason.HTTP_VERSION),
        (b"GET / HTTP/0.9", Reason.HTTP_VERSION),
        (b"GET / HTTP/2.0", Reason.HTTP_VERSION),
        (b"GET / HTTP/1.2", Reason.HTTP_VERSION),
        (b"PRI * HTTP/2.0", Reason.HTTP_VERSION),  # the HTTP/2 preface
        (b"GET /", Reason.MALFORMED_HEAD),  # HTTP/0.9, or a missing version
        (b"GET / ", Reason.MALFORMED_HEAD),
        (b"GET", Reason.MALFORMED_HEAD),
        (b"", Reason.MALFORMED_HEAD),
        (b"GET / http/1.1", Reason.MALFORMED_HEAD),
        (b"GET / HTTP/1.1 ", Reason.MALFORMED_HEAD),
        (b" GET / HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET  / HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET /  HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET\t/\tHTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET /a b HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET / HTTP/1.10", Reason.MALFORMED_HEAD),
        (b"GET / HTTP/11", Reason.MALFORMED_HEAD),
        (b"GET / HTTPS/1.1", Reason.MALFORMED_HEAD),
        (b"GE(T / HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"G\x00T / HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET /\x00 HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET /\x7f HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET /\xc3\xa4 HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"\xef\xbb\xbfGET / HTTP/1.1", Reason.MALFORMED_HEAD),
        (b"GET / HTTP/1.1\nHost: x", Reason.MALFORMED_HEAD),
        (b"GET / HTTP/1.1\rHost: x", Reason.MALFORMED_HEAD),
    ],
    ids=lambda value: repr(value) if isinstance(value, bytes) else "",
)
def test_a_request_line_other_than_that_of_http_1_1_is_refused(
    line: bytes, expected: Reason
) -> None:
    assert reason(read_request_head(line + b"\r\n\r\n")) is expected
    assert reason(read_request_head(line + b"\r\nHost: x\r\n\r\n")) is expected


@pytest.mark.parametrize("target", [b"*", b"bridge.internet.example:443", b"https://other/x"])
def test_the_head_does_not_check_the_form_of_a_target(target: bytes) -> None:
    # `request.target` does that; the head only requires visible ASCII.
    result = read_request_head(b"GET %b HTTP/1.1\r\n\r\n" % target)
    assert isinstance(result, RequestHead)
    assert result.target.raw == target


# Fields


@pytest.mark.parametrize(
    "line",
    [
        b"Host : x",
        b"Host\t: x",
        b" Host: x",
        b"\tfolded",
        b" folded",
        b": x",
        b"no colon",
        b"",
        b"H\xc3\xb6st: x",
        b"Host(: x",
        b"X: a\nTransfer-Encoding: chunked",
        b"X: a\rTransfer-Encoding: chunked",
        b"X: a\x00b",
        b"X: a\x01b",
        b"X: a\x7fb",
        b"X: a\x0bb",
        b"X\x00: a",
        b"\x00",
    ],
    ids=repr,
)
def test_a_line_that_is_not_a_field_is_refused(line: bytes) -> None:
    assert reason(head(line)) is Reason.MALFORMED_HEAD
    assert reason(head(b"Content-Length: 3", line, b"Range: a")) is Reason.MALFORMED_HEAD


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r", b"\n\r"])
def test_the_rule_for_a_bare_line_end_is_line_end(end: bytes) -> None:
    result = head(b"X: a" + end + b"Y: b")
    assert isinstance(result, Deny)
    assert (result.reason, result.rule) == (Reason.MALFORMED_HEAD, "head.line-end")


def test_a_field_name_in_a_refusal_is_truncated() -> None:
    result = head(b"X" * 10_000 + b": \x00")
    assert isinstance(result, Deny)
    assert len(result.detail) < 120


# The end of the head


WHOLE = POST + b"Content-Length: 3\r\n\r\n"


def test_a_truncated_head_is_refused() -> None:
    assert isinstance(read_request_head(WHOLE), RequestHead)
    for length in range(len(WHOLE)):
        assert reason(read_request_head(WHOLE[:length])) is Reason.MALFORMED_HEAD


@pytest.mark.parametrize("trailing", [b"\r\n", b"\r\n\r\n", b"abc", b"\n", b"\x00", WHOLE])
def test_bytes_after_the_head_are_refused(trailing: bytes) -> None:
    for whole in (WHOLE, b"GET / HTTP/1.1\r\n\r\n"):
        assert reason(read_request_head(whole + trailing)) is Reason.MALFORMED_HEAD


def test_bytes_before_the_request_line_are_refused() -> None:
    assert reason(read_request_head(b"\r\n" + WHOLE)) is Reason.MALFORMED_HEAD


def test_bare_line_feeds_do_not_end_a_head() -> None:
    assert reason(read_request_head(WHOLE.replace(b"\r\n", b"\n"))) is Reason.MALFORMED_HEAD
    assert reason(read_request_head(WHOLE[:-4] + b"\n\r\n\r\n")) is Reason.MALFORMED_HEAD
    assert reason(read_request_head(WHOLE[:-2] + b"\n")) is Reason.MALFORMED_HEAD


# The number of fields


@pytest.mark.parametrize(("limit", "given"), [(MAX_FIELDS, ()), (40, (40,))])
def test_the_number_of_fields_is_limited(limit: int, given: tuple[int, ...]) -> None:
    line = b"GET / HTTP/1.1\r\n"
    full = read_request_head(line + b"A: b\r\n" * limit + b"\r\n", *given)
    assert isinstance(full, RequestHead)
    assert len(full.fields) == limit
    more = read_request_head(line + b"A: b\r\n" * (limit + 1) + b"\r\n", *given)
    assert isinstance(more, Deny)
    assert (more.reason, more.rule) == (Reason.HEAD_TOO_LARGE, "limits.header_fields")
    assert more.detail == f"{limit + 1} header fields; the limit is {limit}"


# Framing


@pytest.mark.parametrize("value", [b"0", b"3", b"10", b"4194304", b"%d" % MAX_LENGTH])
def test_a_content_length_is_digits(value: bytes) -> None:
    assert accepted(b"Content-Length: " + value).length == int(value)


def test_without_a_content_length_there_is_none() -> None:
    assert accepted().length is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+3",
        b"-3",
        b"-0",
        b"03",
        b"00",
        b"0x3",
        b"3 3",
        b"3, 3",
        b"3,",
        b"3;",
        b"3.0",
        b"1e3",
        b"1_000",
        b"3a",
        b"\xb2",  # latin-1 superscript two
        b"\xd9\xa3",  # ARABIC-INDIC DIGIT THREE
        b"%d" % (MAX_LENGTH + 1),
        b"9" * 19,
        b"9" * 5000,
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_content_length_that_is_not_plain_digits_is_refused(value: bytes) -> None:
    assert reason(head(b"Content-Length: " + value)) is Reason.FRAMING


@pytest.mark.parametrize("second", [b"Content-Length: 3", b"content-length: 4", b"CONTENT-LENGTH:"])
def test_two_content_lengths_are_refused_even_if_they_are_equal(second: bytes) -> None:
    assert reason(head(b"Content-Length: 3", second)) is Reason.FRAMING


@pytest.mark.parametrize("value", [b"chunked", b"identity", b"gzip, chunked", b"", b"xchunked"])
def test_a_transfer_encoding_is_refused_as_a_missing_length(value: bytes) -> None:
    assert reason(head(b"Transfer-Encoding: " + value)) is Reason.LENGTH_REQUIRED


@pytest.mark.parametrize(
    "lines",
    [
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 3"),
        (b"tRANSFER-eNCODING: identity", b"CONTENT-length: 3"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Content-Length: 3"),
    ],
)
def test_a_transfer_encoding_with_a_length_is_ambiguous(lines: tuple[bytes, ...]) -> None:
    assert reason(head(*lines)) is Reason.FRAMING


@pytest.mark.parametrize(
    "line", [b"Transfer-Encoding : chunked", b"Content-Length : 3", b"Transfer-Encoding\x00: x"]
)
def test_a_disguised_framing_field_is_malformed(line: bytes) -> None:
    assert reason(head(b"Content-Length: 3", line)) is Reason.MALFORMED_HEAD


# Properties

TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=12).map(str.encode)
TARGETS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
VALUES = (
    st.binary(max_size=20)
    .map(lambda raw: bytes(byte for byte in raw if byte >= 0x20 and byte != 0x7F))
    .map(lambda value: value.strip(b" \t"))
)
FIELDS = st.lists(st.tuples(TOKENS, VALUES), max_size=6).map(tuple)
LENGTHS = st.none() | st.integers(0, MAX_LENGTH)


@given(TOKENS, TARGETS.map(str.encode), FIELDS, LENGTHS)
def test_a_serialized_head_parses_to_the_same_head(
    method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...], length: int | None
) -> None:
    fields = tuple(field for field in fields if field[0].lower() != b"content-length")
    if length is not None:
        fields += ((b"Content-Length", b"%d" % length),)
    written = RequestHead(method, sent_target(target), fields, length)
    assert read_request_head(written.to_bytes()) == written


@given(st.binary(max_size=200))
def test_any_bytes_are_accepted_or_refused(raw: bytes) -> None:
    for whole in (raw, raw + b"\r\n\r\n", POST + raw + b"\r\n\r\n"):
        result = read_request_head(whole)
        if isinstance(result, RequestHead):
            # The next parser reads the forwarded head in the same way.
            assert read_request_head(result.to_bytes()) == result
