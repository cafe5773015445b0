"""Views of XML: indented, one element per line, with secrets hidden.

A text that is itself a document, also compressed and in hexadecimal (protocol.md §3.3), is shown as
a document. A hidden element hides everything in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages.ccm import inflate
from ibcm_bridge.messages.views.concealing import Kind, is_secret_class, kind_of_name
from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.views.tree import Element, Tree, read_tree
from ibcm_bridge.messages.xml import decode_xml

MAX_WITHIN = 4
"""Depth of nested documents: compressed policy, its task sequence, a script's XML in that."""

MAX_TAG = 64
"""Attributes shown per element, more than any ConfigMgr element has; also characters of a name."""

_NAMING = frozenset(
    ("name", "property", "propertyname", "key", "variable", "variablename", "setting", "id")
)
"""Attributes that contain the name of their element's value."""

_NAMING_CHILDREN = frozenset(("name", "key", "variablename", "propertyname", "settingname"))
"""Elements, or names of elements, that contain the name of the value next to them."""

_MARKING = frozenset(("secret", "hidden", "masked", "sensitive"))
"""Attributes that mark a value as a secret."""
_NO = frozenset(("", "0", "false", "no"))
_YES = frozenset(("1", "true", "yes"))

_PLAIN = _NAMING | {"type", "class", "version", "compression", "encoding", "length"}
"""Attributes of a hidden element that are shown: they describe its kind, not its value."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An element that is not shown yet."""

    element: Element
    depth: int
    kind: Kind
    """The kind that it inherits from its parent."""
    within: int = 0
    """The number of documents around its own."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    depth: int


def show_document(tree: Tree, page: Page, depth: int = 0) -> None:
    """Add a document to the page."""
    # A list, not recursion, because senders can nest elements deeply.
    todo: list[_Pending | _Line] = [_Pending(tree.root, depth, Kind.OPEN)]
    while todo and not page.full:
        step = todo.pop()
        if isinstance(step, _Line):
            page.line(step.text, step.depth)
        else:
            todo += reversed(list(_steps(step, page)))
    if tree.cut:
        page.line("[cut here: the document has too many elements for a view]", depth)


def _steps(pending: _Pending, page: Page) -> Iterator[_Pending | _Line]:
    element, depth = pending.element, pending.depth
    kind = max(pending.kind, _kind_of(element))
    tag = _tag(element, kind, page)
    if not any(element.children()):
        yield from _leaf(pending, tag, kind, page)
        return
    yield _Line(f"<{tag}>", depth)
    for part in element.content:
        if isinstance(part, Element):
            # All elements in a secret are secret, but not all elements in a signature are
            # signatures.
            inherits = kind is Kind.SECRET or part.local == "value"
            inherited = kind if inherits else Kind.OPEN
            yield _Pending(part, depth + 1, inherited, pending.within)
        elif not part.isspace():
            yield from _text_lines(page.value(part.strip(), kind), depth + 1)
    yield _Line(f"</{element.name[:MAX_TAG]}>", depth)


def _leaf(pending: _Pending, tag: str, kind: Kind, page: Page) -> Iterator[_Pending | _Line]:
    """An element that contains only text."""
    text, end = pending.element.text.strip(), f"</{pending.element.name[:MAX_TAG]}>"
    if not text:
        yield _Line(f"<{tag}/>", pending.depth)
        return
    inner, how = _document_in(pending, text, kind, page)
    if inner is not None:
        yield _Line(f"<{tag}>  ({how})", pending.depth)
        yield _Pending(inner.root, pending.depth + 1, Kind.OPEN, pending.within + 1)
        if inner.cut:
            yield _Line("[cut here]", pending.depth + 1)
        yield _Line(end, pending.depth)
        return
    shown = page.value(text, kind) + (f" ({how})" if how else "")
    if "\n" not in shown:
        yield _Line(f"<{tag}>{_as_content(shown)}{end}", pending.depth)
        return
    yield _Line(f"<{tag}>", pending.depth)
    yield from _text_lines(shown, pending.depth + 1)
    yield _Line(end, pending.depth)


def _document_in(pending: _Pending, text: str, kind: Kind, page: Page) -> tuple[Tree | None, str]:
    """Parse a text as a document. Return it or None, and a note."""
    if pending.within == MAX_WITHIN or (kind is not Kind.OPEN and not page.secrets):
        return None, ""
    how = "text parsed as XML"
    if pending.element.attribute("compression").lower() == "zlib":
        inflated = _inflated(text, page)
        if isinstance(inflated, str):
            return None, inflated
        how = f"inflated: {len(inflated):,} bytes"
        decoded = decode_xml(inflated)
        if decoded is None:
            return None, "the inflated bytes are neither UTF-8 nor UTF-16LE"
        text = decoded
    elif not text.startswith("<"):
        return None, ""
    tree = read_tree(text.strip(), page)
    if not isinstance(tree, Deny):
        return tree, how
    return None, f"not XML: {tree.detail}" if how.startswith("inflated") else ""


def _inflated(text: str, page: Page) -> bytes | str:
    """Inflate a zlib stream in hexadecimal. Return the bytes, or the problem."""
    try:
        stream = bytes.fromhex(text)
    except ValueError:
        return "marked as compressed, but not hexadecimal"
    inflated = inflate(stream, page.inflated)
    if isinstance(inflated, Deny):
        # A failed stream counts, too, because there may be many of them.
        page.inflated = max(0, page.inflated - 1_000 * len(stream))
        return f"cannot be inflated: {inflated.detail}"
    page.inflated -= len(inflated)
    return inflated


# Hidden values


def _kind_of(element: Element) -> Kind:
    """The kind of an element's value, from its names, attributes and children."""
    names = [kind_of_name(element.local)]
    for name, text in element.attributes.items():
        local = name.rpartition(":")[2].lower()
        if local in _NAMING:
            names.append(kind_of_name(text))
        elif (local in _MARKING and text.strip().lower() not in _NO) or (
            local == "class" and is_secret_class(text)
        ):
            names.append(Kind.SECRET)
    if is_secret_class(element.local) or _names_its_secret(element):
        return Kind.SECRET
    return max(names)


def _names_its_secret(element: Element) -> bool:
    """Return whether a child names a secret: <Name>Password</Name><Value>...</Value>."""
    for child in element.children():
        naming = child.local in _NAMING_CHILDREN or any(
            name.lower() in _NAMING and text.lower() in _NAMING_CHILDREN
            for name, text in child.attributes.items()
        )
        if naming and kind_of_name(_text_in(child).strip()) is Kind.SECRET:
            return True
    return False


def _text_in(element: Element) -> str:
    """The text of the first child, or else of the element: <property name="Name"><value>..."""
    first = next(element.children(), element)
    return first.text


def _tag(element: Element, kind: Kind, page: Page) -> str:
    """The name of an element, with its attributes."""
    words = [element.name[:MAX_TAG]]
    # The name of a secret hides the value next to it: Name="Password" Value="...".
    secret = kind is Kind.SECRET
    for number, (name, text) in enumerate(element.attributes.items()):
        if number == MAX_TAG:
            words.append(f"[cut: {len(element.attributes):,} attributes in total]")
            break
        local = name.rpartition(":")[2].lower()
        named = kind_of_name(name)
        if local in _PLAIN or (local in _MARKING and text.strip().lower() in _YES | _NO):
            named = Kind.OPEN
        elif secret or local == "value":
            named = max(named, kind)
        words.append(f'{name[:MAX_TAG]}="{_as_attribute(page.value(text, named))}"')
    return " ".join(words)


# Escaping


def _as_attribute(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return escaped.replace("\n", "&#10;").replace("\r", "&#13;")


def _as_content(text: str) -> str:
    """Escape a text for XML. Markup is put in a CDATA section, which is easier to read."""
    if "<" in text and "]]>" not in text:
        return f"<![CDATA[{text}]]>"
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _text_lines(text: str, depth: int) -> Iterator[_Line]:
    for line in text.replace("\r\n", "\n").split("\n"):
        yield _Line(_as_content(line.rstrip()), depth)
