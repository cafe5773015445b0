"""A policy file's shape: the values of its text -> rows, and a problem for each that does not fit.

What does not fit is left out, with everything that cannot be without it: an unknown or optional key
by itself, a required key with the mapping that it is in, an item with its list, and a publication
without its mode as a whole. The rest is read on, so that one run finds all that is wrong there. A
round of the loop always takes something out. Nobody uses a policy that has problems.
"""

from __future__ import annotations

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.keys import meant, mode_of, value_at
from ibcm_bridge.policy_file.reading import PolicyError, Reading
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.wording import in_words, not_published_so, shape_wanted
from ibcm_bridge.policy_file.yaml_tree import Place

_ABSENT = ("missing", "union_tag_not_found")
_WITH_PARENT = (*_ABSENT, "union_tag_invalid")
"""Kinds of errors without which what they are in cannot be."""
_LEFT_OUT = {"name": "x", "mode": "tunnel", "listen": "x:0", "site_system": "x:0"}
"""Keeps the place of a publication that is left out, so that the others keep theirs."""


def read_shape(reading: Reading, table: RoleTable) -> PolicyRow:
    """The rows of a policy file, without what does not fit. PolicyError where nothing is left."""
    value = reading.tree.value
    wrong = {problem.place for problem in reading.tree.problems}
    reading.left_out |= {at for at in wrong if not isinstance(value_at(value, at), dict | list)}
    for where in list(reading.tree.traps):
        if wanted := shape_wanted(where, value, value_at(value, where)):
            reading.reword(where, wanted)
    while True:
        try:
            return PolicyRow.model_validate(value)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # A misspelt key is reported before the key that is missing for it.
        errors.sort(key=lambda item: item["type"] != "extra_forbidden")
        for part in [_report(reading, item, table) for item in errors]:
            _leave_out(reading, part)


def _report(reading: Reading, item: ErrorDetails, table: RoleTable) -> Place:
    """Note what does not fit, unless it follows from something else. What is to be left out."""
    kind, where, value = item["type"], _place(item), reading.tree.value
    if (role := _role_of_another_mode(where, value, table)) is not None:
        reading.report(*role)
        return _part(role[0])
    words = in_words(item, where, value, table)
    if where in reading.tree.traps:
        reading.reword(where, words)
    elif not (kind in _ABSENT and (*where[:-1], "<<") in reading.left_out):
        reading.report(where, words)
    reading.left_out.add(where)
    if kind == "extra_forbidden":
        reading.left_out.update(meant(where, value))
    return _part(where[:-1] if kind in _WITH_PARENT and len(where) > 1 else where)


def _role_of_another_mode(
    where: Place, value: object, table: RoleTable
) -> tuple[Place, str] | None:
    """The role that a place is in, and why it cannot be published so: other keys would fit then."""
    mode = mode_of(where, value)
    if len(where) <= 4 or where[2] != "roles" or mode is None:
        return None
    role = str(where[3])
    if mode in table.modes.get(role, {mode}):
        return None
    return where[:4], not_published_so(role, mode, table)


def _place(item: ErrorDetails) -> Place:
    """Where an error is. pydantic puts the tag of a union into its place; the file has none."""
    location = item["loc"]
    if item["type"].startswith("union_tag"):
        return (*location, "mode")
    return (*location[:2], *location[3:]) if location[:1] == ("publications",) else location


def _part(where: Place) -> Place:
    """The key or publication that a place is left out with: a list or the roles as a whole."""
    if len(where) == 4 and where[2] == "roles":
        return where[:-1]
    is_item = bool(where) and isinstance(where[-1], int)
    return where[:-1] if is_item and where[:-1] != ("publications",) else where


def _leave_out(reading: Reading, part: Place) -> None:
    """Take a part out of the values. PolicyError where nothing would be left to read."""
    if part in ((), ("publications",)):
        raise PolicyError(reading.sorted_problems())
    reading.left_out.add(part)
    holder = value_at(reading.tree.value, part[:-1])
    if isinstance(holder, list) and isinstance(part[-1], int):
        holder[part[-1]] = dict(_LEFT_OUT)
    elif isinstance(holder, dict) and part == ("version",):
        holder["version"] = 1  # there is no other yet
    elif isinstance(holder, dict):
        holder.pop(part[-1], None)
