"""The parts of `rows` for a place of a policy file: its keys, and the types of its value."""

from __future__ import annotations

from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.rows.values import Row

Location = tuple[str | int, ...]
"""pydantic's place of an error: a publication's index is followed by its mode."""

KEY_ITSELF = "[key]"
"""pydantic's last part of a place: the key before it is wrong, not its value."""


def parts_at(location: Location) -> list[Any]:
    """Return the fields and types for a location: fields, rows, str, list[...] and others."""
    if location[-1:] == (KEY_ITSELF,):
        mappings = parts_at(location[:-2])
        return [kind for mapping in mappings for kind in _types(*get_args(mapping)[:1])]
    parts: list[Any] = [PolicyRow]
    for key in location:
        parts = [inner for part in parts for inner in _inner(part, key)]
    return parts


def known_keys(location: Location) -> list[str]:
    """Return the valid keys at a location."""
    return [key for part in parts_at(location) if is_row(part) for key in _fields(part)]


def similar_key(location: Location) -> str | None:
    """Return the valid key that is most similar to the last one of a location, if any."""
    key = str(location[-1]).lower().replace("-", "_")
    return next(iter(get_close_matches(key, known_keys(location[:-1]), n=1, cutoff=0.7)), None)


def is_row(part: Any) -> bool:
    """Return whether a part is a row: a mapping with known keys."""
    return isinstance(part, type) and issubclass(part, Row)


def _inner(part: Any, key: str | int) -> list[Any]:
    """Return the parts for a key of a row, a list or a mapping, or for a mode of publications."""
    if not is_row(part):
        return _types(*get_args(part)[-1:])
    fields = _fields(part)
    if "mode" in fields and key in get_args(fields["mode"].annotation):
        return [part]
    return [fields[key], *_types(fields[key].annotation)] if key in fields else []


def _fields(row: Any) -> dict[str, Any]:
    """Return the fields of a row by the keys of the file, which can be words of Python."""
    return {field.alias or name: field for name, field in row.model_fields.items()}


def _types(*annotations: Any) -> list[Any]:
    """Return the types in annotations, with their fields, without `Annotated` and unions."""
    found: list[Any] = []
    for annotation in annotations:
        is_nested = get_origin(annotation) in (Annotated, Union, UnionType)
        found += _types(*get_args(annotation)) if is_nested else [annotation]
    return found
