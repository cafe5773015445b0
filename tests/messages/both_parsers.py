"""Both parsers of documents: plain XML is split at its tags, and expat must find the same in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages import document, msg_header
from ibcm_bridge.messages.document import Document, parsed_document, plain_document
from ibcm_bridge.messages.guid_places import GuidPlacesOf
from ibcm_bridge.messages.msg_header import HeaderReader, parsed_header, plain_header
from ibcm_bridge.messages.plain_xml import Tag, Visited, read_plain, watched_elements
from ibcm_bridge.messages.xml import check_xml

from .making import GUID_PLACES

Element = tuple[str, dict[str, str], tuple[str, ...]]
"""Name, attributes, and the names of the elements around it."""


def split(text: str) -> tuple[list[Element], str] | None:
    """The elements and the text of a plain document."""
    elements: list[Element] = []

    def visit(tag: Tag, around: Sequence[str], _text: str | None) -> None:
        elements.append((tag.name, dict(tag.attributes), tuple(around)))

    read = read_plain(text, all_elements, visit)
    return None if read is None else (elements, read)


def all_elements(tags: Sequence[str]) -> Sequence[Visited]:
    """Watch every element."""
    return watched_elements(tags, lambda _tag: True)


def parsed(text: str) -> tuple[list[Element], str] | Deny:
    """The same from expat."""
    elements: list[Element] = []
    around: list[str] = []
    texts: list[str] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        elements.append((name, dict(attributes), tuple(around)))
        around.append(name)

    refusal = check_xml(text.encode(), "here", start, lambda _name: [around.pop()], texts.append)
    return (elements, "".join(texts)) if refusal is None else refusal


def is_plain(text: str) -> bool:
    """Whether a document is split; if so, expat finds the same."""
    ours = split(text)
    assert ours is None or ours == parsed(text), text
    return ours is not None


def same(text: str) -> bool:
    """Whether a document is plain; if so, both parsers of documents return the same.

    The second time, the shape of the document is remembered.
    """
    plain = plain_document(text, lambda _root: GUID_PLACES)
    assert plain is None or plain == parsed_document(text, "here", lambda _root: GUID_PLACES)
    assert plain_document(text, lambda _root: GUID_PLACES) == plain
    return plain is not None


def same_header(text: str) -> bool:
    """Whether a header is plain; if so, both parsers of headers find the same."""
    plain = plain_header(text)
    assert plain is None or found(plain) == found(parsed_header(text)), text
    return plain is not None


def found(reader: HeaderReader | Deny) -> object:
    if isinstance(reader, Deny):
        return reader
    lists = (reader.slices, reader.hooks, [*reader.signature.items()], "".join(reader.texts))
    return reader.root, reader.problem, reader.children, *lists


@contextmanager
def compared() -> Iterator[None]:
    """Parse every plain document and header in both ways."""
    different: list[str] = []

    def both(text: str, places_of: GuidPlacesOf) -> Document | None:
        plain = plain_document(text, places_of)
        if plain is not None and plain != parsed_document(text, "here", places_of):
            different.append(text)
        return plain

    def both_headers(text: str) -> HeaderReader | None:
        plain = plain_header(text)
        if plain is not None and found(plain) != found(parsed_header(text)):
            different.append(text)
        return plain

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "plain_document", both)
        patch.setattr(msg_header, "plain_header", both_headers)
        yield
    assert not different
