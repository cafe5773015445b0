"""Which keys there are at a place of a policy file, as `rows` has them."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from ibcm_bridge.policy_file.rows import PolicyRow
from ibcm_bridge.roles import Mode
from ibcm_bridge.yaml_tree import Path


def known_keys(where: Path, mode: Mode | None) -> list[str]:
    """The keys of the mapping at this place; `mode` is that of the publication it is in."""
    kind: Any = PolicyRow
    for key in where:
        kind = _inner(kind, key, mode)
    return list(kind.model_fields) if _is_row(kind) else []


def nearest(key: str, known: list[str]) -> list[str]:
    """The known key that an unknown one is a slip of: one or none."""
    return get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.7)


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
