"""XML, indented: one element a line, values hidden that are not to be shown.

Where a text is itself a document, written out or compressed and in hexadecimal (protocol.md §3.3),
it is shown as one. A hidden element hides everything below it.
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
"""Documents within each other: policy, compressed, with a task sequence, with a script's XML."""

MAX_TAG = 64
"""Attributes of one element that are shown; more than any element of ConfigMgr's has."""

_NAMING = frozenset(
    ("name", "property", "propertyname", "key", "variable", "variablename", "setting", "id")
)
"""Attributes that say by which name the value of their element goes."""

_NAMING_CHILDREN = frozenset(("name", "key", "variablename", "propertyname", "settingname"))
"""Elements, or what goes by such a name, that say the same of the value beside them."""

_MARKING = frozenset(("secret", "hidden", "masked", "sensitive"))
"""Attributes that say that a value is one."""
_NO = frozenset(("", "0", "false", "no"))
_YES = frozenset(("1", "true", "yes"))

_PLAIN = _NAMING | {"type", "class", "version", "compression", "encoding", "length"}
"""Attributes that are shown of a hidden element: they say what it is, not what it holds."""


@dataclass(frozen=True, slots=True)
class _Pending:
    """An element that is still to be shown."""

    element: Element
    depth: int
    kind: Kind
    """What it is for where it stands."""
    within: int = 0
    """In how many documents it stands, beside its own."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    depth: int


def show_document(tree: Tree, page: Page, depth: int = 0) -> None:
    """Add a document to the page."""
    # A list of what is to be done, not recursion: the elements of strangers are nested at will.
    todo: list[_Pending | _Line] = [_Pending(tree.root, depth, Kind.OPEN)]
    while todo and not page.full:
        step = todo.pop()
        if isinstance(step, _Line):
            page.line(step.text, step.depth)
        else:
            todo += reversed(list(_steps(step, page)))
    if tree.cut:
        page.line("[cut here: the document has more elements than are read for a view]", depth)


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
            # A signature's parts are not all signatures; a secret's are all secret.
            held = kind is Kind.SECRET or part.local == "value"
            below = kind if held else Kind.OPEN
            yield _Pending(part, depth + 1, below, pending.within)
        elif not part.isspace():
            yield from _text_lines(page.value(part.strip(), kind), depth + 1)
    yield _Line(f"</{element.name[:MAX_TAG]}>", depth)


def _leaf(pending: _Pending, tag: str, kind: Kind, page: Page) -> Iterator[_Pending | _Line]:
    """An element in which there is only text."""
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
    """The document that a text is, if it is one, and what to say of it."""
    if pending.within == MAX_WITHIN or (kind is not Kind.OPEN and not page.secrets):
        return None, ""
    how = "its text, read as XML"
    if pending.element.attribute("compression").lower() == "zlib":
        inflated = _inflated(text, page)
        if isinstance(inflated, str):
            return None, inflated
        how = f"inflated: {len(inflated):,} bytes"
        decoded = decode_xml(inflated)
        if decoded is None:
            return None, "inflated, it is neither UTF-8 nor UTF-16LE"
        text = decoded
    elif not text.startswith("<"):
        return None, ""
    tree = read_tree(text.strip(), page)
    if not isinstance(tree, Deny):
        return tree, how
    return None, f"not XML: {tree.detail}" if how.startswith("inflated") else ""


def _inflated(text: str, page: Page) -> bytes | str:
    """What hexadecimal of a zlib stream holds, or why that cannot be told."""
    try:
        stream = bytes.fromhex(text)
    except ValueError:
        return "said to be compressed, and not hexadecimal"
    inflated = inflate(stream, page.inflated)
    if isinstance(inflated, Deny):
        # What was inflated before it failed counts, too: there may be many of them.
        page.inflated = max(0, page.inflated - 1_000 * len(stream))
        return f"cannot be inflated: {inflated.detail}"
    page.inflated -= len(inflated)
    return inflated


# What is hidden


def _kind_of(element: Element) -> Kind:
    """What the value of an element is, by its names and by what stands beside it."""
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
    """Whether a child names what another child holds: <Name>Password</Name><Value>...</Value>."""
    for child in element.children():
        naming = child.local in _NAMING_CHILDREN or any(
            name.lower() in _NAMING and text.lower() in _NAMING_CHILDREN
            for name, text in child.attributes.items()
        )
        if naming and kind_of_name(_text_in(child).strip()) is Kind.SECRET:
            return True
    return False


def _text_in(element: Element) -> str:
    """Its text, or that of the first element in it: <property name="Name"><value>..."""
    first = next(element.children(), element)
    return first.text


def _tag(element: Element, kind: Kind, page: Page) -> str:
    """The name of an element, with its attributes."""
    words = [element.name[:MAX_TAG]]
    # A name that stands for a secret hides the value beside it: Name="Password" Value="...".
    secret = kind is Kind.SECRET
    for number, (name, text) in enumerate(element.attributes.items()):
        if number == MAX_TAG:
            words.append(f"[cut: {len(element.attributes):,} attributes in all]")
            break
        local = name.rpartition(":")[2].lower()
        named = kind_of_name(name)
        if local in _PLAIN or (local in _MARKING and text.strip().lower() in _YES | _NO):
            named = Kind.OPEN
        elif secret or local == "value":
            named = max(named, kind)
        words.append(f'{name[:MAX_TAG]}="{_as_attribute(page.value(text, named))}"')
    return " ".join(words)


# How it is written


def _as_attribute(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return escaped.replace("\n", "&#10;").replace("\r", "&#13;")


def _as_content(text: str) -> str:
    """A text as it may stand in XML; `<mp>` is easier to read in a section of its own."""
    if "<" in text and "]]>" not in text:
        return f"<![CDATA[{text}]]>"
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _text_lines(text: str, depth: int) -> Iterator[_Line]:
    for line in text.replace("\r\n", "\n").split("\n"):
        yield _Line(_as_content(line.rstrip()), depth)
