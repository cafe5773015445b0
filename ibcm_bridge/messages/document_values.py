"""The values that the checks need from a document of a message, collected at their places.

A management point may find them in another way, so every value at a place is collected, and names
are compared without case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ibcm_bridge.messages.guid_places import GuidPlace, GuidPlacesOf, GuidValues
from ibcm_bridge.messages.limits import MAX_NAMES, MAX_VALUE, MAX_VALUES
from ibcm_bridge.messages.plain_xml import Tag
from ibcm_bridge.messages.xml import TooMuchError


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


SUBJECTS = {element.lower(): element for element in SubjectElement}

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

_WITH_TEXT = {name: (_BELOW.get(name), SUBJECTS.get(name), False) for name in {*_BELOW, *SUBJECTS}}
"""Element whose text is collected -> its place, its subject element, or both."""


@dataclass(slots=True)
class Name:
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


Wanted = Place | GuidPlace | SubjectElement
"""The kind of an element whose text is collected."""


@dataclass(slots=True)
class FoundValues:
    """The values of a document, collected by either of its parsers (`document`)."""

    places_of: GuidPlacesOf
    root: str = ""
    guids: GuidValues = field(default_factory=GuidValues)
    names: dict[str, Name] = field(default_factory=dict)
    """Name as written -> `Name`."""
    values: dict[Place, dict[str, None]] = field(default_factory=dict)
    subjects: set[SubjectElement] = field(default_factory=set)
    open_subjects: list[SubjectElement] = field(default_factory=list)

    def name(self, written: str) -> Name:
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
        name = self.names[written] = Name(local, wanted, _ATTRIBUTES.get(local), plain)
        return name

    def has_values(self, tag: Tag) -> bool:
        """Return whether a value can be in the text or the attributes of the elements of a tag."""
        if not self.names:
            self.name(tag.name)
        if tag.local in _WITH_TEXT or tag.local in self.guids.places.by_name:
            return True
        names = tag.attribute_names
        return bool(names) and (
            tag.local in _ATTRIBUTES or self.guids.has_attribute(tag.local, names)
        )

    def start(self, name: Name, path: Sequence[str]) -> Sequence[Wanted]:
        """The kinds of an element by its name, below the elements of `path`."""
        if name.wanted is None:
            return ()
        below, subject, may_have_guid = name.wanted
        wanted: list[Wanted] = []
        if below is not None and path and path[-1] == below[0]:
            wanted.append(below[1])
        # The outer element of nested ones includes the text of the inner; one that is not empty is
        # enough.
        if (
            subject is not None
            and subject not in self.open_subjects
            and subject not in self.subjects
        ):
            self.open_subjects.append(subject)
            wanted.append(subject)
        if may_have_guid:
            place = self.guids.places.at(name.name, path[-1] if path else "", path)
            if place is not None:
                wanted.append(place)
        return wanted

    def keep_attributes(
        self, name: Name, attributes: Mapping[str, str], path: Sequence[str]
    ) -> GuidPlace | None:
        """Add the values of an element's attributes; `path` ends with the element.

        Return the place of its text if the attributes make it one.
        """
        if name.attribute is not None:
            local, place = name.attribute
            for written, value in attributes.items():
                if written.rpartition(":")[2].lower() == local:
                    self._keep(place, value)
        if self.open_subjects:
            self.subjects.update(self.open_subjects)
        if name.plain or self.guids.plain_attributes.issuperset(attributes):
            return None
        return self.guids.keep_attributes(name.name, attributes, path)

    def end(self, wanted: Wanted, texts: Sequence[str]) -> None:
        """Add the texts of an element."""
        if isinstance(wanted, GuidPlace):
            self.guids.keep(wanted, "".join(texts))
        elif isinstance(wanted, Place):
            self._keep(wanted, "".join(texts))
        else:
            self.open_subjects.pop()
            if any(text.strip(_WHITE_SPACE) for text in texts):
                self.subjects.add(wanted)

    def _keep(self, place: Place, value: str) -> None:
        values = self.values.setdefault(place, {})
        values[value] = None
        if len(values) > MAX_VALUES or len(value) > MAX_VALUE:
            raise TooMuchError(f"too many or too long values at {place}")
