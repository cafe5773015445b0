"""The values on which our parser and another one must agree, for all accepted input."""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.messages.document import Document
from ibcm_bridge.messages.document_values import Place
from ibcm_bridge.messages.msg_header import MsgHeader

from .making import GUID_PLACES
from .second_readers import Element, guids, subjects, texts, values


def agree_on_document(document: Document, elements: Sequence[Element]) -> None:
    """Our parser finds the same values at each place as another parser."""
    assert document.root.lower() == elements[0].path[0]
    assert {element.path[-1] for element in elements} <= document.elements
    assert subjects(elements) <= document.subjects
    for place in Place:
        assert set(values(elements, place)) == set(document.at(place)), place
    ours = {place: set(found) for place, found in document.guids.items() if found}
    assert guids(elements, GUID_PLACES) == ours


def agree_on_header(header: MsgHeader, elements: Sequence[Element]) -> None:
    """The recipient, the sender, the encoding of the payload, and the signature."""
    for name, ours in (("TargetEndpoint", header.target_endpoint), ("ReplyTo", header.reply_to)):
        assert {text.strip() for text in texts(elements, name)} in ({ours}, set()), name
    assert set(texts(elements, "SourceID")) in ({header.source_id}, set())
    _same_payload(header, elements)
    _same_hooks(header, elements)


def _same_payload(header: MsgHeader, elements: Sequence[Element]) -> None:
    for element in elements:
        if element.path[-1] == "payload":
            assert all(value.lower() == "inline" for value in element.named("type"))
        elif element.path[-1] in ("body", "attachment"):
            (offset,), (length,) = element.named("offset"), element.named("length")
            assert (int(offset), int(length)) in header.slices


def _same_hooks(header: MsgHeader, elements: Sequence[Element]) -> None:
    below = [
        element for element in elements if element.path[:2] == ("msg", "hooks") and element.path[2:]
    ]
    hooks = [
        element
        for element in below
        if len(element.path) == 3 or element.path[-1].startswith("hook")
    ]
    assert [name for element in hooks for name in element.named("name")] == [*header.hooks]
    if header.hooks == ("clientauth",):
        properties = [
            (name, element.text)
            for element in below
            if len(element.path) > 3
            for name in element.named("name")
        ]
        # Our parser ignores a property without a name.
        assert sorted(pair for pair in properties if pair[0]) == sorted(header.signature.items())
