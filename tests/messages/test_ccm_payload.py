"""The payload of a CCM_POST message: compression, text and slices."""

from __future__ import annotations

import zlib

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.ccm import CcmRequest
from ibcm_bridge.messages.limits import MAX_SLICES
from tests.messages.ccm_bodies import (
    GUID,
    HEADER,
    LIMIT,
    ONE,
    PLAIN,
    accepted,
    header,
    read,
    reason,
    refused,
    report,
    sliced,
    texts,
    utf16,
)

# Compression


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush()


def with_dictionary(data: bytes) -> bytes:
    packer = zlib.compressobj(zdict=b"<Report/>")
    return packer.compress(data) + packer.flush()


STREAM = zlib.compress(ONE)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        ONE,
        STREAM[:-1],
        STREAM[:-4],  # without its checksum
        STREAM[:2],
        STREAM[:-1] + bytes([STREAM[-1] ^ 1]),
        STREAM + b"\0",
        STREAM + b"\r\n",
        STREAM + STREAM,
        b"\0" + STREAM,
        raw_deflate(ONE),
        gzip(ONE),
        with_dictionary(ONE),
    ],
)
def test_a_payload_that_is_not_exactly_one_zlib_stream_is_refused(stream: bytes) -> None:
    assert reason(ccm.raw_message(header(), stream)) is Reason.COMPRESSION


def test_a_stream_cut_anywhere_is_refused() -> None:
    stream = zlib.compress(utf16(documents.inventory_report(GUID, 2)))
    for length in range(len(stream)):
        assert reason(ccm.raw_message(header(), stream[:length])) is Reason.COMPRESSION


def test_a_payload_is_inflated_to_the_limit_and_no_further() -> None:
    xml = "<Report>" + "x" * 5_000 + "</Report>"
    body = report(xml, trailing_crlf=False)
    size = len(utf16(xml)) + 2
    assert isinstance(read(body, size), CcmRequest)
    assert reason(body, size - 1) is Reason.INFLATED_TOO_LARGE


def test_a_bomb_is_refused() -> None:
    packer = zlib.compressobj(9)
    stream = b"".join([packer.compress(bytes(1_000_000)) for _ in range(50)]) + packer.flush()
    assert len(stream) < 100_000
    assert reason(ccm.raw_message(header(), stream)) is Reason.INFLATED_TOO_LARGE


def test_a_truncated_bomb_is_refused_as_too_large() -> None:
    stream = zlib.compress(bytes(LIMIT * 3))[:-10]
    assert reason(ccm.raw_message(header(), stream)) is Reason.INFLATED_TOO_LARGE


# The payload's text


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        (b"\x00\xd8" + utf16("x"), Reason.ENCODING),  # a high surrogate alone
        (utf16("<a>") + b"\x00\xdc\x00\xd8" + utf16("</a>"), Reason.ENCODING),  # a swapped pair
        (utf16("<a>") + b"\x00\xd8", Reason.ENCODING),
        (b"<Report/>", Reason.ENCODING),  # nine bytes of ASCII
        (b"<Reports/>", Reason.XML),  # ten, which are five letters nobody uses
        ("<Report/>".encode("utf-16-be"), Reason.XML),
        ("<Report/>".encode("utf-32-le"), Reason.XML),
        (utf16("<Report>"), Reason.XML),
        (utf16("<a/><b/>"), Reason.XML),
        (utf16("<a>\0</a>"), Reason.XML),
        (utf16("<a/>\0<b/>"), Reason.XML),
        (utf16("text"), Reason.XML),
        (utf16("\0"), Reason.XML),
        (utf16("<!DOCTYPE a><a/>"), Reason.XML_DTD),
        (utf16("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///c:/x'>]><a>&x;</a>"), Reason.XML_DTD),
        (utf16("<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://x.example/'> %x;]><a/>"), Reason.XML_DTD),
        (
            utf16(
                "<!DOCTYPE r [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'><!ENTITY c '&b;&b;&b;'>]>"
                "<r>&c;</r>"
            ),
            Reason.XML_DTD,
        ),
    ],
)
def test_text_that_cannot_be_parsed_is_refused(plain: bytes, expected: Reason) -> None:
    assert reason(sliced(plain, [(0, len(plain))])) is expected
    whole = ccm.raw_message(header([(0, len(plain))], hooks=""), plain, inner_type=PLAIN)
    assert reason(whole) is expected


# Slices


@pytest.mark.parametrize(
    "body",
    [
        'Offset="0" Length="22"',
        'Offset="2" Length="20"',
        'Offset="1" Length="18"',
        'Offset="999999999" Length="20"',
        'Offset="0" Length="999999999"',
        'Offset="-2" Length="20"',
        'Offset="0" Length="-1"',
        'Offset="0x0" Length="20"',
        'Offset="0" Length="+20"',
        'Offset="0" Length=" 20"',
        'Offset="0" Length="20.0"',
        'Offset="0" Length="\u0662\u0660"',
        'Offset="0" Length="\u00b2"',
        'Offset="0" Length="0000000020"',
        'Offset="0" Length=""',
        'Offset="0"',
        'Length="20"',
        "",
        'offset="0" length="20"',
        'Offset="0" Length="0"',
        'Offset="00" Length="20"',
        'Offset="0" Length="020"',
        'Offset="0" Length="20" offset="2"',
        'Offset="0" Length="20" type="Http"',
        'Offset="0" Length="20" Type="File"',
    ],
)
def test_a_slice_outside_the_payload_is_refused(body: str) -> None:
    xml = HEADER.replace('Offset="0" Length="20"', body)
    assert reason(ccm.raw_message(xml, zlib.compress(ONE))) is Reason.XML


def test_a_slice_of_half_a_character_is_refused() -> None:
    assert reason(sliced(ONE, [(0, 19)])) is Reason.ENCODING


def test_a_slice_begins_with_a_whole_character() -> None:
    # At an odd offset it could decode here, and differently in a parser that counts characters.
    shifted = b"\0" + ONE + b"\0"
    assert reason(sliced(shifted, [(1, 20)])) is Reason.XML


def test_a_second_slice_is_checked_like_the_first() -> None:
    assert isinstance(read(sliced(ONE + ONE, [(0, 20), (20, 20)])), CcmRequest)
    assert reason(sliced(ONE + utf16("<!DOCTYPE a><a/>"), [(0, 20), (20, 32)])) is Reason.XML_DTD
    assert reason(sliced(ONE, [(0, 20), (0, 22)])) is Reason.XML


@pytest.mark.parametrize("hidden", ["<Hidden/>", "x", " ", "\t", "A\0"])
@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_text_outside_the_slices_is_refused(hidden: str, where: str) -> None:
    raw = utf16(hidden)
    plain = {
        "before": raw + ONE + ONE,
        "between": ONE + raw + ONE,
        "after": ONE + ONE + raw,
    }[where]
    first = len(raw) if where == "before" else 0
    second = first + 20 + (len(raw) if where == "between" else 0)
    denial = refused(sliced(plain, [(first, 20), (second, 20)]))
    assert (denial.reason, denial.detail) == (
        Reason.XML,
        "text outside Body and Attachment",
    )


@pytest.mark.parametrize("padding", [b"", b"\0\0", b"\r\n", b"\0\0\r\n", b"\0" * 64, b"\0"])
def test_padding_outside_the_slices_is_allowed(padding: bytes) -> None:
    assert texts(accepted(sliced(ONE + padding, [(0, 18)]))) == ("<Report/>",)


def test_the_number_of_slices_is_limited() -> None:
    def message(count: int) -> bytes:
        return sliced(ONE * count, [(20 * index, 20) for index in range(count)])

    assert isinstance(read(message(MAX_SLICES)), CcmRequest)
    assert reason(message(MAX_SLICES + 1)) is Reason.XML


def test_overlapping_slices_may_not_multiply_the_work() -> None:
    plain = utf16("<a/>" + " " * 1_000 + "\0")
    size = len(plain)
    assert isinstance(read(sliced(plain, [(0, size), (0, size - 2)])), CcmRequest)
    overlapping = [(0, size - 2 * step) for step in range(3)]
    denial = refused(sliced(plain, overlapping))
    assert (denial.reason, denial.detail) == (Reason.XML, "too many overlapping slices")
