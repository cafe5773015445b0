"""The keys that `rows` allows at a place of a policy file, and the one that was probably meant.

`wording` has the message for an unknown key.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.yaml_tree import Place

_RENAMED = {
    "largest": "max_bytes",
    "size": "max_total_bytes",
    "of_client": "per_client_sessions",
    "client_size": "per_client_bytes",
    "held_bytes": "buffered_bytes",
}
"""Keys of earlier versions -> their current names."""


def known_keys(where: Place, mode: Mode | None) -> list[str]:
    """Return the valid keys at a place. `mode` is the mode of the publication there, if any."""
    kinds: list[Any] = [PolicyRow]
    for key in where:
        kinds = [inner for kind in kinds for inner in _inner(kind, key) if _fits_mode(inner, mode)]
    return [key for kind in kinds if _is_row(kind) for key in kind.model_fields]


def similar_keys(where: Place, value: object) -> list[Place]:
    """Return the place of the missing key that is most similar to an unknown one, or []."""
    holder = value_at(value, where[:-1])
    known = known_keys(where[:-1], mode_of(where, value))
    missing = [key for key in known if not isinstance(holder, dict) or key not in holder]
    key = str(where[-1]).lower().replace("-", "_")
    similar = get_close_matches(_RENAMED.get(key, key), missing, n=1, cutoff=0.7)
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


def _inner(kind: Any, key: str | int) -> list[Any]:
    """Return the types that a key of a row, a list or a mapping can contain."""
    if not _is_row(kind):
        return _parts(get_args(kind)[-1])
    return _parts(kind.model_fields[key].annotation) if key in kind.model_fields else []


def _parts(kind: Any) -> list[Any]:
    """Return the rows, lists and mappings in a type."""
    if _is_row(kind) or get_origin(kind) in (list, dict):
        return [kind]
    return [part for inner in get_args(kind) for part in _parts(inner)]


def _fits_mode(kind: Any, mode: Mode | None) -> bool:
    """Return whether a type is not the row of another mode."""
    own = kind.model_fields.get("mode") if _is_row(kind) else None
    return own is None or get_args(own.annotation) == (mode,)


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
