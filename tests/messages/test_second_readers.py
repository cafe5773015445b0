"""What we read is what other readers, laxer than we are, read in the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given

from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.msg_header import MsgHeader, read_header

from .agreement import agree_on_document, agree_on_header
from .making import DOCUMENTS, HEADERS
from .second_readers import READERS, Reader, loose, subjects, tree


def accepted(text: str) -> Document:
    result = read_document(text, "here")
    assert isinstance(result, Document), result
    return result


@pytest.mark.parametrize("reader", READERS)
@given(DOCUMENTS)
def test_a_value_that_any_reader_finds_at_a_place_is_found(reader: Reader, text: str) -> None:
    agree_on_document(accepted(text), reader(text))


@given(DOCUMENTS)
def test_and_nobody_is_named_by_what_is_empty_to_every_reader(text: str) -> None:
    # To readers that know namespaces, the declaration of one is no attribute.
    assert accepted(text).subjects == subjects(loose(text)) >= subjects(tree(text))


@given(DOCUMENTS)
def test_no_text_is_missed(text: str) -> None:
    assert accepted(text).parsed_text.startswith(tree(text)[0].text)


@pytest.mark.parametrize("reader", READERS)
@given(HEADERS)
def test_of_a_header_that_is_accepted_every_reader_reads_the_same(
    reader: Reader, text: str
) -> None:
    header = read_header(b"\xff\xfe" + text.encode("utf-16-le"))
    if isinstance(header, MsgHeader):
        assert {"TargetEndpoint", "SourceID", "ReplyTo", "Body"} <= header.children.keys()
        agree_on_header(header, reader(text))
