"""multipart/mixed: each body is parsed in only one way, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.limits import MAX_PARTS
from ibcm_bridge.messages.multipart import Part, read_multipart

B = b"aAbBcCdDv1234567890VxXyYzZ"
TYPE = b'multipart/mixed; boundary="' + B + b'"'


def built(*parts: tuple[bytes, bytes], boundary: bytes = B) -> bytes:
    pieces = [
        b"--%b\r\ncontent-type: %b\r\n\r\n%b\r\n" % (boundary, media_type, body)
        for media_type, body in parts
    ]
    return b"".join(pieces) + b"--%b--" % boundary


WHOLE = built((b"text/plain; charset=UTF-16", b"one"), (b"application/octet-stream", b"two\r\n"))


def rule(body: bytes, content_type: bytes = TYPE) -> str:
    denial = read_multipart(content_type, body)
    assert isinstance(denial, Deny), denial
    assert denial.reason is Reason.MULTIPART
    return denial.rule


# Accepted bodies


@pytest.mark.parametrize("end", [b"", b"\r\n"])
def test_parts_have_their_type_in_lower_case_and_their_bytes_as_sent(end: bytes) -> None:
    assert read_multipart(TYPE, WHOLE + end) == (
        Part(b"text/plain; charset=utf-16", b"one"),
        Part(b"application/octet-stream", b"two\r\n"),
    )


@pytest.mark.parametrize(
    "content_type",
    [
        b"multipart/mixed; boundary=" + B,
        b"MULTIPART/Mixed;BOUNDARY=" + B,
        b'multipart/mixed ;\tboundary="' + B + b'" ',
    ],
)
def test_the_boundary_may_be_quoted_or_not(content_type: bytes) -> None:
    assert isinstance(read_multipart(content_type, WHOLE), tuple)


@pytest.mark.parametrize(
    "body", [b"", b"\r\n", B, b"\r\n--", b"\r\n--a", b"\n-" + B, b"\r\n\r\n", b"\0" * 99]
)
def test_a_part_may_contain_anything_except_a_delimiter(body: bytes) -> None:
    assert read_multipart(TYPE, built((b"a/b", body))) == (Part(b"a/b", body),)


@pytest.mark.parametrize("body", [b"x--" + B, b"\n--" + B, b"\n--" + B + b"\nx\n--" + B + b"--"])
def test_a_delimiter_that_only_another_parser_would_accept_is_refused(body: bytes) -> None:
    denial = read_multipart(TYPE, built((b"a/b", body)))
    assert isinstance(denial, Deny)
    assert (denial.reason, denial.rule) == (Reason.MULTIPART, "multipart.delimiter")


@pytest.mark.parametrize("name", [b"content-type", b"Content-Type", b"CONTENT-TYPE"])
@pytest.mark.parametrize("space", [b"", b" ", b"\t "])
def test_the_field_name_of_a_part_ignores_case(name: bytes, space: bytes) -> None:
    body = b"--%b\r\n%b:%ba/b\r\n\r\nx\r\n--%b--" % (B, name, space, B)
    assert read_multipart(TYPE, body) == (Part(b"a/b", b"x"),)


# The boundary


@pytest.mark.parametrize(
    "content_type",
    [
        b"",
        b"multipart/mixed",
        b"multipart/mixed; boundary=",
        b'multipart/mixed; boundary=""',
        b'multipart/mixed; boundary="%b' % B,
        b"multipart/mixed; boundary=%b; boundary=x" % B,
        b"multipart/mixed; boundary=%b; charset=utf-8" % B,
        b"multipart/mixed; charset=utf-8; boundary=%b" % B,
        b"multipart/mixed; boundary*=utf-8''%b" % B,
        b"multipart/form-data; boundary=" + B,
        b"multipart/mixed, multipart/mixed; boundary=" + B,
        b"x multipart/mixed; boundary=" + B,
        b'multipart/mixed; boundary="%b\\""' % B,
        b'multipart/mixed; boundary="%b "' % B,
        b'multipart/mixed; boundary="%b"' % (b"x" * 71),
        b'multipart/mixed; boundary="a\r\nb"',
        b'multipart/mixed; boundary="a\xe4b"',
        b'multipart/mixed; boundary="a@b"',
    ],
)
def test_a_content_type_without_exactly_one_boundary_is_refused(content_type: bytes) -> None:
    assert rule(WHOLE, content_type) == "multipart.boundary"


def test_a_boundary_has_at_most_seventy_characters() -> None:
    longest = b"x" * 70
    body = built((b"a/b", b"1"), boundary=longest)
    assert isinstance(read_multipart(b"multipart/mixed; boundary=" + longest, body), tuple)


# The frame


@pytest.mark.parametrize("before", [b"\r\n", b" ", b"preamble\r\n", b"\0", b"-"])
def test_a_preamble_is_refused(before: bytes) -> None:
    assert rule(before + WHOLE) == "multipart.preamble"


@pytest.mark.parametrize(
    "after", [b"\n", b" ", b"\r\n\r\n", b"epilogue", b"\r\nepilogue", b"\0", b"-", WHOLE]
)
def test_an_epilogue_is_refused(after: bytes) -> None:
    assert rule(WHOLE + after) in ("multipart.close", "multipart.part-head", "multipart.delimiter")


def test_a_truncated_body_is_refused() -> None:
    for length in range(len(WHOLE)):
        rule(WHOLE[:length])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "multipart.preamble"),
        (b"--%b--" % B, "multipart.parts"),
        (b"--%b--\r\n" % B, "multipart.parts"),
        (b"--other\r\ncontent-type: a/b\r\n\r\nx\r\n--other--", "multipart.preamble"),
        (WHOLE[: WHOLE.rindex(b"\r\n--")], "multipart.close"),  # unclosed
        (WHOLE[:-2], "multipart.close"),
        (WHOLE.replace(b"\r\n", b"\n"), "multipart.close"),
        (WHOLE.replace(b"--%b\r\n" % B, b"--%b \r\n" % B), "multipart.part-head"),
        (WHOLE.replace(b"--%b\r\n" % B, b"--%bx\r\n" % B), "multipart.part-head"),
        # A part that begins like a delimiter; the line end before it belongs to the part's head.
        (WHOLE.replace(b"one", b"--" + B), "multipart.part-head"),
    ],
)
def test_a_broken_frame_is_refused(body: bytes, expected: str) -> None:
    assert rule(body) == expected


def test_the_number_of_parts_is_limited() -> None:
    part = (b"a/b", b"x")
    assert len(read_multipart(TYPE, built(*[part] * MAX_PARTS))) == MAX_PARTS  # type: ignore[arg-type]
    assert rule(built(*[part] * (MAX_PARTS + 1))) in ("multipart.parts", "multipart.close")
    assert rule(built(*[part] * 1_000)) == "multipart.close"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\r\n",
        b"\r\ncontent-type: a/b\r\n",
        b"\r\ncontent-type: a/b\n\n",
        b"\r\ncontent-type a/b\r\n\r\n",
        b"\r\ncontent-type : a/b\r\n\r\n",
        b"\r\n content-type: a/b\r\n\r\n",
        b"\r\ncontent-disposition: form-data\r\n\r\n",
        b"\r\ncontent-type: a/b\r\ncontent-transfer-encoding: base64\r\n\r\n",
        b"\r\ncontent-transfer-encoding: base64\r\ncontent-type: a/b\r\n\r\n",
        b"\r\ncontent-type: a/b\r\n folded\r\n\r\n",
        b"\r\ncontent-type: a/b\ncontent-transfer-encoding: base64\r\n\r\n",
        b"\r\ncontent-type: a/b\rx\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\r\ncontent-type: " + b"a" * 300 + b"\r\n\r\n",
    ],
)
def test_a_part_has_one_content_type_and_nothing_else(head: bytes) -> None:
    assert rule(b"--%b%bbody\r\n--%b--" % (B, head, B)) == "multipart.part-head"


# Properties

BOUNDARIES = st.text("aZ09'()+_,-./:=?", min_size=1, max_size=70).map(str.encode)
TYPES = st.sampled_from((b"a/b", b"text/plain; charset=utf-16", b"application/octet-stream"))
BODIES = st.binary(max_size=60)


@given(BOUNDARIES, st.lists(st.tuples(TYPES, BODIES), min_size=1, max_size=MAX_PARTS))
def test_a_body_round_trips(boundary: bytes, parts: list[tuple[bytes, bytes]]) -> None:
    delimiter = b"\r\n--" + boundary
    parts = [
        (media_type, body)
        for media_type, body in parts
        if delimiter not in b"\r\n" + body + b"\r\n--"
    ]
    content_type = b'multipart/mixed; boundary="%b"' % boundary
    result = read_multipart(content_type, built(*parts, boundary=boundary))
    if parts:
        assert result == tuple(Part(*part) for part in parts)


@given(st.binary(max_size=80), st.binary(max_size=120))
def test_any_bytes_are_parsed_or_refused(content_type: bytes, body: bytes) -> None:
    for kind in (content_type, TYPE):
        for whole in (body, b"--" + B + body, WHOLE[:60] + body + WHOLE[60:]):
            result = read_multipart(kind, whole)
            assert isinstance(result, tuple) or result.reason is Reason.MULTIPART
