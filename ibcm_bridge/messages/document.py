"""An XML document of a ConfigMgr message, parsed once for all checks.

The parser collects the text, the element names, and the values that the checks need: client GUIDs
(`guid_places`), and registered certificates and others (`Place`). A management point may find these
values in another way, so every value at a place is collected, and names are compared without case.
The parser also finds out whether a `SubjectElement` is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.messages.guid_places import NO_PLACES, GuidPlace, GuidPlacesOf, GuidValues
from ibcm_bridge.messages.limits import MAX_DEPTH, MAX_NAMES, MAX_VALUE, MAX_VALUES
from ibcm_bridge.messages.long_values import has_long_value
from ibcm_bridge.messages.xml import (
    DepthError,
    EndElement,
    StartElement,
    TooMuchError,
    check_xml,
    most_elements,
)


class Place(StrEnum):
    """The location of a value: parent and element, or element and @attribute."""

    AGENT_TYPE = "AgentInformation/@AgentType"
    RESOURCE_TYPE = "Resource/@ResourceType"
    SIGNING = "Certificates/Signing"
    """protocol.md §3.1: the certificate, in hexadecimal, whose key signs this client's messages."""
    SIGNATURE_VALUE = "Signature/SignatureValue"


class SubjectElement(StrEnum):
    """An element that names the subject of a message, unless it is empty.

    An element is not empty if it, or an element in it, has text other than white space or an
    attribute (including a namespace declaration).
    """

    USER = "User"
    """§3.2: also present, but empty, in policy requests for a computer."""


_SUBJECTS = {element.lower(): element for element in SubjectElement}

_WHITE_SPACE = " \t\r\n"
"""XML 1.0 §2.3. str.strip by default removes more, which could be a name to another parser."""

_BELOW = {
    place.partition("/")[2].lower(): (place.partition("/")[0].lower(), place)
    for place in Place
    if "@" not in place
}
"""Element -> its parent, and the place."""

_ATTRIBUTES = {
    place.partition("/@")[0].lower(): (place.partition("/@")[2].lower(), place)
    for place in Place
    if "@" in place
}
"""Element -> its attribute, and the place."""

_WITH_TEXT = {
    name: (_BELOW.get(name), _SUBJECTS.get(name), False) for name in {*_BELOW, *_SUBJECTS}
}
"""Element whose text is collected -> its place, its subject element, or both."""

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
    value (`long_values`).

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
    utf8 = text.encode()
    found = _Found(places_of)
    start, end = _handlers(found, keep_attributes=b"&" in utf8 or has_long_value(utf8))
    try:
        refusal = check_xml(utf8, where, start, end, found.texts.append)
    except TooMuchError as error:
        return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), str(error))
    if refusal is not None:
        return refusal
    parsed_text = "".join(found.texts) + "\n".join(found.attributes)
    quoted: set[str] = set()
    if quoted_tags := parsed_text.count("<"):
        if quoted_tags > most_elements(len(utf8)):
            detail = "too many tags in its text"
            return Deny(Reason.XML, rules.DOCUMENT_LIMITS.of(where), detail)
        quoted.update(map(str.lower, set(_ELEMENT.findall(parsed_text))))
        found.subjects.update(_SUBJECTS[name] for name in quoted & _SUBJECTS.keys())
    return Document(
        text=text,
        root=found.root,
        elements=frozenset((*(name.name for name in found.names.values()), *quoted)),
        subjects=frozenset(found.subjects),
        parsed_text=parsed_text,
        values={place: tuple(values) for place, values in found.values.items()},
        guids=found.guids.found,
    )


@dataclass(slots=True)
class _Name:
    """An element name, and the values to collect from its elements.

    It is not frozen, because Python makes a frozen object three times slower.
    """

    name: str
    """The local name, in lower case."""
    wanted: tuple[tuple[str, Place] | None, SubjectElement | None, bool] | None
    """A place below a parent, a subject element, and whether a place of a client GUID has its name;
    None if its text is not collected."""
    attribute: tuple[str, Place] | None
    plain: bool
    """Whether its attributes are never at a place of a client GUID."""


@dataclass(slots=True)
class _Found:
    """The values collected from expat's events."""

    places_of: GuidPlacesOf
    root: str = ""
    guids: GuidValues = field(default_factory=GuidValues)
    names: dict[str, _Name] = field(default_factory=dict)
    """Name as written -> `_Name`."""
    texts: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    values: dict[Place, dict[str, None]] = field(default_factory=dict)
    subjects: set[SubjectElement] = field(default_factory=set)

    def name(self, written: str) -> _Name:
        """Add a new name."""
        if len(self.names) == MAX_NAMES:
            raise TooMuchError(f"more than {MAX_NAMES} element names")
        local = written.rpartition(":")[2]
        if not self.names:
            self.root = local
            self.guids.places = self.places_of(local.lower())
        local = local.lower()
        places = self.guids.places
        wanted = _WITH_TEXT.get(local)
        if local in places.by_name:
            wanted = (*(wanted or (None, None))[:2], True)
        plain = not places.by_name or local in places.data
        name = self.names[written] = _Name(local, wanted, _ATTRIBUTES.get(local), plain)
        return name

    def keep(self, place: Place, value: str) -> None:
        """Add a value at a place."""
        values = self.values.setdefault(place, {})
        values[value] = None
        if len(values) > MAX_VALUES or len(value) > MAX_VALUE:
            raise TooMuchError(f"too many or too long values at {place}")

    def keep_subject(self, subject: SubjectElement, texts: Iterable[str]) -> None:
        """Add a subject element unless all of its `texts` are empty."""
        if any(text.strip(_WHITE_SPACE) for text in texts):
            self.subjects.add(subject)

    def keep_attribute(self, wanted: tuple[str, Place], attributes: Mapping[str, str]) -> None:
        """Add the values of an attribute, whatever its prefix and case."""
        for name, value in attributes.items():
            if name.rpartition(":")[2].lower() == wanted[0]:
                self.keep(wanted[1], value)


def _handlers(found: _Found, *, keep_attributes: bool) -> tuple[StartElement, EndElement]:
    """expat's handlers. They are functions, not methods, because they dominate the parsing time."""
    names, texts, guids = found.names, found.texts, found.guids
    plain = guids.plain_attributes.issuperset
    path: list[str] = []
    wanted: list[tuple[int, int, Place | GuidPlace | SubjectElement]] = []
    """Depth of an element whose text is collected, index of its first text, and its kind."""
    subjects: list[SubjectElement] = []
    """The open subject elements."""
    if keep_attributes:
        found.attributes.append("")

    def start(written: str, attributes: Mapping[str, str]) -> None:
        name = names.get(written) or found.name(written)
        depth = len(path)
        if depth == MAX_DEPTH:
            raise DepthError
        if name.wanted is not None:
            below, subject, may_have_guid = name.wanted
            if below is not None and path and path[-1] == below[0]:
                wanted.append((depth, len(texts), below[1]))
            # The outer element of nested ones includes the text of the inner; one that is not empty
            # is enough.
            if subject is not None and subject not in subjects and subject not in found.subjects:
                subjects.append(subject)
                wanted.append((depth, len(texts), subject))
            if may_have_guid:
                place = guids.places.at(name.name, path[-1] if path else "", path)
                if place is not None:
                    wanted.append((depth, len(texts), place))
        path.append(name.name)
        if attributes:
            if keep_attributes:
                found.attributes += attributes.values()
            if name.attribute is not None:
                found.keep_attribute(name.attribute, attributes)
            if not (name.plain or plain(attributes)):
                place = guids.keep_attributes(name.name, attributes, path)
                if place is not None:
                    wanted.append((depth, len(texts), place))
            if subjects:
                found.subjects.update(subjects)

    def end(_written: str) -> None:
        path.pop()
        while wanted and wanted[-1][0] == len(path):
            _, begin, what = wanted.pop()
            if isinstance(what, Place):
                found.keep(what, "".join(texts[begin:]))
            elif isinstance(what, GuidPlace):
                guids.keep(what, "".join(texts[begin:]))
            else:
                subjects.pop()
                found.keep_subject(what, texts[begin:])

    return start, end
