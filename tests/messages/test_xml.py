"""XML without a document type declaration."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES
from ibcm_bridge.messages.xml import CHUNK_BYTES, FREE_ELEMENTS, MANY_TAGS, MAX_TAG, check_xml


def reason(document: str | bytes) -> Reason:
    raw = document.encode() if isinstance(document, str) else document
    denial = check_xml(raw, "here")
    assert isinstance(denial, Deny), denial
    assert denial.rule.startswith("here.")
    return denial.reason


@pytest.mark.parametrize(
    "document",
    [
        "<a/>",
        "<a></a>\r\n",
        "\ufeff<a/>",
        '<?xml version="1.0"?><a/>',
        '<?xml version="1.0" encoding="utf-8"?><a/>',
        '<?xml version="1.0" encoding="UTF-16" standalone="yes"?><a/>',
        '<a x="1">&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</a>',
        "<a><![CDATA[<!DOCTYPE x>]]></a>",
        "<!-- <!DOCTYPE x> --><a/>",
        "<a><?target <!DOCTYPE x> ?></a>",
        '<propfind xmlns="DAV:"><prop><getcontentlength/></prop></propfind>',
        "<a>\U0001f600 \u00e4</a>",
    ],
)
def test_well_formed_xml_without_a_document_type_is_accepted(document: str) -> None:
    assert check_xml(document.encode(), "here") is None


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ("<a><b>text</b><c></a>", "mismatched tag at line 1, column 20"),
        ("<a>\U0001f600<b></a>", "mismatched tag at line 1, column 10"),
        ("<a>\r\n<b>\n </a>", "mismatched tag at line 3, column 4"),
        ("x", "syntax error at line 1, column 1"),
        ("<a>" + "x" * CHUNK_BYTES + "<", "unclosed token at line 1, column 65540"),
    ],
)
def test_an_error_has_its_line_and_column(document: str, where: str) -> None:
    """Messages have one line; columns count characters, from 1."""
    denial = check_xml(document.encode(), "here")
    assert isinstance(denial, Deny)
    assert denial.detail == where


LAUGHS = "<!DOCTYPE r [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {name} '{f'&{before};' * 10}'>"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "document",
    [
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a []><a/>",
        "<!DOCTYPE a SYSTEM 'http://x.example/x.dtd'><a/>",
        "<!DOCTYPE a PUBLIC '-//x' 'x.dtd'><a/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///c:/windows/win.ini'>]><a>&x;</a>",
        "<!DOCTYPE a [<!ENTITY % x SYSTEM 'http://x.example/'> %x;]><a/>",
        "<!DOCTYPE a [<!ATTLIST a x CDATA 'default'>]><a/>",
        f"{LAUGHS}]><r>&i;</r>",
        '<?xml version="1.0" standalone="no"?>\n<!-- x -->\n<!DOCTYPE a><a/>',
        "\ufeff<!DOCTYPE a><a/>",
        "<!DOCTYPE a [",  # refused at the declaration, whatever would follow
    ],
)
def test_a_document_type_is_refused(document: str) -> None:
    assert reason(document) is Reason.XML_DTD


@pytest.mark.parametrize(
    "document",
    [
        "",
        " ",
        "text",
        "<a>",
        "</a>",
        "<a><b></a></b>",
        "<a/><b/>",
        "<a/>text",
        "text<a/>",
        " <?xml version='1.0'?><a/>",
        "<a x=1/>",
        "<a x='1' x='2'/>",
        "<a>&unknown;</a>",
        "<a>&nbsp;</a>",
        "<a>&#0;</a>",
        "<a>\0</a>",
        "<a/>\0",
        "<a>\x01</a>",
        "<a>\uffff</a>",
        "<a>]]></a>",
        "<!doctype a><a/>",
        "<a><!DOCTYPE a></a>",
        "<a/><!DOCTYPE a>",
        "<!ENTITY x 'y'><a/>",
    ],
)
def test_xml_that_is_not_well_formed_is_refused(document: str) -> None:
    assert reason(document) is Reason.XML


@pytest.mark.parametrize("raw", [b"<a>\xff</a>", b"<a>\xc0\xbc</a>", b"<a>\xed\xa0\x80</a>"])
def test_bytes_that_are_not_utf_8_are_refused(raw: bytes) -> None:
    assert reason(raw) is Reason.XML


@pytest.mark.parametrize("encoding", ["utf-7", "UTF-32", "iso-8859-1", "windows-1252", "x"])
def test_a_declaration_of_another_encoding_is_refused(encoding: str) -> None:
    # Read as UTF-7 the document below has a document type; read as UTF-8 it has text.
    hidden = f'<?xml version="1.0" encoding="{encoding}"?><a>+ADwAIQ-DOCTYPE a+AD4-</a>'
    assert reason(hidden) is Reason.ENCODING


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_and_utf_32_are_refused_although_expat_could_detect_them(encoding: str) -> None:
    assert reason("<a>text</a>".encode(encoding)) is Reason.XML


def test_a_document_is_parsed_in_pieces_and_a_problem_in_any_is_found() -> None:
    long = "<a>" + "x" * (2 * CHUNK_BYTES) + "</a>"
    assert check_xml(long.encode(), "here") is None
    assert reason(long[:-1]) is Reason.XML
    assert reason(f"<!--{'x' * CHUNK_BYTES}--><!DOCTYPE a><a/>") is Reason.XML_DTD


@pytest.mark.parametrize("shift", range(-4, 5))
def test_a_character_may_be_split_across_two_pieces(shift: int) -> None:
    document = "<a>" + "x" * (CHUNK_BYTES - 3 + shift) + "\U0001f600</a>"
    assert check_xml(document.encode(), "here") is None


def test_many_elements_and_attributes_are_accepted() -> None:
    assert check_xml(b"<a>" + b"<b/>" * (FREE_ELEMENTS - 1) + b"</a>", "here") is None
    attributes = b" ".join(b'a%d=""' % number for number in range(MAX_NAMES))
    assert check_xml(b"<a>" + (b"<a " + attributes + b"/>") * 3 + b"</a>", "here") is None
    inventory = documents.inventory_report("x", rows=20_000)
    assert check_xml(inventory.encode(), "here") is None
    state = b'<Topic ID="{0A1B2C3D-0000-4000-8000-00000000000F}" Type="500" IDType="3"/>'
    assert check_xml(b"<a>" + state * 100_000 + b"</a>", "here") is None


@pytest.mark.parametrize(
    "document",
    [
        b"<a>" + b"<b/>" * 100_000 + b"</a>",
        b"<a>" + b"<b></b>" * 100_000 + b"</a>",
        b"<a>" + b'<b c="" d="" e="" f=""/>' * 30_000 + b"</a>",
        b"<a>" + b"<b c = ''/>" * 30_000 + b"</a>",
        b"<a>" + b"".join(b'<b a%d="" b%d=""/>' % (n, n) for n in range(15_000)) + b"</a>",
    ],
)
def test_more_elements_or_attributes_than_text_allows_are_refused(document: bytes) -> None:
    denial = check_xml(document, "here")
    assert denial is not None
    assert (denial.reason, denial.rule) == (Reason.XML, "here.limits")
    # `=` in text is not an attribute, and more text allows more elements.
    assert check_xml(b"<a>" + b"=" * 1_000_000 + b"</a>", "here") is None
    if b"b1=" not in document:
        assert check_xml(document.replace(b"</a>", b"x" * 4_000_000 + b"</a>"), "here") is None


@pytest.mark.parametrize("form", [b"<a b='%b'/>", b"<a><!--%b--></a>", b"<a><?b %b?></a>"])
def test_one_very_long_tag_is_refused(form: bytes) -> None:
    # It may be as long as the limit, and is noticed at the end of a chunk.
    assert check_xml(form % (b"x" * (MAX_TAG - 10)), "here") is None
    denial = check_xml(form % (b"x" * (MAX_TAG + 3 * CHUNK_BYTES)), "here")
    assert denial is not None
    assert (denial.reason, denial.rule) == (Reason.XML, "here.limits")


@pytest.mark.parametrize(
    "text", [b"x", b"x\n", b"&amp;", b"]", b"<![CDATA[%b]]>" % (b"x" * 8_000_000)]
)
def test_a_text_may_be_long(text: bytes) -> None:
    document = b"<a>" + text * max(1, 8_000_000 // len(text)) + b"</a>"
    assert check_xml(document, "here", text=lambda _text: None) is None


def test_the_depth_of_elements_is_limited() -> None:
    def nested(depth: int) -> bytes:
        inner = (b"<c/>" + b" " * 28) * (MANY_TAGS + 1)
        return b"<b>" * (depth - 2) + inner + b"</b>" * (depth - 2)

    assert check_xml(b"<a>" + nested(MAX_DEPTH) + b"</a>", "here") is None
    denial = check_xml(b"<a>" + nested(MAX_DEPTH + 1) + b"</a>", "here")
    assert denial is not None
    assert (denial.reason, denial.rule) == (Reason.XML, "here.depth")


def test_handlers_receive_elements_and_text() -> None:
    seen: list[object] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        seen.append((name, dict(attributes)))

    document = b"<a x='1&lt;'>one &amp; <b/><![CDATA[<two>]]></a>"
    assert check_xml(document, "here", start, seen.append, seen.append) is None
    assert seen == [("a", {"x": "1<"}), "one & ", ("b", {}), "b", "<two>", "a"]


@given(st.binary(max_size=80))
def test_any_bytes_are_accepted_or_refused(raw: bytes) -> None:
    for document in (raw, b"<a>" + raw + b"</a>", b"<?xml " + raw):
        denial = check_xml(document, "here")
        assert denial is None or denial.reason in (Reason.XML, Reason.XML_DTD, Reason.ENCODING)


@given(st.text(max_size=40))
def test_no_document_type_is_ever_accepted(text: str) -> None:
    denial = check_xml(f"<!DOCTYPE a [{text}]><a/>".encode(errors="replace"), "here")
    assert isinstance(denial, Deny)
