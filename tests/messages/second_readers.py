"""Other XML parsers, more lenient than ours, for tests that compare ours with them.

A site system parses the forwarded messages, and its parser is not known. These two ignore case,
prefixes and namespaces, and return every matching element:

1. `tree`: ElementTree, which supports namespaces and refuses undeclared prefixes;
2. `loose`: regular expressions, which check neither nesting nor matching tags.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from xml.etree import ElementTree as ET

from ibcm_bridge.messages.client_guid import find_guids
from ibcm_bridge.messages.document_values import Place, SubjectElement
from ibcm_bridge.messages.guid_places import GuidPlace, GuidPlaces, GuidUse


@dataclass
class Element:
    """An element from another parser; names are local and in lower case."""

    path: tuple[str, ...]
    """The names from the root."""
    attributes: list[tuple[str, str]]
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def named(self, attribute: str) -> list[str]:
        """Values of every attribute of this name."""
        return [value for name, value in self.attributes if name == attribute]


Reader = Callable[[str], Sequence[Element]]


def values(elements: Sequence[Element], place: Place) -> list[str]:
    """The values at a place, in the order of the elements."""
    parent, _, name = place.lower().partition("/")
    if name.startswith("@"):
        found = (element.named(name[1:]) for element in elements if element.path[-1] == parent)
        return [value for values in found for value in values]
    return [element.text for element in elements if element.path[-2:] == (parent, name)]


def guids(elements: Sequence[Element], places: GuidPlaces) -> dict[GuidPlace, set[str]]:
    """The values at the places of client GUIDs: elements, attributes and properties."""
    found: dict[GuidPlace, set[str]] = {}
    for element in elements:
        parent, name = ("", *element.path)[-2:]
        above = element.path[:-1]
        named = [(parent, name, above, element.text)]
        if name not in places.data:
            named += [(name, other, element.path, value) for other, value in element.attributes]
        if name == "property":
            names = [value.strip(" \t\r\n").lower() for value in element.named("name")]
            texts = [element.text, *element.named("value")]
            named += [("property", other, element.path, text) for other in names for text in texts]
        for of, called, path, text in named:
            place = places.at(called, of, path)
            if place is None or not text.strip(" \t\r\n"):
                continue
            own = place.use is GuidUse.OWN
            found.setdefault(place, set()).update((text,) if own else find_guids(text, 16))
    return {place: values for place, values in found.items() if values}


def subjects(elements: Sequence[Element]) -> set[SubjectElement]:
    """The elements that are not empty: they or elements in them have text or an attribute."""
    by_name = {subject.lower(): subject for subject in SubjectElement}
    found = set()
    for number, element in enumerate(elements):
        subject, depth = by_name.get(element.path[-1]), len(element.path)
        inside = takewhile(partial(_is_below, depth), elements[number + 1 :])
        attributes = any(other.attributes for other in (element, *inside))
        if subject is not None and (attributes or element.text.strip(" \t\r\n")):
            found.add(subject)
    return found


def _is_below(depth: int, element: Element) -> bool:
    return len(element.path) > depth


def texts(elements: Sequence[Element], name: str) -> list[str]:
    """The text of every element with this name, at any place."""
    return [element.text for element in elements if element.path[-1] == name.lower()]


def tree(text: str) -> Sequence[Element]:
    """Parse with ElementTree; empty if it fails."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return []
    return list(_below(root, ()))


def _below(element: ET.Element, path: tuple[str, ...]) -> Iterator[Element]:
    here = (*path, _local(element.tag))
    attributes = [(_local(name), value) for name, value in element.items()]
    yield Element(here, attributes, list(element.itertext()))
    for child in element:
        yield from _below(child, here)


def _local(name: str) -> str:
    return re.split("[}:]", name)[-1].lower()


_TOKEN = re.compile(
    r"""<!--.*?-->
    | <\?.*?\?>
    | <!\[CDATA\[(?P<cdata>.*?)\]\]>
    | </(?P<end>[^>]*)>
    | <(?P<start>[^\s/>]+)(?P<attributes>(?:[^>"']|"[^"]*"|'[^']*')*?)(?P<empty>/?)>
    | (?P<text>[^<]+)""",
    re.DOTALL | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"""([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")


_REFERENCE = re.compile(r"&(?:#(\d+)|#x([0-9a-fA-F]+)|(\w+));")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}


def _unescaped(text: str) -> str:
    return _REFERENCE.sub(
        lambda found: (
            _ENTITIES.get(found[3], found[0])
            if found[3]
            else chr(int(found[1]) if found[1] else int(found[2], 16))
        ),
        text,
    )


def loose(text: str) -> Sequence[Element]:
    """Parse with regular expressions; any end tag closes the last open element."""
    elements: list[Element] = []
    open_now: list[Element] = []
    for token in _TOKEN.finditer(text.replace("\r\n", "\n").replace("\r", "\n")):
        if token["start"]:
            path = (*(open_now[-1].path if open_now else ()), _local(token["start"]))
            attributes = [
                (_local(name), _unescaped(re.sub(r"[\t\n]", " ", first or second)))
                for name, first, second in _ATTRIBUTE.findall(token["attributes"])
            ]
            elements.append(Element(path, attributes))
            if not token["empty"]:
                open_now.append(elements[-1])
        elif token["end"] is not None and open_now:
            open_now.pop()
        for element in open_now:
            element.texts += [token["cdata"] or "", _unescaped(token["text"] or "")]
    return elements


READERS: tuple[Reader, ...] = (tree, loose)
