"""What we read is what other readers, laxer than we are, read in the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given

from ibcm_bridge.decisions import Deny
from ibcm_bridge.messages.document import Document, Place, read_document
from ibcm_bridge.messages.header import MsgHeader, read_header

from .making import DOCUMENTS, HEADERS
from .second_readers import READERS, Element, Reader, texts, tree, values


def accepted(text: str) -> Document:
    result = read_document(text, "here")
    assert isinstance(result, Document), result
    return result


@pytest.mark.parametrize("reader", READERS)
@given(DOCUMENTS)
def test_a_value_that_any_reader_finds_at_a_place_is_found(reader: Reader, text: str) -> None:
    document, elements = accepted(text), reader(text)
    assert elements
    for place in Place:
        assert set(values(elements, place)) == set(document.at(place))


@given(DOCUMENTS)
def test_no_element_is_missed(text: str) -> None:
    document, elements = accepted(text), tree(text)
    assert document.root.lower() == elements[0].path[0]
    assert {one.path[-1] for one in elements} <= document.elements
    assert document.as_read.startswith(elements[0].text)


def as_header(text: str) -> MsgHeader | Deny:
    return read_header(b"\xff\xfe" + text.encode("utf-16-le"))


@pytest.mark.parametrize("reader", READERS)
@given(HEADERS)
def test_of_a_header_that_is_accepted_every_reader_reads_the_same(
    reader: Reader, text: str
) -> None:
    header = as_header(text)
    if isinstance(header, Deny):
        return
    elements = reader(text)
    assert {one.strip() for one in texts(elements, "TargetEndpoint")} == {header.target_endpoint}
    assert {one.strip() for one in texts(elements, "ReplyTo")} == {header.reply_to}
    assert set(texts(elements, "SourceID")) == {header.source_id}
    same_payload(header, elements)
    same_hooks(header, elements)


def same_payload(header: MsgHeader, elements: Sequence[Element]) -> None:
    """Where every reader finds the payload."""
    for one in elements:
        if one.path[-1] == "payload":
            assert all(value.lower() == "inline" for value in one.named("type"))
        elif one.path[-1] in ("body", "attachment"):
            (offset,), (length,) = one.named("offset"), one.named("length")
            assert (int(offset), int(length)) in header.slices


def same_hooks(header: MsgHeader, elements: Sequence[Element]) -> None:
    """How every reader takes the payload to be made, and signed."""
    below = [one for one in elements if one.path[:2] == ("msg", "hooks") and one.path[2:]]
    names = [
        name
        for one in below
        if len(one.path) == 3 or one.path[-1].startswith("hook")
        for name in one.named("name")
    ]
    assert names == [*header.hooks]
    properties = [
        (name.lower(), one.text)
        for one in below
        if one.path[-1] == "property"
        for name in one.named("name")
    ]
    assert sorted(properties) == sorted((a.lower(), b) for a, b in header.signature.items())
