"""The Msg header: parsed in any order of its children, and refused if it is ambiguous."""

from __future__ import annotations

from random import Random
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.msg_header import MsgHeader, read_header
from tests.messages.making import ENCODED, Encode

BODY = '<Body Type="ByteRange" Offset="0" Length="20"/>'


def utf16(xml: str) -> bytes:
    return b"\xff\xfe" + xml.encode("utf-16-le")


def accepted(xml: str) -> MsgHeader:
    header = read_header(utf16(xml))
    assert isinstance(header, MsgHeader), header
    return header


def refused(xml: str) -> Deny:
    header = read_header(utf16(xml))
    assert isinstance(header, Deny), header
    assert len(header.detail) < 200
    return header


def with_hooks(hooks: str) -> str:
    return f'<Msg xmlns:x="u">{BODY}<Hooks>{hooks}</Hooks></Msg>'


# Ambiguous headers


@pytest.mark.parametrize("name", ["TargetEndpoint", "SourceID", "ReplyTo"])
@pytest.mark.parametrize("inside", ["<!-- x -->", "<?x?>", "<b/>", "<b>x</b>"])
def test_markup_in_a_text_that_names_something_is_refused(name: str, inside: str) -> None:
    accepted(f"<Msg>{BODY}<!-- x --><{name}>MP_X</{name}><?x?></Msg>")
    accepted(f"<Msg>{BODY}<{name}><![CDATA[MP_X]]></{name}><Other>a{inside}b</Other></Msg>")
    denial = refused(f"<Msg>{BODY}<{name}>MP_{inside}X</{name}></Msg>")
    assert (denial.reason, denial.rule) == (Reason.XML, "ccm.header.children")


SIGNED = '<Hook2 Name="clientauth"><Property Name="Token">00</Property></Hook2>'


@pytest.mark.parametrize(
    "odd",
    [
        '<Hook2 Name="clientauth" name="encrypt"/>',
        '<Hook2 Name="clientauth" x:Name="encrypt"/>',
        '<Hook2 Name="clientauth"><x:hook2 Name="encrypt"/></Hook2>',
        SIGNED.replace("Property Name", "Property name"),
        SIGNED.replace("Property Name", 'Property x:Name="PublicKey" Name'),
        SIGNED.replace("Token", "token"),
        SIGNED.replace("00", '<Property Name="PublicKey">00</Property>'),
        SIGNED.replace("00", "0<b/>0"),
        SIGNED.replace("</Hook2>", "") + "<Property Name='Token'/></Hook2>",
    ],
)
def test_hooks_and_properties_that_a_lenient_parser_reads_as_others_are_refused(odd: str) -> None:
    assert accepted(with_hooks(SIGNED)).signature == {"Token": "00"}
    denial = refused(with_hooks(odd))
    assert (denial.reason, denial.rule) == (Reason.XML, "ccm.header.children")


@pytest.mark.parametrize(
    "odd",
    [
        '<Payload type="Http"/>',
        '<Payload x:Type="Http"/>',
        '<Payload Type="inline" TYPE="Http"/>',
        '<Attachment Offset="0" Length="20" x:Offset="2"/>',
        '<Attachment Offset="0" Length="20" x:length="18"/>',
        '<Attachment Offset="0" Length="20" type="Http"/>',
    ],
)
def test_a_payload_that_a_lenient_parser_finds_elsewhere_is_refused(odd: str) -> None:
    assert accepted(f'<Msg>{BODY}<Payload Type="inline" Other="x"/></Msg>')
    denial = refused(f'<Msg xmlns:x="u">{BODY}{odd}</Msg>')
    assert (denial.reason, denial.rule) == (Reason.XML, "ccm.header.children")


# Round trips

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Cs")), max_size=20)
NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_", max_size=64)
NUMBERS = st.integers(0, 999_999_999)
SLICES = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8)
PROPERTIES = st.dictionaries(
    st.sampled_from(("PublicKey", "PayloadSignature", "ClientIDSignature", "Token", "Other")), TEXTS
)
SHUFFLED = st.randoms(use_true_random=False)


def slice_element(name: str, place: tuple[int, int], more: str) -> str:
    return f'<{name} {more}Offset="{place[0]}" Length="{place[1]}"/>'


def hook2(properties: dict[str, str], encode: Encode) -> str:
    inner = "".join(
        f"<Property Name={quoteattr(name)}>{encode(text)}</Property>"
        for name, text in properties.items()
    )
    return f'<Hook2 Name="clientauth">{inner}</Hook2>'


@given(NAMES, TEXTS, SLICES, PROPERTIES, st.booleans(), st.sampled_from(ENCODED), SHUFFLED)
def test_a_header_round_trips_in_any_order(
    endpoint: str,
    source: str,
    slices: list[tuple[int, int]],
    properties: dict[str, str],
    compressed: bool,
    encode: Encode,
    order: Random,
) -> None:
    hooks = [hook2(properties, encode)] + [ccm.ZLIB_HOOK] * compressed
    in_source = escape if encode is ENCODED[-1] else encode  # no comments
    children = [
        slice_element("Body", slices[0], 'Type="ByteRange" '),
        *(slice_element("Attachment", place, 'Name="{0}" ') for place in slices[1:]),
        f"<TargetEndpoint>{endpoint}</TargetEndpoint>",
        f"<SourceID>{in_source(source)}</SourceID>",
        f"<ReplyTo>{escape(source)}</ReplyTo>",
        f"<Hooks>{''.join(hooks)}</Hooks>",
        '<Property Name="x" Value="y"/>',
    ]
    order.shuffle(children)
    header = accepted(f"<Msg>{''.join(children)}</Msg>")
    assert header.target_endpoint == endpoint
    assert (header.source_id, header.reply_to) == (source, source.strip())
    assert sorted(header.slices) == sorted(slices)
    assert header.hooks == ("clientauth", "zlib-compress")[: len(hooks)]
    assert header.signature == properties


# Damaged headers

WHOLE = utf16(
    ccm.message_header(
        "MP_HinvEndpoint", 20, hook2({"Token": "00"}, escape) + ccm.ZLIB_HOOK, "0a1b2c3d"
    )
)


def test_a_truncated_header_is_refused() -> None:
    for length in range(len(WHOLE)):
        assert isinstance(read_header(WHOLE[:length]), Deny)


@pytest.mark.parametrize("after", ["\0", "\r\n", "\0\r\n"])
def test_padding_after_a_header_is_accepted(after: str) -> None:
    plain, ended = read_header(WHOLE), read_header(WHOLE + after.encode("utf-16-le"))
    assert isinstance(plain, MsgHeader)
    assert isinstance(ended, MsgHeader)
    assert (ended.children, ended.slices, ended.hooks) == (
        *(plain.children, plain.slices, plain.hooks),
    )


@pytest.mark.parametrize("after", [b"\0", b"x", b"x\0", b"<\0", b"\xff\xfe", b"\x00\xd8"])
def test_anything_else_after_a_header_is_refused(after: bytes) -> None:
    assert isinstance(read_header(WHOLE + after), Deny)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_parsed_or_refused(at: int, change: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= change
    header = read_header(bytes(broken))
    assert isinstance(header, MsgHeader | Deny)
    assert not isinstance(header, Deny) or len(header.detail) < 200
