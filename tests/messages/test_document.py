"""Documents of messages: values are found, and malformed documents are refused."""

from __future__ import annotations

import time
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.limits import MAX_DEPTH

from .making import DOCUMENTS, ENCODED, GUIDS, Encode, spelt

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cn", "Cs")), max_size=30)


def accepted(text: str) -> Document:
    result = read_document(text, "here")
    assert isinstance(result, Document), result
    return result


def standing(place: Place, value: str, parent: str, name: str, encode: Encode) -> str:
    """An element or an attribute with a value at the place."""
    if "@" in place:
        return f"<{parent} {name}={quoteattr(value)}/>"
    return f"<{parent}><{name}>{encode(value)}</{name}></{parent}>"


@pytest.mark.parametrize("place", Place)
@given(st.data())
def test_every_value_at_a_place_is_found(place: Place, data: st.DataObject) -> None:
    parent, _, name = place.replace("@", "").partition("/")
    written = data.draw(st.lists(TEXTS, max_size=8))
    elements = [
        standing(
            place,
            value,
            data.draw(spelt(parent)),
            data.draw(spelt(name)),
            data.draw(st.sampled_from(ENCODED)),
        )
        for value in written
    ]
    document = accepted(f"<Report>{'<a>x</a>'.join(elements)}</Report>")
    assert document.at(place) == tuple(dict.fromkeys(written))
    assert all(document.at(other) == () for other in Place if other is not place)


@pytest.mark.parametrize("place", [place for place in Place if "@" not in place])
def test_a_value_may_be_split_and_contain_elements(place: Place) -> None:
    parent, _, name = place.partition("/")
    pieces = "a<b>b</b><!-- x --><![CDATA[c]]>&#100;<?x y?>"
    document = accepted(f"<r><{parent}><{name}>{pieces}</{name}></{parent}></r>")
    assert document.at(place) == ("abcd",)
    within = f"<{parent}><{name}>in</{name}></{parent}>"
    document = accepted(f"<r><{parent}><{name}>out{within}</{name}></{parent}></r>")
    assert set(document.at(place)) == {"outin", "in"}


def test_a_value_at_another_place_is_ignored() -> None:
    document = accepted(
        "<ClientID>a<Machine><b><ClientID>c</ClientID></b></Machine><Machine>d</Machine>"
        "<Resource><a ResourceType='User'/></Resource><Machine ClientID='e'/></ClientID>"
    )
    assert not any(document.at(place) for place in Place)


def test_nested_subject_elements_do_not_multiply_the_work() -> None:
    # It would be a bomb if each one read all text in it.
    deep = MAX_DEPTH - 2
    many = f"<a>{' ' * 40}</a>" * 100_000
    within = f"{'<User>' * deep}{many}{'</User>' * deep}"
    beside = f"<User>{many}</User>{'<User></User>' * deep}"
    took = {}
    for text in (within, beside):
        before = time.process_time()
        assert accepted(f"<r>{text}</r>").subjects == frozenset()
        took[text] = time.process_time() - before
    assert took[within] < 2 * took[beside] + 0.1


REQUESTS = (
    documents.policy_request(GUIDS[0]),
    documents.location_request(),
    documents.inventory_report(GUIDS[0], rows=2),
    f"<?xml version='1.0' encoding='utf-16'?>\r\n{documents.policy_request(GUIDS[0])}",
)


@pytest.mark.parametrize("text", REQUESTS)
def test_a_truncated_document_is_refused(text: str) -> None:
    accepted(text)
    for length in range(len(text)):
        assert isinstance(read_document(text[:length], "here"), Deny)


@given(DOCUMENTS, st.sampled_from((" ", "\r\n", "<!-- x -->", "<?x y?>")))
def test_white_space_and_comments_around_a_document_change_nothing(text: str, around: str) -> None:
    plain, more = accepted(text), accepted(around + text + around)
    assert (plain.root, plain.elements, plain.values) == (more.root, more.elements, more.values)


@given(DOCUMENTS, st.sampled_from(("x", "<a/>", "\0", "</a>", "&#32;", "<![CDATA[]]>", "<!")))
def test_anything_else_after_a_document_is_refused(text: str, after: str) -> None:
    assert isinstance(read_document(text + after, "here"), Deny)


@given(DOCUMENTS, st.data())
def test_one_changed_character_is_parsed_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    instead = data.draw(st.sampled_from("<>&'\"/ =\0x:\ufeff\ud800"[:-1]))
    result = read_document(text[:at] + instead + text[at + 1 :], "here")
    assert isinstance(result, Document) or len(result.detail) < 200
