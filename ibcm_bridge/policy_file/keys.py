"""What stands at a place of a policy file, and which keys could, as `rows` has them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file.rows import PolicyRow
from ibcm_bridge.policy_file.yaml_tree import Place


def known_keys(where: Place, mode: Mode | None) -> list[str]:
    """The keys of the mapping at this place; `mode` is that of the publication it is in."""
    kind: Any = PolicyRow
    for key in where:
        kind = _inner(kind, key, mode)
    return list(kind.model_fields) if _is_row(kind) else []


_RENAMED = {
    "largest": "max_bytes",
    "size": "max_total_bytes",
    "of_client": "per_client_sessions",
    "client_size": "per_client_bytes",
    "held_bytes": "buffered_bytes",
}
"""Keys of earlier versions."""


def meant(where: Place, value: object) -> list[Place]:
    """The key that an unknown one is a slip of: one that is not there, or none."""
    holder = value_at(value, where[:-1])
    known = known_keys(where[:-1], mode_of(where, value))
    missing = [key for key in known if not isinstance(holder, dict) or key not in holder]
    key = str(where[-1]).lower().replace("-", "_")
    alike = get_close_matches(_RENAMED.get(key, key), missing, n=1, cutoff=0.7)
    return [(*where[:-1], key) for key in alike]


def mode_of(where: Place, value: object) -> Mode | None:
    """The mode of the publication that a place is in."""
    mode = value_at(value, (*where[:2], "mode")) if where[:1] == ("publications",) else None
    return Mode(mode) if isinstance(mode, str) and mode in set(Mode) else None


def value_at(value: object, where: Place) -> object:
    """The value at a place; None where there is none."""
    for key in where:
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def _inner(kind: Any, key: str | int, mode: Mode | None) -> Any:
    if not _is_row(kind):
        # list[X] and dict[str, X]
        return _plain(get_args(kind)[-1], mode) if get_args(kind) else None
    field = kind.model_fields.get(key)
    return None if field is None else _plain(field.annotation, mode)


def _plain(kind: Any, mode: Mode | None) -> Any:
    """Without what a type says beside its shape; of several rows, the one of this mode."""
    if get_origin(kind) is Annotated:
        return _plain(get_args(kind)[0], mode)
    if get_origin(kind) in (list, dict) or _is_row(kind):
        return kind
    rows = [one for one in get_args(kind) if _is_row(one) or get_origin(one) in (list, dict)]
    for one in rows:
        if len(rows) == 1 or get_args(one.model_fields["mode"].annotation) == (mode,):
            return one
    return None


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
