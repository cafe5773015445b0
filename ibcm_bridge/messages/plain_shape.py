"""The shapes of plain documents: their tags without their texts, checked once.

Whether the elements of a plain document are nested well, and which of them have values that the
checks need, depends on its tags alone. The messages of one kind have the same tags, for example all
requests for policy. So the result for a sequence of tags is remembered. The texts of a message are
never part of it, and are looked at for each message.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ibcm_bridge.messages.document_values import FoundValues
from ibcm_bridge.messages.guid_places import GuidPlaces
from ibcm_bridge.messages.plain_xml import Tag, Visited, watched_elements

REMEMBERED = 128
"""Shapes; the least recently used one is forgotten."""

MAX_CHARACTERS = 16_384
MAX_NAMES = 1_024
"""Of all elements, and on the paths of the visited ones. Larger shapes are not remembered, and none
with other characters than ASCII. So all of them take less than 16 MB, whatever clients send."""


class Shape(NamedTuple):
    """What the tags of a plain document say."""

    elements: frozenset[str]
    """Local names of all elements, in lower case."""
    visited: Sequence[Visited]
    """The elements in which a value can be."""


NO_SHAPE = Shape(frozenset(), ())


def shape_of(tags: Sequence[str], places: GuidPlaces) -> Shape:
    """Return the shape of a document with these tags, and with client GUIDs at these places.

    Raise NotPlainError unless every tag is well-formed and every element ends at its place.
    """
    written = _BETWEEN.join(tags)
    if len(written) > MAX_CHARACTERS or not written.isascii():
        return _shape(tags, places)
    try:
        return _remembered(written, places)
    except _NotRememberedError as error:
        return error.shape


_BETWEEN = ">"
"""No tag has it: a document is split there."""


class _NotRememberedError(Exception):
    """Raised because `lru_cache` does not remember an exception."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


@lru_cache(maxsize=REMEMBERED)
def _remembered(written: str, places: GuidPlaces) -> Shape:
    shape = _shape(written.split(_BETWEEN), places)
    names = len(shape.elements) + sum(1 + len(above) for _, above, _ in shape.visited)
    if names > MAX_NAMES:
        raise _NotRememberedError(shape)
    return shape


def _shape(tags: Sequence[str], places: GuidPlaces) -> Shape:
    found = FoundValues(lambda _root: places)
    elements: set[str] = set()

    def watches(tag: Tag) -> bool:
        elements.add(tag.local)
        return found.has_values(tag)

    visited = watched_elements(tags, watches)
    return Shape(frozenset(elements), visited)
