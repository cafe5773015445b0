"""The view of a Msg header, with its fields in a fixed order.

The order varies between senders (protocol.md §1.4). A fixed order makes messages comparable.
"""

from __future__ import annotations

from collections.abc import Iterator

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages.views.concealing import kind_of_name
from ibcm_bridge.messages.views.markup import show_document
from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.views.tables import show_rows
from ibcm_bridge.messages.views.tree import Element, Tree, read_tree

_ORDER = (
    *("TargetEndpoint", "TargetAddress", "TargetHost"),
    *("SourceID", "SourceHost", "SourceType", "ReplyTo", "ReplyMode", "ReplyCapabilities"),
    *("ID", "CorrelationID", "SentTime", "Timeout", "Priority", "Protocol"),
    *("SchemaVersion", "ReplyCompression", "ReqVersion"),
    *("Payload", "Body", "Attachment", "Property"),
)
"""Recipient, sender, message, encoding. Other fields follow."""
_RANK = {name.lower(): rank for rank, name in enumerate(_ORDER)}


def show_header(text: str, page: Page) -> None:
    """Add a Msg header."""
    tree = read_tree(text.strip("\ufeff\0\r\n\t "), page)
    if isinstance(tree, Deny):
        page.line(f"The header cannot be parsed: {tree.detail}", 1)
        return
    fields = [*_attributes(tree.root), *_children(tree.root)]
    fields.sort(key=lambda field: (_RANK.get(field[0].lower(), len(_RANK)), field[0].lower()))
    rows = [(name, page.value(text.strip(), kind_of_name(name))) for name, text in fields]
    show_rows([*rows, *_hooks(tree.root, page)], page)
    for child in tree.root.children():
        if child.local != "hooks" and any(child.children()):
            show_document(Tree(child, cut=False), page, 1)


def _attributes(root: Element) -> Iterator[tuple[str, str]]:
    yield from root.attributes.items()


def _children(root: Element) -> Iterator[tuple[str, str]]:
    for child in root.children():
        if child.local != "hooks" and not any(child.children()):
            yield child.name, f"{child.text.strip()} {_field_text(child)}"


def _field_text(child: Element) -> str:
    """The attributes of a field; for a slice of the payload, in words."""
    offset, length = child.attribute("offset"), child.attribute("length")
    if child.local in ("body", "attachment") and offset and length:
        name = child.attribute("name")
        return f"{length} bytes at offset {offset}" + (f", {name}" if name else "")
    named, value = child.attribute("name"), child.attribute("value")
    if child.local == "property" and named:
        return f"{named} = {value}"
    return ", ".join(
        text if name.lower() == "type" else f"{name}={text}"
        for name, text in child.attributes.items()
    )


def _hooks(root: Element, page: Page) -> Iterator[tuple[str, str]]:
    hooks = root.child("hooks")
    for hook in hooks.children() if hooks else ():
        yield f"Hook {page.value(hook.attribute('name'))}", ""
        for hook_property in hook.children():
            name = hook_property.attribute("name")
            yield (
                f"  {page.value(name)}",
                page.value(hook_property.text.strip(), kind_of_name(name)),
            )
