"""Error messages for the shape of a policy file: the problem, then the correction.

A message is "PROBLEM; CORRECTION", such as "invalid value; write drop or refuse". The correction
is from `rows`: the title and the examples, or the type, of what is valid at the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from ibcm_bridge.policy.roles import Mode
from ibcm_bridge.policy_file.known_keys import (
    KEY_ITSELF,
    Location,
    is_row,
    known_keys,
    parts_at,
    similar_key,
)
from ibcm_bridge.policy_file.rows.publications import UNSUPPORTED_ROLE
from ibcm_bridge.policy_file.yaml_tree import Converted, Place

_TYPES = {str: "text, in quotes", bool: "true or false", list: "a list", dict: "keys and values"}
"""Valid values of fields that have no title."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that does not fit: one of pydantic's errors. `text` is its message."""

    kind: str
    location: Location
    given: object
    text: str

    @property
    def place(self) -> Place:
        """The place in the file: the location without the mode of the publication."""
        location = self.location[:-1] if self.location[-1:] == (KEY_ITSELF,) else self.location
        is_inside = location[:1] == ("publications",) and location[2:] != ("mode",)
        return location[:2] + location[3:] if is_inside else location

    @property
    def is_missing(self) -> bool:
        """Whether a required key, or the mode, is missing."""
        return self.kind == "missing" or (self.kind, self.given) == ("union_tag_not_found", None)


def in_words(misfit: Misfit) -> str:
    """Return the message for a value that does not fit."""
    if misfit.kind == UNSUPPORTED_ROLE:
        return misfit.text
    if misfit.kind == "extra_forbidden":
        return _unknown(misfit.location)
    if misfit.kind == "too_short":
        return "must not be empty; add at least one item"
    if misfit.kind.startswith(("greater_than", "less_than")):
        return misfit.text.replace("Input should be", "out of range; write a number")
    problem = "this key is missing" if misfit.is_missing else _problem(misfit.given)
    quotes = ", without quotes" if misfit.kind in ("bool_type", "int_type", "float_type") else ""
    return f"{problem}; write {_expected(misfit.location)}{quotes}"


def _unknown(location: Location) -> str:
    # The same key in a publication of another mode.
    others = [mode for mode in Mode if location[-1] in known_keys((*location[:-2], mode))]
    if others:
        return f"this key is for mode: {' or '.join(others)}; remove it, or change the mode"
    if similar := similar_key(location):
        return f"unknown key; did you mean {similar}?"
    return f"unknown key; use one of {', '.join(known_keys(location[:-1]))}"


def _problem(given: object) -> str:
    """Return the problem with a value of the wrong type or format."""
    kinds = {
        list: "a list is not allowed here",
        dict: "keys and values are not allowed here",
        type(None): "the value is empty",
        Converted: str(given),
    }
    return kinds.get(type(given), "invalid value")


def _expected(location: Location) -> str:
    """Return the valid values at a location, in words."""
    if not location:
        return "version: 1 and publications"
    parts = parts_at(location)
    titles = [part.title for part in parts if isinstance(part, FieldInfo) and part.title]
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices and not titles:
        return _alternatives(choices)
    types = [_TYPES.get(dict if is_row(part) else get_origin(part) or part) for part in parts]
    words = next(filter(None, titles + types))
    examples = _examples(parts) or [[item] for item in _examples(parts_at((*location, 0)))[:1]]
    return f"{words}, such as {_alternatives(examples)}" if examples else words


def _examples(parts: Sequence[Any]) -> list[Any]:
    """Return the examples of the first part that has any; of a number, the default."""
    for part in parts:
        default: Any = getattr(part, "default", None)
        number = [round(default)] if type(default) in (int, float) else []
        if found := getattr(part, "examples", None) or number:
            return list(found)
    return []


def _alternatives(values: Sequence[Any]) -> str:
    """Return values in the spelling of YAML: "30m, 12h or 1d"."""
    *others, last = [
        yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=999).strip()[1:-1]
        for value in values
    ]
    return f"{', '.join(others)} or {last}" if others else last
