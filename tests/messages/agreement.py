"""What we and another reader must agree on, in whatever we accept."""

from __future__ import annotations

from collections.abc import Sequence

from ibcm_bridge.messages.document import Document, Place
from ibcm_bridge.messages.msg_header import MsgHeader

from .second_readers import Element, subjects, texts, values


def agree_on_document(document: Document, elements: Sequence[Element]) -> None:
    """Each value that another reader finds at a place is found by us, and no other."""
    assert document.root.lower() == elements[0].path[0]
    assert {one.path[-1] for one in elements} <= document.elements
    assert subjects(elements) <= document.subjects
    for place in Place:
        assert set(values(elements, place)) == set(document.at(place)), place


def agree_on_header(header: MsgHeader, elements: Sequence[Element]) -> None:
    """Whom it is for, who sends it, how its payload is to be read and by whom it is signed."""
    for name, ours in (("TargetEndpoint", header.target_endpoint), ("ReplyTo", header.reply_to)):
        assert {one.strip() for one in texts(elements, name)} in ({ours}, set()), name
    assert set(texts(elements, "SourceID")) in ({header.source_id}, set())
    _same_payload(header, elements)
    _same_hooks(header, elements)


def _same_payload(header: MsgHeader, elements: Sequence[Element]) -> None:
    for one in elements:
        if one.path[-1] == "payload":
            assert all(value.lower() == "inline" for value in one.named("type"))
        elif one.path[-1] in ("body", "attachment"):
            (offset,), (length,) = one.named("offset"), one.named("length")
            assert (int(offset), int(length)) in header.slices


def _same_hooks(header: MsgHeader, elements: Sequence[Element]) -> None:
    below = [one for one in elements if one.path[:2] == ("msg", "hooks") and one.path[2:]]
    hooks = [one for one in below if len(one.path) == 3 or one.path[-1].startswith("hook")]
    assert [name for one in hooks for name in one.named("name")] == [*header.hooks]
    if header.hooks == ("clientauth",):
        properties = [
            (name, one.text) for one in below if len(one.path) > 3 for name in one.named("name")
        ]
        # A property without a name is none to us.
        assert sorted(one for one in properties if one[0]) == sorted(header.signature.items())
