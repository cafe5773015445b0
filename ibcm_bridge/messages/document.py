"""An XML document of a ConfigMgr message, parsed once for all checks.

A plain document is split at its tags (`plain_xml`); expat parses any other. Both find the text, the
element names, and the values that the checks need (`document_values`), and they find the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.document_values import (
    SUBJECTS,
    FoundValues,
    Place,
    SubjectElement,
    Wanted,
)
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlace, GuidPlacesOf
from ibcm_bridge.messages.limits import MAX_DEPTH
from ibcm_bridge.messages.long_values import has_long_value
from ibcm_bridge.messages.plain_shape import NO_SHAPE, shape_of
from ibcm_bridge.messages.plain_xml import NotPlainError, Tag, Visited, read_plain, read_tag
from ibcm_bridge.messages.xml import (
    DepthError,
    EndElement,
    StartElement,
    TooMuchError,
    check_xml,
    most_elements,
)

_ELEMENT = re.compile(r"<(?:[^\s<>/:]{1,64}:)?([A-Za-z_][\w.-]{0,63})")


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed XML document and its text."""

    text: str
    root: str
    """The local name of the root element."""
    elements: frozenset[str]
    """Local names of all elements, in lower case, including those of markup in character data.

    The next parser may parse character data as a document.
    """
    subjects: frozenset[SubjectElement]
    """Subject elements that are not empty, and all of those in character data."""
    parsed_text: str
    """All character data, joined, and attribute values if the document has references or a long
    value in an attribute (`long_values`).

    Without it, `HEAD<b/>TAIL`, a reference, a comment or a CDATA section inside a text would hide
    the text from a scan of the document.
    """
    values: Mapping[Place, tuple[str, ...]]
    guids: Mapping[GuidPlace, tuple[str, ...]]
    """The values at the places of client GUIDs, as in `GuidValues`."""

    def at(self, place: Place) -> tuple[str, ...]:
        """The distinct values at a place."""
        return self.values.get(place, ())


def read_document(
    text: str, where: str, places_of: GuidPlacesOf = lambda _root: NO_PLACES
) -> Document | Deny:
    """Parse an XML document; refuse a document type declaration.

    `places_of` returns the places of the client GUIDs to collect.
    """
    return plain_document(text, places_of) or parsed_document(text, where, places_of)


def plain_document(text: str, places_of: GuidPlacesOf) -> Document | None:
    """Split a plain document at its tags; None for `parsed_document` to parse it."""
    found = FoundValues(places_of)
    shape = NO_SHAPE

    def visited_of(tags: Sequence[str]) -> Sequence[Visited]:
        nonlocal shape
        found.name(read_tag(tags[0]).name)
        shape = shape_of(tags, found.guids.places)
        return shape.visited

    def visit(tag: Tag, around: Sequence[str], element_text: str | None) -> None:
        name = found.names.get(tag.name) or found.name(tag.name)
        path = [opened.rpartition(":")[2].lower() for opened in around]
        wanted = [*found.start(name, path)]
        if tag.attributes:
            place = found.keep_attributes(name, tag.attributes, [*path, name.name])
            wanted += [place] if place is not None else []
        if wanted and element_text is None:
            raise NotPlainError
        for what in reversed(wanted):
            found.end(what, [element_text or ""])

    try:
        parsed_text = read_plain(text, visited_of, visit)
    except TooMuchError:
        return None
    if parsed_text is None:
        return None
    return _document(text, found, shape.elements, parsed_text)


def parsed_document(text: str, where: str, places_of: GuidPlacesOf) -> Document | Deny:
    """Parse any document with expat."""
    utf8 = text.encode()
    found = FoundValues(places_of)
    texts: list[str] = []
    attributes: list[str] = []
    is_long = has_long_value(utf8)
    start, end = _handlers(found, texts, attributes if is_long or b"&" in utf8 else None)
    try:
        refusal = check_xml(utf8, where, start, end, texts.append)
    except TooMuchError as error:
        return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), str(error))
    if refusal is not None:
        return refusal
    parsed_text = "".join(texts)
    values = "".join(f"\n{value}" for value in attributes)
    if b"&" in utf8 or has_long_value(values.encode()):
        parsed_text += values
    elements = {name.name for name in found.names.values()}
    if quoted_tags := parsed_text.count("<"):
        if quoted_tags > most_elements(len(utf8)):
            detail = "too many tags in its text"
            return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), detail)
        quoted = set(map(str.lower, set(_ELEMENT.findall(parsed_text))))
        found.subjects.update(SUBJECTS[name] for name in quoted & SUBJECTS.keys())
        elements |= quoted
    return _document(text, found, elements, parsed_text)


def _document(text: str, found: FoundValues, elements: Iterable[str], parsed_text: str) -> Document:
    return Document(
        text=text,
        root=found.root,
        elements=frozenset(elements),
        subjects=frozenset(found.subjects),
        parsed_text=parsed_text,
        values={place: tuple(values) for place, values in found.values.items()},
        guids=found.guids.found,
    )


def _handlers(
    found: FoundValues, texts: list[str], attributes_to: list[str] | None
) -> tuple[StartElement, EndElement]:
    """expat's handlers. They are functions, not methods, because they dominate the parsing time."""
    names = found.names
    plain = found.guids.plain_attributes.issuperset
    path: list[str] = []
    wanted: list[tuple[int, int, Wanted]] = []
    """Depth of an element whose text is collected, index of its first text, and its kind."""
    subjects = found.open_subjects

    def start(written: str, attributes: Mapping[str, str]) -> None:
        name = names.get(written) or found.name(written)
        depth = len(path)
        if depth == MAX_DEPTH:
            raise DepthError
        if name.wanted is not None:
            wanted.extend([(depth, len(texts), what) for what in found.start(name, path)])
        path.append(name.name)
        if attributes:
            if attributes_to is not None:
                attributes_to.extend(attributes.values())
            if subjects or name.attribute is not None or not (name.plain or plain(attributes)):
                place = found.keep_attributes(name, attributes, path)
                if place is not None:
                    wanted.append((depth, len(texts), place))

    def end(_written: str) -> None:
        path.pop()
        while wanted and wanted[-1][0] == len(path):
            _, begin, what = wanted.pop()
            found.end(what, texts[begin:])

    return start, end
