"""An XML document as a tree, for showing; what is not well-formed is a Deny.

Comments and processing instructions are not in it: no reader of ConfigMgr's gets to see them.
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
    """An element, and what stands in it in its order."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    content: list[Element | str] = field(default_factory=list)

    @property
    def local(self) -> str:
        """Its name without prefix, in lower case."""
        return self.name.rpartition(":")[2].lower()

    @property
    def text(self) -> str:
        """The text that stands in it directly, joined."""
        return "".join(part for part in self.content if isinstance(part, str))

    def children(self) -> Iterator[Element]:
        """The elements that stand in it directly."""
        return (part for part in self.content if isinstance(part, Element))

    def child(self, local: str) -> Element | None:
        """The first child of this local name, in lower case."""
        return next((element for element in self.children() if element.local == local), None)

    def attribute(self, name: str) -> str:
        """Whatever the case of its name, which is given in lower case; empty without it."""
        return next((text for key, text in self.attributes.items() if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Tree:
    """A document as read."""

    root: Element
    cut: bool
    """Whether it goes on after what was read."""


class _EnoughError(Exception):
    """Raised inside expat to stop reading."""


def read_tree(text: str, page: Page) -> Tree | Deny:
    """Read a document, until the page has had as many elements as it may have."""
    builder = _Builder(page)
    try:
        refusal = check_xml(text.encode(), "view", builder.start, builder.end, builder.text)
    except _EnoughError:
        # Of the element it stopped in the name may not have been read by which it is judged.
        if len(builder.around) > 2:
            builder.around[-2].content.pop()
        return Tree(builder.around[1], cut=True)
    if refusal is not None:
        return refusal
    return Tree(next(builder.around[0].children()), cut=False)


class _Builder:
    """What expat's events are put together to."""

    def __init__(self, page: Page) -> None:
        self.around = [Element("")]
        """The elements around the place that is read; the first one stands for the document."""
        self._page = page
        self._pieces: list[str] = []
        """Of a text; expat hands over a long one in many."""

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
