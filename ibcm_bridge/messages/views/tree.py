"""XML documents as trees, for views; a malformed document is a Deny.

Comments and processing instructions are omitted, because ConfigMgr does not use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.messages.limits import MAX_DEPTH
from ibcm_bridge.messages.views.page import Page
from ibcm_bridge.messages.xml import DepthError, check_xml


@dataclass(slots=True)
class Element:
    """An element and its content, in order."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    content: list[Element | str] = field(default_factory=list)

    @property
    def local(self) -> str:
        """The name without prefix, in lower case."""
        return self.name.rpartition(":")[2].lower()

    @property
    def text(self) -> str:
        """The text of the element itself, joined."""
        return "".join(part for part in self.content if isinstance(part, str))

    def children(self) -> Iterator[Element]:
        """The child elements."""
        return (part for part in self.content if isinstance(part, Element))

    def child(self, local: str) -> Element | None:
        """The first child with this local name, in lower case; None without one."""
        return next((element for element in self.children() if element.local == local), None)

    def attribute(self, name: str) -> str:
        """The value of an attribute, ignoring case; `name` in lower case. Empty without it."""
        return next((text for key, text in self.attributes.items() if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed document."""

    root: Element
    cut: bool
    """Whether the document has more elements than were parsed."""


class _EnoughError(Exception):
    """Raised inside expat to stop parsing."""


def read_tree(text: str, page: Page) -> Tree | Deny:
    """Parse a document, up to the page's remaining number of elements."""
    builder = _Builder(page)
    utf8 = text.encode()
    try:
        # The page limits the elements.
        refusal = check_xml(
            utf8, "view", builder.start, builder.end, builder.text, max_elements=len(utf8)
        )
    except _EnoughError:
        # The last element may miss the child that names its value, so it is dropped.
        if len(builder.around) > 2:
            builder.around[-2].content.pop()
        return Tree(builder.around[1], cut=True)
    if refusal is not None:
        return refusal
    return Tree(next(builder.around[0].children()), cut=False)


class _Builder:
    """Builds the tree from expat's events."""

    def __init__(self, page: Page) -> None:
        self.around = [Element("")]
        """The open elements; the first is a placeholder for the document."""
        self._page = page
        self._pieces: list[str] = []
        """The pieces of a text; expat splits long texts."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._end_text()
        if len(self.around) > MAX_DEPTH:
            raise DepthError
        if self._page.elements <= 0 and len(self.around) > 1:
            raise _EnoughError
        self._page.elements -= 1
        element = Element(name, attributes)
        self.around[-1].content.append(element)
        self.around.append(element)

    def end(self, _name: str) -> None:
        self._end_text()
        self.around.pop()

    def text(self, text: str) -> None:
        self._pieces.append(text)

    def _end_text(self) -> None:
        if self._pieces:
            self.around[-1].content.append("".join(self._pieces))
            self._pieces.clear()
