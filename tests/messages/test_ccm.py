"""CCM_POST messages: what clients send is read; whatever could not be inspected is refused."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages.ccm import CcmRequest, read_ccm_request
from ibcm_bridge.messages.limits import MAX_HEADER, MAX_SLICES

GUID = "0a1b2c3d-0000-4000-8000-00000000000f"
TYPE = ccm.CONTENT_TYPE.encode()
LIMIT = 1_000_000
PLAIN = b"text/plain; charset=UTF-16"


def read(body: bytes, limit: int = LIMIT) -> CcmRequest | Deny:
    return read_ccm_request(TYPE, body, limit)


def accepted(body: bytes) -> CcmRequest:
    result = read(body)
    assert isinstance(result, CcmRequest), result
    return result


def texts(message: CcmRequest) -> tuple[str, ...]:
    return tuple(one.text for one in message.documents)


def refused(body: bytes, limit: int = LIMIT) -> Deny:
    result = read(body, limit)
    assert isinstance(result, Deny), result
    assert len(result.detail) < 200
    return result


def reason(body: bytes, limit: int = LIMIT) -> Reason:
    return refused(body, limit).reason


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def report(xml: str = "<Report/>", *, trailing_crlf: bool = True) -> bytes:
    return ccm.ccm_post_body(
        endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID, trailing_crlf=trailing_crlf
    )


Slices = Iterable[tuple[int, int]]


def header(slices: Slices = ((0, 20),), hooks: str = ccm.ZLIB_HOOK, more: str = "") -> str:
    """A Msg header with one Body and any Attachments; 20 bytes is `<Report/>` and its NUL."""
    body, *attachments = [f'Offset="{offset}" Length="{length}"' for offset, length in slices]
    return (
        f'<Msg SchemaVersion="1.1"><Body Type="ByteRange" {body}/>'
        + "".join(f"<Attachment {attachment}/>" for attachment in attachments)
        + f"<Hooks>{hooks}</Hooks><TargetEndpoint>MP_DdrEndpoint</TargetEndpoint>{more}</Msg>"
    )


def sliced(plain: bytes, slices: Slices) -> bytes:
    return ccm.raw_message(header(slices), zlib.compress(plain))


ONE = utf16("<Report/>\0")


# What is read


@pytest.mark.parametrize("trailing_crlf", [True, False])
def test_a_compressed_message_is_read_with_or_without_its_trailing_crlf(
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


def test_a_message_that_is_not_compressed_is_read() -> None:
    body = ccm.raw_message(header(hooks=""), ONE, inner_type=PLAIN)
    message = accepted(body)
    assert (message.inflated, texts(message)) == (ONE, ("<Report/>",))


def test_a_signed_message_is_read() -> None:
    hook = '<Hook2 Name="clientauth"><Property Name="PayloadSignature">00</Property></Hook2>'
    assert accepted(ccm.raw_message(header(hooks=hook + ccm.ZLIB_HOOK), zlib.compress(ONE)))


def test_a_large_inventory_is_read() -> None:
    xml = documents.inventory_report(GUID, rows=200)
    assert texts(accepted(report(xml))) == (xml,)


def test_an_xml_declaration_names_what_the_text_was_decoded_from() -> None:
    xml = '<?xml version="1.0" encoding="utf-16"?><Report/>'
    assert texts(accepted(report(xml))) == (xml,)
    assert reason(report(xml.replace("utf-16", "utf-7"))) is Reason.ENCODING


def test_a_heartbeat_with_two_attachments_is_read() -> None:
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
        assert any(text in one for one in texts(message))


def test_the_same_slice_may_be_named_more_than_once() -> None:
    assert texts(accepted(sliced(ONE, [(0, 20)] * MAX_SLICES))) == ("<Report/>",)


def test_elements_of_the_header_stand_in_any_order() -> None:
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
def test_what_another_reader_could_take_for_the_messages_own_is_refused(decoy: str) -> None:
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


HEADER = header()


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


def test_a_header_is_bounded() -> None:
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
def test_a_hook_that_hides_or_changes_the_payload_is_refused(hook: str) -> None:
    for hooks in (hook, hook + ccm.ZLIB_HOOK, ccm.ZLIB_HOOK + hook):
        body = ccm.raw_message(header(hooks=hooks), zlib.compress(ONE))
        assert reason(body) is Reason.BODY_NOT_INSPECTABLE


@pytest.mark.parametrize("tag", ["Hook2", "Hook4", "Filter"])
def test_an_encrypted_message_is_said_to_be_one_and_not_read(tag: str) -> None:
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
def test_hooks_that_another_reader_could_take_for_others_are_refused(hooks: str) -> None:
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
        Reason.COMPRESSION, "ccm.hooks", "the hooks and the payload's type disagree"
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


def test_a_bomb_that_is_cut_off_is_still_a_bomb() -> None:
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
def test_text_that_cannot_be_read_is_refused(plain: bytes, expected: Reason) -> None:
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
def test_a_slice_that_is_not_of_the_payload_is_refused(body: str) -> None:
    xml = HEADER.replace('Offset="0" Length="20"', body)
    assert reason(ccm.raw_message(xml, zlib.compress(ONE))) is Reason.XML


def test_a_slice_of_half_a_character_is_refused() -> None:
    assert reason(sliced(ONE, [(0, 19)])) is Reason.ENCODING


def test_a_slice_begins_with_a_whole_character() -> None:
    # Shifted by a byte it would read well here, and differently where slices are of characters.
    shifted = b"\0" + ONE + b"\0"
    assert reason(sliced(shifted, [(1, 20)])) is Reason.XML


def test_a_second_slice_is_held_to_the_same_rules() -> None:
    assert isinstance(read(sliced(ONE + ONE, [(0, 20), (20, 20)])), CcmRequest)
    assert reason(sliced(ONE + utf16("<!DOCTYPE a><a/>"), [(0, 20), (20, 32)])) is Reason.XML_DTD
    assert reason(sliced(ONE, [(0, 20), (0, 22)])) is Reason.XML


@pytest.mark.parametrize("hidden", ["<Hidden/>", "x", " ", "\t", "A\0"])
@pytest.mark.parametrize("where", ["before", "between", "after"])
def test_text_that_no_slice_covers_is_refused(hidden: str, where: str) -> None:
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
        "text that no Body or Attachment covers",
    )


@pytest.mark.parametrize("padding", [b"", b"\0\0", b"\r\n", b"\0\0\r\n", b"\0" * 64, b"\0"])
def test_what_no_slice_covers_may_be_padding(padding: bytes) -> None:
    assert texts(accepted(sliced(ONE + padding, [(0, 18)]))) == ("<Report/>",)


def test_there_are_only_so_many_slices() -> None:
    def message(count: int) -> bytes:
        return sliced(ONE * count, [(20 * index, 20) for index in range(count)])

    assert isinstance(read(message(MAX_SLICES)), CcmRequest)
    assert reason(message(MAX_SLICES + 1)) is Reason.XML


def test_slices_may_not_make_one_payload_many_times_as_much_to_read() -> None:
    plain = utf16("<a/>" + " " * 1_000 + "\0")
    size = len(plain)
    assert isinstance(read(sliced(plain, [(0, size), (0, size - 2)])), CcmRequest)
    overlapping = [(0, size - 2 * step) for step in range(3)]
    denial = refused(sliced(plain, overlapping))
    assert (denial.reason, denial.detail) == (Reason.XML, "slices that overlap too much")


# Algebra

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="<&>\r", exclude_categories=("Cc", "Cn", "Cs")),
    max_size=40,
)


@given(TEXTS, st.booleans(), st.booleans())
def test_what_was_sent_is_what_is_read(text: str, compressed: bool, trailing_crlf: bool) -> None:
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
def test_any_bytes_are_read_or_refused(content_type: bytes, raw: bytes) -> None:
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
def test_one_changed_byte_is_read_or_refused_and_never_an_accident(at: int, change: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= change
    assert isinstance(read(bytes(broken)), CcmRequest | Deny)
