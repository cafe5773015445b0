"""The places of client GUIDs in the documents of messages (BRIDGE-IDENTITY).

`config/endpoints.yaml` has the places of each message. `document` finds the values at them, and
`identity` compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from ibcm_bridge.messages.client_guid import find_guids
from ibcm_bridge.messages.limits import MAX_AT_GUID_PLACES, MAX_NAMES, MAX_VALUE, MAX_VALUES
from ibcm_bridge.messages.xml import TooMuchError


class GuidUse(StrEnum):
    """The meaning of a client GUID at a place."""

    OWN = "own"
    """The value is the client GUID of the sender."""
    OWN_IN_TEXT = "own_in_text"
    """A text or another identifier; each client GUID in it, with the prefix `GUID:`, is the
    sender's."""
    OTHER = "other"
    """Another client GUID is expected, such as the sender's previous one."""


@dataclass(frozen=True, slots=True)
class GuidPlace:
    """An element, an attribute, or a `Property` with a name.

    `label` is `Name`, or `Parent/Name` for a child element or an attribute of `Parent`. Its
    comparison ignores case and prefixes.
    """

    use: GuidUse
    label: str

    def __hash__(self) -> int:
        # Of the label alone: the hash of an enumeration's member is slow.
        return hash(self.label)

    @property
    def parent(self) -> str:
        """In lower case; empty for any parent."""
        return self.label.rpartition("/")[0].lower()

    @property
    def name(self) -> str:
        """In lower case."""
        return self.label.rpartition("/")[2].lower()


@dataclass(frozen=True)
class GuidPlaces:
    """The places in a document with a certain root element."""

    places: tuple[GuidPlace, ...] = ()
    data: tuple[str, ...] = ()
    """Elements, in lower case, whose content has names that Configuration Manager does not define,
    such as WMI classes. In them, an `own` place without a parent does not match, and their
    attributes are at no place."""

    def __hash__(self) -> int:
        # Each message looks for its places in a cache (`plain_shape`), mostly the same object.
        return len(self.places)

    def at(self, name: str, parent: str, path: Sequence[str]) -> GuidPlace | None:
        """The place of a name below `parent`, in lower case; `path` has all open elements."""
        for below, place in self.by_name.get(name, ()):
            if below == parent or (not below and self._is_named(place, path)):
                return place
        return None

    def _is_named(self, place: GuidPlace, path: Sequence[str]) -> bool:
        return place.use is GuidUse.OTHER or not any(data in path for data in self.data)

    @cached_property
    def by_name(self) -> Mapping[str, tuple[tuple[str, GuidPlace], ...]]:
        """Name -> parent and place; those with a parent are first."""
        ordered = sorted(self.places, key=lambda place: not place.parent)
        return {
            name: tuple((place.parent, place) for place in ordered if place.name == name)
            for name in {place.name for place in ordered}
        }


NO_PLACES = GuidPlaces()

GuidPlacesOf = Callable[[str], GuidPlaces]
"""Root element, in lower case -> the places of its document."""

_PROPERTY = "property"
_WHITE_SPACE = " \t\r\n"


@dataclass(slots=True)
class GuidValues:
    """Collects the values at the places of client GUIDs, during one pass of the parser."""

    places: GuidPlaces = NO_PLACES
    plain_attributes: set[str] = field(default_factory=set)
    """Names of attributes, as written, that need no look at their value."""
    _values: dict[GuidPlace, dict[str, None]] = field(default_factory=dict)
    _count: int = 0

    @property
    def found(self) -> Mapping[GuidPlace, tuple[str, ...]]:
        """The distinct values at each place; of a text, the client GUIDs in it."""
        return {place: tuple(values) for place, values in self._values.items()}

    def keep(self, place: GuidPlace, value: str) -> None:
        """Add the value at a place. Raises TooMuchError."""
        self._count += 1
        if self._count > MAX_AT_GUID_PLACES:
            raise TooMuchError(
                f"more than {MAX_AT_GUID_PLACES:,} values at {place.label} and others"
            )
        if len(value) > MAX_VALUE:
            raise TooMuchError(f"a too long value at {place.label}")
        values = self._values.setdefault(place, {})
        if place.use is not GuidUse.OWN:
            # More are not needed: two different ones are already refused.
            found = find_guids(value, MAX_VALUES)[: MAX_VALUES - len(values)]
            values.update(dict.fromkeys(found))
        elif value.strip(_WHITE_SPACE):
            values[value] = None
        if len(values) > MAX_VALUES:
            raise TooMuchError(f"too many values at {place.label}")

    def keep_attributes(
        self, element: str, attributes: Mapping[str, str], path: Sequence[str]
    ) -> GuidPlace | None:
        """Add the values of an element's attributes, whatever their prefix and case.

        Return the place of its text if it is a `Property` with the name of a place.
        """
        local = [(name.rpartition(":")[2].lower(), value) for name, value in attributes.items()]
        for written, (name, value) in zip(attributes, local, strict=True):
            place = self.places.at(name, element, path)
            if place is not None:
                self.keep(place, value)
            elif self._is_plain(name) and len(self.plain_attributes) < MAX_NAMES:
                self.plain_attributes.add(written)
        return self._keep_property(local, path) if element == _PROPERTY else None

    def has_attribute(self, element: str, names: frozenset[str]) -> bool:
        """Return whether an attribute of an element can be at a place. Names in lower case."""
        by_name = self.places.by_name
        if not by_name or element in self.places.data:
            return False
        return not names.isdisjoint(by_name) or (element == _PROPERTY and "name" in names)

    def _is_plain(self, name: str) -> bool:
        # Every property has a name.
        return name != "name" and name not in self.places.by_name

    def _keep_property(
        self, attributes: Sequence[tuple[str, str]], path: Sequence[str]
    ) -> GuidPlace | None:
        names = [value.strip(_WHITE_SPACE).lower() for name, value in attributes if name == "name"]
        places = (self.places.at(name, _PROPERTY, path) for name in names)
        place = next((place for place in places if place is not None), None)
        for name, value in attributes:
            if place is not None and name == "value":
                self.keep(place, value)
        return place
