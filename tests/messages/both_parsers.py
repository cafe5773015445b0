"""Both parsers of documents: plain XML is split at its tags, and expat must find the same in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages import document
from ibcm_bridge.messages.document import Document, parsed_document, plain_document
from ibcm_bridge.messages.guid_places import GuidPlacesOf
from ibcm_bridge.messages.plain_xml import Tag, read_plain
from ibcm_bridge.messages.xml import check_xml

from .making import GUID_PLACES

Element = tuple[str, dict[str, str], tuple[str, ...]]
"""Name, attributes, and the names of the elements around it."""


def split(text: str) -> tuple[list[Element], str] | None:
    """The elements and the text of a plain document."""
    elements: list[Element] = []

    def visit(tag: Tag, around: Sequence[str], _text: str | None) -> None:
        elements.append((tag.name, dict(tag.attributes), tuple(around)))

    parsed = read_plain(text, lambda _tag: True, visit)
    return None if parsed is None else (elements, parsed)


def parsed(text: str) -> tuple[list[Element], str] | Deny:
    """The same from expat."""
    elements: list[Element] = []
    around: list[str] = []
    texts: list[str] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        elements.append((name, dict(attributes), tuple(around)))
        around.append(name)

    refusal = check_xml(text.encode(), "here", start, lambda _name: [around.pop()], texts.append)
    return refusal or (elements, "".join(texts))


def is_plain(text: str) -> bool:
    """Whether a document is split; if so, expat finds the same."""
    ours = split(text)
    assert ours is None or ours == parsed(text), text
    return ours is not None


def same(text: str) -> bool:
    """Whether a document is plain; if so, both parsers of documents return the same."""
    plain = plain_document(text, lambda _root: GUID_PLACES)
    assert plain is None or plain == parsed_document(text, "here", lambda _root: GUID_PLACES)
    return plain is not None


@contextmanager
def compared() -> Iterator[None]:
    """Parse every plain document in both ways."""
    different: list[str] = []

    def both(text: str, places_of: GuidPlacesOf) -> Document | None:
        plain = plain_document(text, places_of)
        if plain is not None and plain != parsed_document(text, "here", places_of):
            different.append(text)
        return plain

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "plain_document", both)
        yield
    assert not different
