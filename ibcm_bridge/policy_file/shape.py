"""The shape of a policy file: YAML values -> rows, and a problem for each value that does not fit.

The bridge leaves out what does not fit, and whatever depends on it: an unknown or optional key
alone, a required key with its mapping, an item with its list, and a publication without a valid
mode as a whole. It reads the rest, so that one run reports all other problems. Each round of the
loop removes something, so the loop ends. A policy with problems is never used.
"""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.known_keys import mode_of, similar_keys, value_at
from ibcm_bridge.policy_file.reading import PolicyError, Reading
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.wording import described, in_words, wrong_mode
from ibcm_bridge.policy_file.yaml_tree import Place

_ABSENT = ("missing", "union_tag_not_found")
_WITH_PARENT = (*_ABSENT, "union_tag_invalid")
"""Kinds of errors that invalidate the mapping they occur in."""
_LEFT_OUT = {"name": "x", "mode": "tunnel", "listen": "x:0", "site_system": "x:0"}
"""A placeholder for a publication that is left out, so that the others keep their index."""


def read_shape(reading: Reading, table: RoleTable) -> PolicyRow:
    """Return the rows of a policy file that fit. PolicyError if nothing is left."""
    value = reading.tree.value
    wrong = {problem.place for problem in reading.tree.problems}
    reading.left_out |= {at for at in wrong if not isinstance(value_at(value, at), dict | list)}
    for where, conversion in list(reading.tree.conversions.items()):
        if wanted := described(where, mode_of(where, value)):
            reading.reword(where, f"{conversion}; write {wanted}")
    while True:
        try:
            return PolicyRow.model_validate(value)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # Report an unknown key before the missing key that it may be a misspelling of.
        errors.sort(key=lambda item: item["type"] != "extra_forbidden")
        for part in [_report(reading, item, table) for item in errors]:
            _leave_out(reading, part)


def _report(reading: Reading, item: ErrorDetails, table: RoleTable) -> Place:
    """Report an error, unless it follows from another one. Return the part to leave out."""
    kind, where, value = item["type"], _place(item), reading.tree.value
    if (wrong := _wrong_mode_of_role(where, value, table)) is not None:
        reading.report(where[:4], wrong)
        return _part(where[:4])
    words = in_words(item, where, reading.tree, table)
    if where in reading.tree.conversions:
        reading.reword(where, words)
    elif not (kind in _ABSENT and (*where[:-1], "<<") in reading.left_out):
        reading.report(where, words)
    reading.left_out.add(where)
    if kind == "extra_forbidden":
        reading.left_out.update(similar_keys(where, value))
    return _part(where[:-1] if kind in _WITH_PARENT and len(where) > 1 else where)


def _wrong_mode_of_role(where: Place, value: object, table: RoleTable) -> str | None:
    """Return the message for a place in a role that the mode does not support; None if it does.

    Roles have other keys in other modes, so errors in the keys are not reported.
    """
    mode = mode_of(where, value)
    role = str(where[3]) if len(where) > 4 and where[2] == "roles" else ""
    if mode is None or mode in table.modes.get(role, {mode}):
        return None
    return wrong_mode(role, mode, table)


def _place(item: ErrorDetails) -> Place:
    """Return the place of an error, without the tag that pydantic adds for a union."""
    location = item["loc"]
    if item["type"].startswith("union_tag"):
        return (*location, "mode")
    return (*location[:2], *location[3:]) if location[:1] == ("publications",) else location


def _part(where: Place) -> Place:
    """Return the key or publication to leave out for a place: lists and `roles` as a whole."""
    if len(where) == 4 and where[2] == "roles":
        return where[:-1]
    is_item = bool(where) and isinstance(where[-1], int)
    return where[:-1] if is_item and where[:-1] != ("publications",) else where


def _leave_out(reading: Reading, part: Place) -> None:
    """Remove a part from the values. PolicyError if nothing would be left."""
    if part in ((), ("publications",)):
        raise PolicyError(reading.sorted_problems())
    reading.left_out.add(part)
    holder = value_at(reading.tree.value, part[:-1])
    if isinstance(holder, list) and isinstance(part[-1], int):
        holder[part[-1]] = dict(_LEFT_OUT)
    elif isinstance(holder, dict) and part == ("version",):
        holder["version"] = 1  # the only version
    elif isinstance(holder, dict):
        holder.pop(part[-1], None)
