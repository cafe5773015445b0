"""CCM_POST messages: those of clients are parsed, those that cannot be inspected are refused."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.limits import MAX_HEADER, MAX_SLICES
from tests.messages.ccm_bodies import (
    GUID,
    HEADER,
    ONE,
    PLAIN,
    TYPE,
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

# Accepted messages


@pytest.mark.parametrize("trailing_crlf", [True, False])
def test_a_compressed_message_is_parsed_with_or_without_its_trailing_crlf(
    trailing_crlf: bool,
) -> None:
    body = report("<Report>ä \U0001f600</Report>", trailing_crlf=trailing_crlf)
    message = accepted(body)
    assert message.header.target_endpoint == "MP_HinvEndpoint"
    assert texts(message) == ("<Report>ä \U0001f600</Report>",)
    payload = ccm.read_message(body).payload
    assert payload is not None
    assert message.inflated == zlib.decompress(payload)
    assert "<TargetEndpoint>MP_HinvEndpoint</TargetEndpoint>" in message.header.text


def test_an_uncompressed_message_is_parsed() -> None:
    body = ccm.raw_message(header(hooks=""), ONE, inner_type=PLAIN)
    message = accepted(body)
    assert (message.inflated, texts(message)) == (ONE, ("<Report/>",))


def test_a_signed_message_is_parsed() -> None:
    hook = '<Hook2 Name="clientauth"><Property Name="PayloadSignature">00</Property></Hook2>'
    assert accepted(ccm.raw_message(header(hooks=hook + ccm.ZLIB_HOOK), zlib.compress(ONE)))


def test_a_large_inventory_is_parsed() -> None:
    xml = documents.inventory_report(GUID, rows=200)
    assert texts(accepted(report(xml))) == (xml,)


def test_an_xml_declaration_may_name_the_original_encoding() -> None:
    xml = '<?xml version="1.0" encoding="utf-16"?><Report/>'
    assert texts(accepted(report(xml))) == (xml,)
    assert reason(report(xml.replace("utf-16", "utf-7"))) is Reason.ENCODING


def test_a_heartbeat_with_two_attachments_is_parsed() -> None:
    # protocol.md §1.3: attachments at 0+1680 and 1684+6266, Body 1684+6268, of 7954 bytes and CRLF.
    first = utf16("<ReportHeader>" + "x" * (840 - 29) + "</ReportHeader>")
    second = utf16("<Report>" + "y" * (3133 - 17) + "</Report>")
    assert (len(first), len(second)) == (1680, 6266)
    plain = first + utf16("\r\n") + second + b"\0\0" + b"\0\0"
    assert len(plain) == 7954
    body = sliced(plain + b"\r\n", [(1684, 6268), (0, 1680), (1684, 6266)])
    message = accepted(body)
    assert message.inflated == plain + b"\r\n"
    for text in ("<ReportHeader>x", "<Report>y"):
        assert any(text in document for document in texts(message))


def test_a_slice_may_occur_more_than_once() -> None:
    assert texts(accepted(sliced(ONE, [(0, 20)] * MAX_SLICES))) == ("<Report/>",)


def test_elements_of_the_header_may_be_in_any_order() -> None:
    reordered = (
        f"<Msg><TargetEndpoint> MP_X </TargetEndpoint><Hooks>{ccm.ZLIB_HOOK}</Hooks>"
        '<Body Length="20" Offset="0"/></Msg>'
    )
    assert accepted(ccm.raw_message(reordered, zlib.compress(ONE))).header.target_endpoint == "MP_X"


@pytest.mark.parametrize(
    "decoy",
    [
        '<Property Name="x"><Body Offset="0" Length="18"/></Property>',
        "<Property><TargetEndpoint>MP_LocationManager</TargetEndpoint></Property>",
        '<Property><Hooks><Hook2 Name="encrypt"/></Hooks></Property>',
        '<body Offset="0" Length="18"/>',
        '<m:Body xmlns:m="u" Offset="0" Length="18"/>',
        '<hooks><Hook2 Name="encrypt"/></hooks>',
        '<Body Offset="0" Length="18"/>',
        "<TargetEndpoint>MP_LocationManager</TargetEndpoint>",
        '<Payload Type="inline"/><Payload Type="inline"/>',
        '<Payload Type="Http">http://elsewhere.example/</Payload>',
        "<PAYLOAD/>",
    ],
)
def test_elements_that_a_lenient_parser_could_use_instead_are_refused(decoy: str) -> None:
    harmless = '<Property Name="x"/><Payload Type="inline"/>'
    accepted(ccm.raw_message(header(more=harmless), zlib.compress(ONE)))
    assert reason(ccm.raw_message(header(more=decoy), zlib.compress(ONE))) is Reason.XML


# The frame

WHOLE = report()


def test_a_message_cut_anywhere_is_refused() -> None:
    for length in range(len(WHOLE)):
        refused(WHOLE[:length])


@pytest.mark.parametrize(
    "body",
    [
        WHOLE[: WHOLE.rindex(b"\r\n--")],
        b"\r\n" + WHOLE,
        b"preamble\r\n" + WHOLE,
        WHOLE + b"epilogue",
        WHOLE + b"\r\n\r\n",
        WHOLE + WHOLE,
        ccm.NO_REPLY,  # one part
        WHOLE[:-2] + b"\r\ncontent-type: a/b\r\n\r\nthird" + b"\r\n--%b--" % ccm.BOUNDARY,
        b"",
    ],
)
def test_a_frame_other_than_two_closed_parts_is_refused(body: bytes) -> None:
    assert reason(body) is Reason.MULTIPART


def test_another_boundary_than_announced_is_refused() -> None:
    body = ccm.raw_message(header(), zlib.compress(ONE), boundary=b"other")
    assert reason(body) is Reason.MULTIPART


@pytest.mark.parametrize(
    "inner_type",
    [
        b"application/zlib",
        b"application/octet-stream; x=y",
        b"text/plain",
        b"text/xml",
        b"multipart/mixed; boundary=x",
        b"",
    ],
)
def test_a_payload_of_another_type_is_refused(inner_type: bytes) -> None:
    body = ccm.raw_message(header(), zlib.compress(ONE), inner_type=inner_type)
    assert reason(body) is Reason.INNER_MEDIA_TYPE


@pytest.mark.parametrize("media_type", [b"text/plain; charset=UTF-8", b"application/octet-stream"])
def test_a_header_of_another_type_is_refused(media_type: bytes) -> None:
    body = WHOLE.replace(b"content-type: " + PLAIN, b"content-type: " + media_type, 1)
    assert reason(body) is Reason.INNER_MEDIA_TYPE


# The header


def with_header_bytes(raw: bytes) -> bytes:
    start = WHOLE.index(b"\r\n\r\n") + 4
    return WHOLE[:start] + raw + WHOLE[WHOLE.index(b"\r\n--", start) :]


@pytest.mark.parametrize(
    "raw",
    [
        utf16(HEADER),  # no byte order mark
        b"\xfe\xff" + HEADER.encode("utf-16-be"),
        b"\xef\xbb\xbf" + HEADER.encode(),
        HEADER.encode(),
        b"\xff\xfe" + utf16(HEADER)[:-1],  # half a character
        b"\xff\xfe" + utf16(HEADER) + b"\x00\xd8",  # half a surrogate pair
        b"\xff\xfe" + utf16("<Msg>") + b"\x00\xdc\x00\xd8" + utf16("</Msg>"),  # in the wrong order
        b"\xff",
        b"",
    ],
)
def test_a_header_that_is_not_utf_16_with_its_mark_is_refused(raw: bytes) -> None:
    assert isinstance(read(with_header_bytes(b"\xff\xfe" + utf16(HEADER))), CcmRequest)
    assert reason(with_header_bytes(raw)) is Reason.ENCODING


def test_a_header_has_a_size_limit() -> None:
    padding = " " * ((MAX_HEADER - 2 - len(utf16(HEADER))) // 2)
    longest = b"\xff\xfe" + utf16(HEADER + padding)
    assert len(longest) == MAX_HEADER
    assert isinstance(read(with_header_bytes(longest)), CcmRequest)
    assert reason(with_header_bytes(longest + utf16(" "))) is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<!DOCTYPE Msg [<!ENTITY x 'y'>]>" + HEADER, Reason.XML_DTD),
        ("<!DOCTYPE Msg SYSTEM 'http://x.example/'>" + HEADER, Reason.XML_DTD),
        ('<?xml version="1.0" encoding="utf-7"?>' + HEADER, Reason.ENCODING),
        (HEADER.replace("MP_DdrEndpoint", "&x;"), Reason.XML),
        (HEADER[:-1], Reason.XML),
        (HEADER + HEADER, Reason.XML),
        (HEADER.replace("Msg", "msg"), Reason.XML),
        ("<Report/>", Reason.XML),
        ("", Reason.XML),
        ("<Msg/>", Reason.XML),  # no Body
        (HEADER.replace("Body", "body"), Reason.XML),
    ],
)
def test_a_header_that_is_not_a_plain_message_element_is_refused(
    xml: str, expected: Reason
) -> None:
    assert reason(ccm.raw_message(xml, zlib.compress(ONE))) is expected


# Hooks


@pytest.mark.parametrize(
    "hook",
    [
        '<Hook Name="compress"/>',
        '<Hook Name="authenticate"/>',
        '<Hook3 Name="zlib-encrypt"/>',
        '<Hook3 Name="ZLIB-COMPRESS"/>',
        "<Hook2/>",
        '<Hook4 Name="Encrypt"/>',
        '<Filter Name="encrypted"/>',
    ],
)
def test_an_unknown_hook_is_refused(hook: str) -> None:
    for hooks in (hook, hook + ccm.ZLIB_HOOK, ccm.ZLIB_HOOK + hook):
        body = ccm.raw_message(header(hooks=hooks), zlib.compress(ONE))
        assert reason(body) is Reason.BODY_NOT_INSPECTABLE


@pytest.mark.parametrize("tag", ["Hook2", "Hook4", "Filter"])
def test_an_encrypted_message_is_recognized_and_not_parsed(tag: str) -> None:
    hook = f'<{tag} Name="encrypt"/>'
    for hooks in (hook, hook + ccm.ZLIB_HOOK, ccm.ZLIB_HOOK + hook):
        message = accepted(ccm.raw_message(header(hooks=hooks), b"whatever"))
        assert message.encrypted
        assert (message.documents, message.inflated) == ((), b"whatever")
    assert not accepted(ccm.raw_message(header(), zlib.compress(ONE))).encrypted


@pytest.mark.parametrize(
    "hooks",
    [
        '<Hook2 Name="clientauth"><Hook2 Name="encrypt"/></Hook2>',
        '<Hook2 Name="clientauth"/><Hook2 Name="clientauth"/>',
        "".join(f'<Hook Name="{number}"/>' for number in range(9)),
        '<Hook2 Name="clientauth"><Property Name="PublicKey"/><Property Name="PublicKey"/></Hook2>',
        '<Hook2 Name="clientauth"><Property Name="publickey">00</Property></Hook2>',
        '<Hook2 Name="clientauth">'
        + "".join(f'<Property Name="{number}"/>' for number in range(33))
        + "</Hook2>",
    ],
)
def test_hooks_that_a_lenient_parser_could_read_as_others_are_refused(hooks: str) -> None:
    body = ccm.raw_message(header(hooks=hooks + ccm.ZLIB_HOOK), zlib.compress(ONE))
    assert refused(body).rule == "ccm.header.children"


def test_a_second_list_of_hooks_is_refused() -> None:
    more = '<Hooks><Hook2 Name="clientauth"/></Hooks>'
    body = ccm.raw_message(header(more=more), zlib.compress(ONE))
    assert reason(body) is Reason.XML


@pytest.mark.parametrize(
    ("hooks", "payload", "inner_type"),
    [
        ("", zlib.compress(ONE), b"application/octet-stream"),
        (ccm.ZLIB_HOOK, ONE, PLAIN),
        (ccm.ZLIB_HOOK, zlib.compress(ONE), PLAIN),
    ],
)
def test_hooks_and_type_that_disagree_are_refused(
    hooks: str, payload: bytes, inner_type: bytes
) -> None:
    body = ccm.raw_message(header(hooks=hooks), payload, inner_type=inner_type)
    assert refused(body) == Deny(
        Reason.COMPRESSION,
        Rule("ccm.hooks"),
        "the hooks and the payload's Content-Type disagree on the compression",
    )


# Properties

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="<&>\r", exclude_categories=("Cc", "Cn", "Cs")),
    max_size=40,
)


@given(TEXTS, st.booleans(), st.booleans())
def test_a_message_round_trips(text: str, compressed: bool, trailing_crlf: bool) -> None:
    xml = f"<Report>{text}</Report>"
    plain = utf16(xml) + b"\0\0" + (b"\r\n" if trailing_crlf else b"")
    slices = [(0, len(utf16(xml)) + 2)]
    body = (
        ccm.raw_message(header(slices), zlib.compress(plain))
        if compressed
        else ccm.raw_message(header(slices, hooks=""), plain, inner_type=PLAIN)
    )
    message = accepted(body)
    assert (texts(message), message.inflated) == ((xml,), plain)


@given(st.binary(max_size=100), st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(content_type: bytes, raw: bytes) -> None:
    bodies = (
        raw,
        with_header_bytes(raw),
        with_header_bytes(b"\xff\xfe" + raw),
        ccm.raw_message(header(), raw),
        ccm.raw_message(header(), zlib.compress(raw)),
        sliced(raw, [(0, len(raw))]),
        ccm.raw_message(header([(0, len(raw))], hooks=""), raw, inner_type=PLAIN),
    )
    for kind in (content_type, TYPE):
        for body in bodies:
            assert isinstance(read_ccm_request(kind, body, 150), CcmRequest | Deny)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_parsed_or_refused_without_an_exception(at: int, change: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= change
    assert isinstance(read(bytes(broken)), CcmRequest | Deny)
