"""The parts of `rows` for a place of a policy file: its keys, and the description of its value.

`wording` has the messages.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.yaml_tree import Place


def parts_at(where: Place, mode: Mode | None) -> list[Any]:
    """Return the fields, rows, lists and mappings for a place.

    `mode` is the mode of the publication there, if any.
    """
    parts: list[Any] = [PolicyRow]
    for key in where:
        parts = [inner for part in parts for inner in _inner(part, key) if _fits_mode(inner, mode)]
    return parts


def known_keys(where: Place, mode: Mode | None) -> list[str]:
    """Return the valid keys at a place."""
    return [key for part in parts_at(where, mode) if _is_row(part) for key in part.model_fields]


def similar_keys(where: Place, value: object) -> list[Place]:
    """Return the place of the missing key that is most similar to an unknown one, or []."""
    holder = value_at(value, where[:-1])
    known = known_keys(where[:-1], mode_of(where, value))
    missing = [key for key in known if not isinstance(holder, dict) or key not in holder]
    key = str(where[-1]).lower().replace("-", "_")
    similar = get_close_matches(key, missing, n=1, cutoff=0.7)
    return [(*where[:-1], key) for key in similar]


def mode_of(where: Place, value: object) -> Mode | None:
    """Return the mode of the publication that contains a place; None outside or if invalid."""
    mode = value_at(value, (*where[:2], "mode")) if where[:1] == ("publications",) else None
    return Mode(mode) if isinstance(mode, str) and mode in set(Mode) else None


def value_at(value: object, where: Place) -> object:
    """Return the value at a place; None if there is none."""
    for key in where:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def _inner(part: Any, key: str | int) -> list[Any]:
    """Return the parts for a key of a row, a list or a mapping."""
    if _is_row(part):
        field = part.model_fields.get(key)
        return [field, *_parts(field.annotation)] if field else []
    return [inner for kind in get_args(part)[-1:] for inner in _parts(kind)]


def _parts(kind: Any) -> list[Any]:
    """Return the fields, rows, lists and mappings in a type."""
    if _is_row(kind) or isinstance(kind, FieldInfo) or get_origin(kind) in (list, dict):
        return [kind]
    return [part for inner in get_args(kind) for part in _parts(inner)]


def _fits_mode(part: Any, mode: Mode | None) -> bool:
    """Return whether a part is not the row of another mode."""
    own = part.model_fields.get("mode") if _is_row(part) else None
    return own is None or get_args(own.annotation) == (mode,)


def _is_row(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)
