"""Plain XML: what is split at its tags, expat reads in the same way."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.messages import plain_xml
from ibcm_bridge.messages.document import Document, parsed_document
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES
from ibcm_bridge.messages.msg_header import MAX_PLAIN_TAGS
from ibcm_bridge.messages.plain_xml import (
    MAX_BYTES,
    MAX_DISTINCT,
    MAX_EQUALS_SIGNS,
    MAX_OPEN,
    MAX_TAG,
    MAX_TAGS,
    MAX_VISITS,
    REMEMBERED,
    NotPlainError,
    Tag,
    Visited,
    plain_elements,
    read_plain,
    watched_elements,
)
from ibcm_bridge.messages.xml import FREE_ELEMENTS, most_elements
from ibcm_bridge.messages.xml import MAX_TAG as MAX_TAG_OF_ANY

from .both_parsers import all_elements, is_plain, same, same_header, split
from .making import DOCUMENTS, GUID_PLACES, GUIDS, HEADERS, VALUES

LAB_DOCUMENTS = (
    documents.policy_request(GUIDS[0]),
    documents.location_request(),
    documents.inventory_report(GUIDS[0], rows=30),
    documents.state_report(GUIDS[0]),
    documents.upload_request(),
)


@pytest.mark.parametrize("text", LAB_DOCUMENTS)
def test_the_documents_of_clients_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        "<a></a>",
        "<a>x</a>",
        "<a> \t\n<b/>x<b c='1' d=\"2\"/></a>\n",
        "\n<a>\r\nx\r<b\n c='1'\t/></a>\r\n",
        "<x:a xmlns:x='u'><x:b x:c='d:e'></x:b></x:a>",
        "<a:b:c>:</a:b:c>",
        "<a>]] \x7f\x80\ufffd\U0001f600\U0010ffff</a>",
        "<a b='=/\"' c=\"'\"/>".replace("/>", "></a>"),
        "<a b='ä €'>ü</a>",
        '<?xml version="1.0"?><a></a>',
        "<?xml version='1.0' encoding='Utf-16'?>\n<a></a>",
        '<?xml version="1.0" encoding="utf-8" ?><a></a>',
        "<a><a></a></a>",
        "<_a.b-c1></_a.b-c1>",
    ],
)
def test_tags_and_text_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "<a>", "</a>", "<a/>", "<a></b>", "<a><b></a></b>", "<a></a></a>", "<a><b>"),
        *("<a></a><a></a>", "<a></a><b/>", "<a></a><b></b>", "<a></a>x", "x<a></a>", "<a>x"),
        *("<a/>x>>", "<a/><b></b>", "<a>></a>", "<a><</a>", "<a>x>y>z</a>", "<a></a>>", "><a></a>"),
        *("<a b></a>", "<a b=></a>", "<a b=c></a>", "<a b='></a>", "<a b='1'c='2'></a>", "<1></1>"),
        *("<a b='1' b='2'></a>", "<a b='<'></a>", "<a b='\t'></a>", "<a b = '1'></a>", "< a></a>"),
        *(
            "<a>&amp;</a>",
            "<a b='&amp;'></a>",
            "<a><!-- --></a>",
            "<a><?x?></a>",
            "<!DOCTYPE a><a>",
        ),
        *("<a><![CDATA[x]]></a>", "<a>]]></a>", "\ufeff<a></a>", "<a>\ufffe</a>", "<a>\uffff</a>"),
        *("<ä></ä>", "<a ä='1'></a>", "<a></a >", "<a></ a>", "<a/ ></a>", "<a></a/>", "<a//></a>"),
        *(" <?xml version='1.0'?><a></a>", "<?xml version='1.1'?><a></a>", "<?xml?><a></a>"),
        *("<?xml version='1.0' encoding='utf-7'?><a></a>", "<?xml version='1.0'><a></a>"),
        *("<a b='1\n'></a>", "<a></a>\x0b", "<a></a>\xa0", "\u2028<a></a>", "<a\xa0b='1'></a>"),
        f"<a b='{'A' * 64}'></a>",
    ],
)
def test_anything_else_is_for_expat(text: str) -> None:
    assert not is_plain(text)


@pytest.mark.parametrize("code", [*range(0x100), 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0x1FFFE])
@pytest.mark.parametrize("form", ["<a>%s</a>", "<a b='%s'></a>", "<a%sb='1'></a>", "%s<a></a>"])
def test_each_character_is_read_as_expat_reads_it(code: int, form: str) -> None:
    is_plain(form % chr(code))
    if code >= 32 and chr(code) not in "<&>'\ufffe\uffff":
        assert is_plain(f"<a>{chr(code)}</a>")


NAMES = st.sampled_from(("a", "b", "A", "x:a", "Report", "Machine", "ClientID", "User", "a.b"))
TEXTS = st.sampled_from(
    ("", " ", "x", "x", "é", "\r\n", "\n", "\t", "]]", "=", "'", '"', "/", "a:b")
)
PIECES = st.lists(
    st.one_of(
        st.builds("<{}>".format, NAMES),
        st.builds("<{}/>".format, NAMES),
        st.builds("</{}>".format, NAMES),
        st.builds("<{} {}='{}'>".format, NAMES, NAMES, TEXTS),
        TEXTS,
        st.sampled_from(("<", ">", "&", "<!--", "-->", "<?", "?>", "/>", "</", "<a", "='", "\0")),
    ),
    max_size=12,
).map("".join)


@st.composite
def nested(draw: st.DrawFn, depth: int = 4) -> str:
    """A plain element."""
    name = draw(NAMES)
    attributes = draw(
        st.dictionaries(NAMES, TEXTS.filter(lambda text: "'" not in text), max_size=2)
    )
    written = "".join(f" {name}='{value}'" for name, value in attributes.items())
    inner = draw(st.lists(nested(depth=depth - 1), max_size=3)) if depth else []
    texts = draw(st.lists(TEXTS, min_size=len(inner) + 1, max_size=len(inner) + 1))
    content = "".join(text + element for text, element in zip(texts, [*inner, ""], strict=True))
    return f"<{name}{written}>{content}</{name}>"


@given(st.one_of(PIECES, PIECES.map("<a>{}</a>".format), st.text(max_size=30)))
def test_a_split_document_is_well_formed(text: str) -> None:
    is_plain(text)


@given(nested(), st.data())
def test_a_changed_document_is_read_as_expat_reads_it(text: str, data: st.DataObject) -> None:
    is_plain(text)
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 4)))
    is_plain(text[:begin] + data.draw(TEXTS | PIECES) + text[end:])


@given(DOCUMENTS)
def test_both_parsers_find_the_same_values(text: str) -> None:
    same(text)


def spelt() -> Iterator[str]:
    for name in ("ClientID", "clientid", "x:CLIENTID"):
        for parent in ("Machine", "x:machine", "Instance", "a"):
            for value in GUIDS:
                yield f"<{parent}><{name}>{value}</{name}></{parent}>"
                yield f"<{parent} {name}='{value}'></{parent}>"
                yield f"<{parent}><Property Name='{name}' Value='{value}'/></{parent}>"
                yield f"<{parent}><Property name=' {name} '>{value}</Property></{parent}>"


VALUED = st.sampled_from(
    (
        *spelt(),
        *(
            "<User/>",
            "<User> </User>",
            "<User>x</User>",
            "<user a=''/>",
            "<x:User x:a='1'></x:User>",
        ),
        *("<Topic><ID>x GUID:0A1B2C3D-0000-4000-8000-00000000000F</ID></Topic>", "<ClientID/>"),
        *(
            "<Certificates><Signing>00ff</Signing></Certificates>",
            "<Resource ResourceType='User'/>",
        ),
        "<Signature><SignatureValue></SignatureValue></Signature>",
        "<Topic ID='GUID:0A1B2C3D-0000-4000-8000-00000000000F;x' Type='1'/>",
        "<AgentInformation AgentType='1' agenttype='2'></AgentInformation>",
        f"<PreviousClientID>{GUIDS[1]}</PreviousClientID>",
    )
)


@given(st.lists(VALUED, max_size=6), NAMES, VALUES)
def test_both_parsers_find_the_same_values_in_a_plain_document(
    elements: list[str], root: str, text: str
) -> None:
    inner = "".join(elements)
    assert same(f"<Report>{inner}</Report>")
    same(f"<{root}>{inner}</{root}>")
    same(f"<{root}>{text}{inner}</{root}>")
    same(f"<{root}><User>{inner}</User><Machine>{inner}</Machine></{root}>")


def test_a_value_with_elements_in_it_is_for_expat() -> None:
    assert not same("<a><Machine><ClientID>x<b/></ClientID></Machine></a>")
    assert not same("<a><User><b/></User></a>")
    assert not same("<a><ClientID><b/></ClientID></a>")
    assert same("<a><Machine a='1'><b/></Machine></a>")


def test_too_many_values_are_for_expat() -> None:
    values = "".join(f"<Machine><ClientID>{n}</ClientID></Machine>" for n in range(20))
    assert not same(f"<a>{values}</a>")
    assert isinstance(parsed_document(f"<a>{values}</a>", "here", lambda _root: GUID_PLACES), Deny)


def test_a_plain_document_is_within_all_limits() -> None:
    """So that splitting it needs no other limit."""
    assert MAX_OPEN < MAX_DEPTH
    assert MAX_TAG < MAX_TAG_OF_ANY
    assert MAX_DISTINCT < MAX_NAMES
    assert MAX_EQUALS_SIGNS <= FREE_ELEMENTS
    assert most_elements(0) >= MAX_TAGS + MAX_EQUALS_SIGNS // 2


@pytest.mark.parametrize(
    ("form", "most"),
    [
        ("<a>{0}</a>", MAX_BYTES - 7),
        ("<a>{1}</a>", MAX_EQUALS_SIGNS),
        ("<a>{2}</a>", MAX_TAGS - 2),
        ("<a>{3}</a>", MAX_DISTINCT - 1),
        ("<a b='{4}'></a>", MAX_TAG - len("<a b=''")),
        ("{5}x{6}", MAX_OPEN),
    ],
)
def test_the_size_of_a_plain_document_is_limited(form: str, most: int) -> None:
    for count in (most, most + 1):
        distinct = "".join(f"<b{number}/>" for number in range(count if "{3}" in form else 0))
        text = form.format(
            *("x" * count, "=" * count, "<b/>" * count, distinct, " " * count),
            *("<a>" * count, "</a>" * count),
        )
        assert (read_plain(text, no_elements, unvisited) is not None) == (count == most)
        assert isinstance(parsed_document(text, "here", lambda _root: GUID_PLACES), Document)


def no_elements(tags: Sequence[str]) -> Sequence[Visited]:
    return watched_elements(tags, lambda _tag: False)


def unvisited(_tag: Tag, _around: Sequence[str], _text: str | None) -> None:
    raise AssertionError


def test_the_visits_to_a_plain_document_are_limited() -> None:
    assert split(f"<a>{'<b/>' * (MAX_VISITS - 1)}</a>") is not None
    assert split(f"<a>{'<b/>' * MAX_VISITS}</a>") is None


def test_a_visit_sees_the_text_of_an_element() -> None:
    seen = []

    def visit(tag: Tag, around: Sequence[str], text: str | None) -> None:
        seen.append((tag.name, list(around), text))

    def watched(tags: Sequence[str]) -> Sequence[Visited]:
        return watched_elements(tags, lambda tag: tag.name != "r")

    text = "<r>0<a>1</a>2<b/>3<a>4<b/>5</a><c></c></r>"
    read = read_plain(text, watched, visit)
    assert read == "012345"
    assert seen == [
        *(("a", ["r"], "1"), ("b", ["r"], ""), ("a", ["r"], None), ("b", ["r", "a"], "")),
        ("c", ["r"], ""),
    ]


def test_a_visit_may_leave_the_document_to_expat() -> None:
    def visit(*_: object) -> None:
        raise NotPlainError

    assert read_plain("<a><b/></a>", all_elements, visit) is None


def test_only_so_many_tags_are_remembered() -> None:
    for number in range(3):
        tags = "".join(f"<b{number}.{n}/>" for n in range(MAX_DISTINCT - 1))
        assert split(f"<a>{tags}</a>") is not None
    assert plain_xml.read_tag.cache_info().currsize == REMEMBERED


# Headers

HOOKS = (
    '<Hook2 Name="clientauth"><Property Name="PublicKey">00ff</Property><Property Name="Token"/>'
    '</Hook2><Hook3 Name="zlib-compress" />'
)
HEADER = ccm.message_header("MP_HinvEndpoint", 20, HOOKS, GUIDS[0])


def test_the_headers_of_clients_are_plain() -> None:
    for hooks in ("", HOOKS, ccm.ZLIB_HOOK):
        assert same_header(ccm.message_header("MP_HinvEndpoint", 20, hooks, GUIDS[0]))
    assert not same_header(HEADER.replace("<Hooks>", "x<Hooks>"))
    assert not same_header(HEADER.replace("<Hooks>", "<!-- --><Hooks>"))
    assert not same_header(HEADER.replace("<Hooks>", "<a/>" * MAX_PLAIN_TAGS + "<Hooks>"))


@given(HEADERS)
def test_both_parsers_read_the_same_header(text: str) -> None:
    same_header(text)


CHANGES = st.sampled_from(
    (
        *(
            "<a/>",
            "<a>x</a>",
            " ",
            "x",
            "</Hooks>",
            "<Hooks>",
            "</Hook2>",
            "<Body/>",
            "<SourceID/>",
        ),
        *(
            "<SourceID>",
            "</SourceID>",
            "<x:ReplyTo>a</x:ReplyTo>",
            "/>",
            ">",
            "</Property>",
            "<Msg>",
        ),
        *(
            '<Property Name="Token">',
            "<Hook Name='a'/>",
            "<hook/>",
            "</Msg>",
            "<Payload Type='x'/>",
        ),
        *("<Attachment Offset='0' Length='2'/>", "<Property Name='x'/>", "<Payload Type='x'/>"),
        *HEADER.replace(">", ">\n").splitlines(),
    )
)


@given(st.lists(st.tuples(st.integers(0, len(HEADER)), st.integers(0, 3), CHANGES), max_size=3))
def test_both_parsers_read_the_same_from_a_changed_header(
    changes: list[tuple[int, int, str]],
) -> None:
    text = HEADER
    ends = [end.end() for end in re.finditer("[<>]", text)]
    for at, more, change in changes:
        begin = ends[at % len(ends)] if more % 2 else at
        text = text[:begin] + change + text[begin + more // 2 :]
    same_header(text)


@pytest.mark.parametrize(
    "text", ["<a/>", "<a></a><b/>", "<a></a><b></b>", "<a/>x>>", "<a><b></a></b>", "", "<a><b>"]
)
def test_the_elements_of_a_plain_document_end_at_their_places(text: str) -> None:
    assert plain_elements(text) is None
