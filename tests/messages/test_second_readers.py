"""Our parser and more lenient parsers read the same values from the same bytes."""

from __future__ import annotations

import pytest
from hypothesis import given

from ibcm_bridge.messages.document import Document, read_document
from ibcm_bridge.messages.msg_header import MsgHeader, read_header

from .agreement import agree_on_document, agree_on_header
from .making import DOCUMENTS, GUID_PLACES, HEADERS
from .second_readers import READERS, Reader, loose, subjects, tree


def accepted(text: str) -> Document:
    result = read_document(text, "here", lambda _root: GUID_PLACES)
    assert isinstance(result, Document), result
    return result


@pytest.mark.parametrize("reader", READERS)
@given(DOCUMENTS)
def test_a_value_that_any_parser_finds_at_a_place_is_found(reader: Reader, text: str) -> None:
    agree_on_document(accepted(text), reader(text))


@given(DOCUMENTS)
def test_an_element_that_is_empty_to_every_parser_names_no_subject(text: str) -> None:
    # To parsers with namespace support, a namespace declaration is not an attribute.
    assert accepted(text).subjects == subjects(loose(text)) >= subjects(tree(text))


@given(DOCUMENTS)
def test_no_text_is_missed(text: str) -> None:
    assert accepted(text).parsed_text.startswith(tree(text)[0].text)


@pytest.mark.parametrize("reader", READERS)
@given(HEADERS)
def test_every_parser_reads_the_same_from_an_accepted_header(reader: Reader, text: str) -> None:
    header = read_header(b"\xff\xfe" + text.encode("utf-16-le"))
    if isinstance(header, MsgHeader):
        assert {"TargetEndpoint", "SourceID", "ReplyTo"} == header.children.keys()
        agree_on_header(header, reader(text))
