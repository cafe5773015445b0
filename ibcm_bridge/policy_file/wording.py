"""Error messages for the shape of a policy file: the problem, then the correction.

A message is "PROBLEM; CORRECTION", such as "invalid value; write drop or refuse". The correction
is the title and the examples that `rows` has for the place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import Mode, RoleTable
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.known_keys import (
    known_keys,
    mode_of,
    parts_at,
    similar_keys,
    value_at,
)

_MODES = "bridge, tunnel or plaintext"
_MIXED = "a publication is either a bridge or a tunnel; give the tunnel a separate name"
_KEYS_OF_OTHER_MODES: Mapping[tuple[Mode | None, str], str] = {
    (Mode.TUNNEL, "certificate"): "a tunnel needs no certificate (TUNNEL-NO-CERT); remove this key",
    (Mode.TUNNEL, "clients"): "a tunnel does not authenticate clients (TUNNEL-PASS); remove it",
    (Mode.TUNNEL, "site_systems"): _MIXED,
    (Mode.TUNNEL, "unlisted_headers"): "a tunnel cannot read headers (TUNNEL-BLIND); remove it",
    (Mode.BRIDGE, "site_system"): _MIXED,
    (Mode.PLAINTEXT, "certificate"): "a plaintext listener has no TLS; remove this key",
    (Mode.PLAINTEXT, "clients"): "clients cannot be authenticated without TLS; remove this key",
    (Mode.PLAINTEXT, "site_systems"): "this mode has no TLS to its site systems; remove this key",
}
"""By mode of a publication and key: the message for a key that only other modes have."""


@dataclass(frozen=True, slots=True)
class _Error:
    """One of pydantic's errors, and its context in the file."""

    where: yaml_tree.Place
    value: object
    """The value of the whole file."""
    given: object
    expected: str
    mode: Mode | None
    table: RoleTable


def in_words(
    item: ErrorDetails, where: yaml_tree.Place, tree: yaml_tree.Tree, table: RoleTable
) -> str:
    """Return the message for one of pydantic's errors.

    It includes the YAML conversion of the value, if the tree has one for this place.
    """
    kind, given, conversion = item["type"], value_at(tree.value, where), tree.conversions.get(where)
    expected = str(item.get("ctx", {}).get("expected", ""))
    error = _Error(where, tree.value, given, expected, mode_of(where, tree.value), table)
    if (message := _MESSAGES.get(kind)) is not None:
        return f"{conversion}; {message(error)}" if conversion else message(error)
    if (wanted := _WANTED.get(kind)) is not None:
        return f"{conversion or _invalid(given)}; write {wanted(error)}"
    return item["msg"].replace("Input should be", "out of range; write a number")


def described(where: yaml_tree.Place, mode: Mode | None, default: str | None = None) -> str | None:
    """Return the valid values at a place, in words: the title and examples of its field.

    `default` is for a field without a title.
    """
    parts = parts_at(where, mode)
    title = next((part.title for part in parts if getattr(part, "title", None)), default)
    examples = next(filter(None, map(_examples, parts)), None)
    return f"{title}, such as {_alternatives(examples)}" if title and examples else title


def _examples(part: Any) -> list[Any]:
    """Return the examples that a part of `rows` has; of a number, the default."""
    default: Any = getattr(part, "default", None)
    number = [round(default)] if type(default) in (int, float) else []
    return getattr(part, "examples", None) or number


_NEEDLESS_QUOTES = re.compile(r'"((?![\d.]+")[^":]*(://[^"]*)?)"')
"""Quotes of JSON around a text that YAML reads as text without them."""


def _alternatives(values: list[Any]) -> str:
    """Return values in the spelling of YAML: "30m, 12h or 1d"."""
    *others, last = [_NEEDLESS_QUOTES.sub(r"\1", json.dumps(value)) for value in values]
    return f"{', '.join(others)} or {last}" if others else last


def _invalid(given: object) -> str:
    """Return the problem with a value of the wrong type or format."""
    kinds = {
        list: "a list is not allowed here",
        dict: "keys and values are not allowed here",
        type(None): "the value is empty",
    }
    return kinds.get(type(given), "invalid value")


def _missing(error: _Error) -> str:
    wanted = _MODES if error.where[-1] == "mode" else described(error.where, error.mode)
    return "this key is missing" + (f"; write {wanted}" if wanted else "")


def _unknown(error: _Error) -> str:
    key = str(error.where[-1])
    if len(error.where) == 3 and (words := _KEYS_OF_OTHER_MODES.get((error.mode, key))):
        return words
    if similar := similar_keys(error.where, error.value):
        return f"unknown key; did you mean {similar[0][-1]}?"
    return f"unknown key; use one of {', '.join(known_keys(error.where[:-1], error.mode))}"


_MESSAGES: Mapping[str, Callable[[_Error], str]] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "union_tag_not_found": _missing,
    "too_short": lambda _: "must not be empty; add at least one item",
}
"""Whole messages, by the kind of pydantic's error."""


def _text(error: _Error) -> str:
    quotes = "" if isinstance(error.given, list | dict | None) else ", in quotes"
    return described(error.where, error.mode) or f"text{quotes}"


def _number(error: _Error) -> str:
    quotes = ", without quotes" if str(error.given).isdecimal() else ""
    return f"{described(error.where, error.mode)}{quotes}"


def _keys_and_values(error: _Error) -> str:
    if not error.where:
        return "version: 1 and publications"
    wanted = described(error.where, error.mode, "keys and values")
    listed = error.given if error.where[-1] == "roles" and isinstance(error.given, list) else []
    others = [
        name for name in map(str, listed) if error.mode not in error.table.modes.get(name, ())
    ]
    if error.mode is not None and others:
        return f"{wanted}; {others[0]}: {wrong_mode(others[0], error.mode, error.table)}"
    return str(wanted)


def _list(error: _Error) -> str:
    if error.where[-1] == "roles":
        return f"a list of names; {_MIXED}"
    example = error.given if isinstance(error.given, str) and error.given else "one, two"
    return f"a list, such as [{example}]"


def _choice(error: _Error) -> str:
    if error.where == ("version",):
        return "version: 1, without quotes"
    choices = _alternatives(re.findall(r"'([^']*)'", error.expected))
    return f"{choices}, in quotes" if choices.startswith('"') else choices


_WANTED: Mapping[str, Callable[[_Error], str]] = {
    "union_tag_invalid": lambda _: _MODES,
    "literal_error": _choice,
    "list_type": _list,
    "bool_type": lambda _: "true or false, without quotes",
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type"), _keys_and_values),
    **dict.fromkeys(("int_type", "float_type"), _number),
    **dict.fromkeys(
        ("string_type", "string_pattern_mismatch", "string_too_short", "string_too_long"), _text
    ),
}
"""Valid values, by the kind of pydantic's error."""


def wrong_mode(role: str, mode: Mode, table: RoleTable) -> str:
    """Return why a publication of this mode cannot have this role, and which modes can."""
    if role not in table.modes:
        return f"unknown site system role; use one of {', '.join(table.modes)}"
    modes = " or ".join(sorted(table.modes[role]))
    cited = f" ({table.not_bridged[role]})" if role in table.not_bridged else ""
    if mode is Mode.PLAINTEXT:
        cited = " (BRIDGE-HTTPS-ONLY)"
    return f"this role cannot be published with mode: {mode}, only with mode: {modes}{cited}"
