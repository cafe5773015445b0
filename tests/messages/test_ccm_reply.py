"""Replies of a management point: every readable part is parsed, within limits."""

from __future__ import annotations

import zlib

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.reply_documents import ASSIGNMENTS
from ibcm_bridge.lab.site_systems.message_replies import MessageReplies
from ibcm_bridge.messages import ccm_reply
from ibcm_bridge.messages.ccm_reply import MAX_DOCUMENTS, MAX_HOOKS, CcmReply, read_ccm_reply

from .making import DOCUMENTS
from .second_readers import tree

TYPE = ccm.CONTENT_TYPE.encode()
LIMIT = 1_000_000
SIGNED = (
    '<Hook2 Name="clientauth"><Property Name="Signature">00</Property>'
    '<Property Name="MPSiteCode">LAB</Property></Hook2>'
)
OPENING = b"--%b\r\n" % ccm.BOUNDARY
CLOSING = b"\r\n--%b--" % ccm.BOUNDARY


def read(body: bytes, limit: int = LIMIT) -> CcmReply | Deny:
    return read_ccm_reply(TYPE, body, limit)


def accepted(body: bytes) -> CcmReply:
    result = read(body)
    assert isinstance(result, CcmReply), result
    return result


def refused(body: bytes, limit: int = LIMIT) -> Deny:
    result = read(body, limit)
    assert isinstance(result, Deny), result
    assert len(result.detail) < 200
    return result


def utf16(text: str) -> bytes:
    return text.encode("utf-16-le")


def reply_body(payload: bytes, hooks: str = "", *, header: str = "") -> bytes:
    """A reply of two parts, with an uncompressed payload."""
    return ccm.raw_message(header or f"<Msg><Hooks>{hooks}</Hooks></Msg>", payload)


def part(body: bytes, media_type: bytes = b"application/octet-stream") -> bytes:
    return b"content-type: %b\r\n\r\n%b" % (media_type, body)


def parts(*some: bytes) -> bytes:
    return OPENING + (b"\r\n" + OPENING).join(some) + CLOSING


HEADER = part(b"\xff\xfe" + utf16("<Msg/>"), b"text/plain; charset=UTF-16")


# Accepted replies


def test_a_reply_without_a_body_is_empty() -> None:
    assert accepted(b"") == CcmReply(empty=True)
    assert read_ccm_reply(b"", b"", LIMIT) == CcmReply(empty=True), "whatever its Content-Type"


@pytest.mark.parametrize(
    "text",
    [
        utf16("\ufeffNoReply"),
        utf16("NoReply"),
        utf16("\ufeffNoReply\0"),
        b"NoReply",
        b"NoReply\r\n",
        "\ufeffNoReply".encode(),
    ],
)
def test_no_reply_is_recognized_in_each_encoding(text: bytes) -> None:
    assert accepted(parts(part(text))) == CcmReply(no_reply=True)


@pytest.mark.parametrize("text", [b"", b"NoReplies", b"noreply", b"NoReply" + b" " * 99, b"\xff"])
def test_one_part_with_another_text_is_refused(text: bytes) -> None:
    denial = refused(parts(part(text)))
    assert (denial.reason, denial.rule) == (Reason.MULTIPART, "ccm_reply.parts")


def test_the_replies_of_the_lab_are_parsed() -> None:
    replies = MessageReplies()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def lab_reply(endpoint: str, xml: str) -> CcmReply:
        sent = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid="", key=key)
        return accepted(replies.reply(sent))

    assert lab_reply("MP_HinvEndpoint", "<Report/>").no_reply
    policy = lab_reply("MP_PolicyManager", "<RequestAssignments/>")
    assert policy.documents == (ASSIGNMENTS,)
    assert policy.roots == ("ReplyAssignments",)
    assert policy.hooks == ("zlib-compress",)
    assert "<mp>" in policy.parsed_text[0]
    assert policy.header_text.startswith("<Msg ")
    assert lab_reply("MP_LocationManager", "<Unknown/>").empty


@pytest.mark.parametrize(
    "payload",
    ["<A/>", "<A/>\0", "<A/>\0\0\0", "\ufeff<A/>\0", "<A/>\r\n", "<A/>\r\n\0", "\r\n<A/>"],
)
@pytest.mark.parametrize("trailing", [b"", b"\r\n"])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_reply_is_parsed_with_and_without_marks_and_ends(
    payload: str, trailing: bytes, compressed: bool
) -> None:
    plain = utf16(payload) + trailing
    sent = zlib.compress(plain) if compressed else plain
    reply = accepted(reply_body(sent, ccm.ZLIB_HOOK if compressed else ""))
    assert (reply.documents, reply.roots) == (("<A/>",), ("A",))


def test_a_crlf_after_the_closing_delimiter_is_accepted() -> None:
    assert accepted(reply_body(utf16("<A/>")) + b"\r\n").roots == ("A",)
    assert refused(reply_body(utf16("<A/>")) + b"\r\n\r\n").reason is Reason.MULTIPART


def test_the_header_may_have_no_byte_order_mark() -> None:
    body = parts(part(utf16("<Msg/>")), part(utf16("<A/>")))
    assert accepted(body).header_text == "<Msg/>"


def test_a_signed_reply_is_parsed_and_unknown_hooks_are_listed() -> None:
    body = reply_body(zlib.compress(utf16("<A/>")), SIGNED + ccm.ZLIB_HOOK + '<New Name="new"/>')
    reply = accepted(body)
    assert reply.hooks == ("clientauth", "zlib-compress", "new")
    assert reply.roots == ("A",)


@pytest.mark.parametrize("hook", ["encrypt", "Encrypt", "compress"])
def test_an_unreadable_hook_is_refused(hook: str) -> None:
    denial = refused(reply_body(utf16("<A/>"), f'<Hook2 Name="{hook}"/>'))
    assert (denial.reason, denial.rule) == (Reason.BODY_NOT_INSPECTABLE, "ccm_reply.hooks")


def test_each_nul_terminated_text_is_a_document() -> None:
    # protocol.md §1.3: NULs separate the slices of a heartbeat. For replies it is not known.
    reply = accepted(reply_body(utf16("<A/>\0\0<?xml version='1.0'?><x:B>b&amp;c</x:B>\0")))
    assert reply.roots == ("A", "B")
    assert reply.parsed_text[1].startswith("b&c")


@pytest.mark.parametrize("payload", ["<A/>\0text", "<A/><B/>", "text", "<A>", "<A/>\0<B>\0</B>"])
def test_a_payload_that_is_not_all_documents_is_refused(payload: str) -> None:
    assert refused(reply_body(utf16(payload))).reason is Reason.XML


# Three parts


def test_of_three_parts_the_readable_ones_are_parsed() -> None:
    reply = accepted(parts(HEADER, part(utf16("<A/>")), part(b"\x00\xd8signature")))
    assert (reply.roots, reply.unread_parts) == (("A",), 1)
    reply = accepted(parts(HEADER, part(b"\x00\xd8signature"), part(utf16("<A/>"))))
    assert (reply.roots, reply.unread_parts) == (("A",), 1)
    reply = accepted(parts(HEADER, part(utf16("<A/>")), part(utf16("<B/>"))))
    assert (reply.roots, reply.unread_parts) == (("A", "B"), 0)


def test_three_unreadable_parts_are_refused() -> None:
    assert refused(parts(HEADER, part(b"a"), part(b"b"))).reason is Reason.ENCODING


def test_a_fourth_part_is_refused() -> None:
    body = parts(HEADER, *[part(utf16("<A/>"))] * 3)
    assert refused(body).rule == "ccm_reply.parts"


# Limits


def test_a_bomb_is_inflated_only_to_the_limit() -> None:
    bomb = zlib.compress(b"\0" * 50_000_000)
    denial = refused(reply_body(bomb, ccm.ZLIB_HOOK), limit=1000)
    assert denial.reason is Reason.INFLATED_TOO_LARGE


def test_the_limit_holds_for_all_parts_together_and_without_compression() -> None:
    one = utf16("<A/>")
    assert refused(reply_body(one), limit=len(one) - 1).reason is Reason.INFLATED_TOO_LARGE
    both = parts(HEADER, part(one), part(one))
    reply = read(both, 2 * len(one))
    assert isinstance(reply, CcmReply)
    assert reply.unread_parts == 0
    reply = read(both, 2 * len(one) - 1)
    assert isinstance(reply, CcmReply)
    assert reply.unread_parts == 1


def test_a_header_that_is_too_large_is_refused() -> None:
    body = reply_body(utf16("<A/>"), header="<Msg>" + " " * ccm_reply.MAX_HEADER + "</Msg>")
    assert refused(body).reason is Reason.BODY_TOO_LARGE


def test_hooks_are_bounded_in_number_and_length() -> None:
    hooks = '<Hook Name="%s"/>' % ("h" * 999) * MAX_HOOKS
    reply = accepted(reply_body(utf16("<A/>"), hooks))
    assert reply.hooks == ("h" * 64,) * MAX_HOOKS
    assert refused(reply_body(utf16("<A/>"), hooks + "<Hook/>")).rule == "ccm_reply.hooks"


def test_documents_are_bounded_in_number() -> None:
    assert len(accepted(reply_body(utf16("<A/>\0" * MAX_DOCUMENTS))).documents) == MAX_DOCUMENTS
    assert refused(reply_body(utf16("<A/>\0" * (MAX_DOCUMENTS + 1)))).rule == "ccm_reply.documents"
    assert refused(reply_body(utf16("<A/>\0" * 50_000))).reason is Reason.XML


# Refused replies


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("<Other/>", Reason.XML),
        ("<Msg>", Reason.XML),
        ("", Reason.XML),
        ("<!DOCTYPE Msg><Msg/>", Reason.XML_DTD),
        ("<?xml version='1.0' encoding='utf-7'?><Msg/>", Reason.ENCODING),
    ],
)
def test_a_header_that_is_not_a_msg_is_refused(header: str, reason: Reason) -> None:
    body = parts(part(b"\xff\xfe" + utf16(header)), part(utf16("<A/>")))
    assert refused(body).reason is reason


def test_a_document_type_is_refused_in_a_payload_too() -> None:
    bomb = '<!DOCTYPE A [<!ENTITY a "b">]><A>&a;</A>'
    assert refused(reply_body(utf16(bomb))).reason is Reason.XML_DTD


def test_a_payload_that_does_not_match_its_hooks_is_refused() -> None:
    assert refused(reply_body(utf16("<A/>"), ccm.ZLIB_HOOK)).reason is Reason.COMPRESSION
    assert isinstance(read(reply_body(zlib.compress(utf16("<A/>")))), Deny)
    assert isinstance(read(reply_body(b"<A/>")), Deny), "UTF-8"


@pytest.mark.parametrize("content_type", [b"", b"text/plain", b"multipart/mixed", b"text/html"])
def test_a_body_that_is_not_multipart_is_refused(content_type: bytes) -> None:
    # protocol.md §1.7: for example an error page.
    denial = read_ccm_reply(content_type, b"<html/>", LIMIT)
    assert isinstance(denial, Deny)
    assert denial.reason is Reason.MULTIPART


@given(st.binary(max_size=300), st.booleans())
def test_any_reply_is_parsed_or_refused(data: bytes, framed: bool) -> None:
    result = read(parts(HEADER, part(data)) if framed else data)
    assert isinstance(result, CcmReply | Deny)


# Round trips and damaged replies


@given(
    st.lists(DOCUMENTS, min_size=1, max_size=4),
    st.lists(st.text("abcXYZ-1", max_size=12), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_reply_round_trips(
    documents: list[str], hooks: list[str], compressed: bool, ended: bool
) -> None:
    names = [name for name in hooks if name.lower() not in ("encrypt", "compress")]
    names += ["zlib-compress"] * compressed
    plain = utf16("\0".join(documents) + "\0" * ended)
    sent = zlib.compress(plain) if compressed else plain
    reply = accepted(reply_body(sent, "".join(f'<Hook Name="{name}"/>' for name in names)))
    assert reply.documents == tuple(documents)
    assert reply.hooks == tuple(names)
    assert [root.lower() for root in reply.roots] == [
        tree(document)[0].path[0] for document in documents
    ]


WHOLE = reply_body(zlib.compress(utf16(ASSIGNMENTS + "\0")), SIGNED + ccm.ZLIB_HOOK)


def test_a_truncated_reply_is_refused() -> None:
    accepted(WHOLE)
    for length in range(1, len(WHOLE)):
        refused(WHOLE[:length])


@given(st.binary(min_size=1, max_size=4))
def test_bytes_after_a_reply_are_refused(after: bytes) -> None:
    if after != b"\r\n":
        refused(WHOLE + after)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_parsed_the_same_or_refused(at: int, change: int) -> None:
    broken = bytearray(WHOLE)
    broken[at] ^= change
    result = read(bytes(broken))
    # zlib has a checksum for the payload; the header has none.
    assert isinstance(result, Deny) or result.documents == (ASSIGNMENTS,)
