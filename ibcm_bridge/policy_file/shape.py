"""A policy file's shape: its text's values -> rows, and a problem for each that has not the shape.

A mistake of shape must not hide what else is wrong. So what has not the shape is put aside,
something harmless stands in for it where there has to be something, and the whole is read as ever;
only, nothing is reported of what is put aside (`Reading.spoilt`). Nobody uses a policy that has
problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ibcm_bridge.policy.roles import Mode, RoleTable
from ibcm_bridge.policy_file.keys import meant, mode_of, value_at
from ibcm_bridge.policy_file.reading import PolicyError, Reading
from ibcm_bridge.policy_file.rows import PolicyRow, PublicationRow
from ibcm_bridge.policy_file.wording import in_words, shape_wanted, without_tags
from ibcm_bridge.policy_file.yaml_tree import Place

_PUBLICATION: TypeAdapter[object] = TypeAdapter(PublicationRow)
_URL = "http://stand-in.invalid/"

_ITEMS: Mapping[str, Any] = {
    "publications": {"mode": "tunnel"},
    "without_crl": {},
    "extra_verbs": {},
    "extra_headers": {},
    "extra_paths": {},
    "extra_messages": {},
    "urls": _URL,
    "verbs": "STAND-IN",
    "internal_domains": "stand-in.invalid",
}
"""What stands in for one of a list; where it has to be a text and no more, an empty one does."""

_VALUES: Mapping[str, Any] = {
    # Names and addresses of a publication's own: no two may seem to be the same.
    "name": "{}.invalid",
    "listen": "{}.invalid:0",
    "version": 1,
    "certificate": {},
    "clients": {},
    "site_systems": {},
    "trust": {},
    "anchors": [""],
    "roles": {"": {}},
    "because": "it is not said why",
    "authority": "",
    "folder": "",
    "urls": [_URL],
    "verb": "STAND-IN",
    "verbs": ["STAND-IN"],
    "directory": "stand-in",
    "endpoint": "STAND_IN",
    "root": "STAND_IN",
    "path": "",
    "publications": [_ITEMS["publications"]],
}
"""What stands in for a key that has to be there. Parts of its own that are missing follow, so each
gets a copy to itself."""

_ROUNDS = 64
"""More than a file can need, in which nothing is nested more deeply than `MAX_DEPTH`."""

_SITE_SYSTEMS = {
    Mode.BRIDGE: "https://stand-in.invalid",
    Mode.PLAINTEXT: "http://stand-in.invalid",
    Mode.TUNNEL: "stand-in.invalid:0",
}


def read_shape(reading: Reading, table: RoleTable) -> PolicyRow:
    """The rows of a policy file; where there are problems, with something that stands in."""
    value = reading.tree.value
    wrong = {problem.place for problem in reading.tree.problems}
    reading.spoilt |= {path for path in wrong if not isinstance(value_at(value, path), dict | list)}
    for where in list(reading.tree.traps):
        if wanted := shape_wanted(where, value, value_at(value, where)):
            _retell(reading, where, wanted)
    guessed: set[Place] = set()
    for _ in range(_ROUNDS):
        try:
            return PolicyRow.model_validate(value)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        # What is spelled wrong is told before what is missing for it.
        for item in sorted(errors, key=lambda one: one["type"] != "extra_forbidden"):
            kind, where = str(item["type"]), without_tags(item["loc"])
            if kind.startswith("union_tag"):
                where = (*where, "mode")
                guessed.add(where[:2])
            if _is_elsewhere(where, mode_of(where, value), table):
                pass
            elif where in reading.tree.traps:
                _retell(reading, where, in_words(item, where, value, table))
            elif _is_worth_telling(reading, kind, where, guessed):
                reading.report(where, in_words(item, where, value, table))
            reading.spoilt.add(where)
            if kind == "extra_forbidden":
                reading.spoilt.update(meant(where, value))
            value = _put_aside(kind, where, value)
    raise PolicyError(reading.sorted_problems())


def _retell(reading: Reading, where: Place, wanted: str) -> None:
    """What YAML makes of a value, once more: putting it in quotes would not do here."""
    if (reads := reading.tree.traps.pop(where, None)) is not None:
        reading.retell(where, f"{reads}; {wanted}")


def _is_worth_telling(reading: Reading, kind: str, where: Place, guessed: set[Place]) -> bool:
    """Whether this is a mistake of its own, and none that another one brings with it."""
    if kind in ("missing", "extra_forbidden") and where[:-1] in guessed:
        return False  # in the mode that was meant it may be otherwise
    if kind in ("missing", "union_tag_not_found") and (*where[:-1], "<<") in reading.spoilt:
        return False  # it would have come from there
    return not reading.is_put_aside(where)


def _is_elsewhere(where: Place, mode: Mode | None, table: RoleTable) -> bool:
    """Whether this is in a role that has no such mode, and so other keys. It will be told."""
    if len(where) <= 4 or where[2] != "roles":
        return False
    return mode not in table.modes.get(str(where[3]), {mode})


def _put_aside(kind: str, where: Place, value: object) -> object:
    """The values without this one, or with what stands in for it."""
    if not where:
        return {}
    holder, key = value_at(value, where[:-1]), where[-1]
    if key == "mode" and len(where) == 3 and isinstance(holder, dict):
        holder["mode"] = _guess(holder)
    elif isinstance(holder, list) and isinstance(key, int):
        holder[key] = deepcopy(_ITEMS.get(str(where[-2]), ""))
    elif isinstance(holder, dict) and kind == "missing":
        holder[key] = _stand_in(where, mode_of(where, value))
    elif isinstance(holder, dict) and len(where) == 4 and where[2] == "roles":
        holder[key] = {}  # the role stays: what others are published beside it matters
    elif isinstance(holder, dict):
        del holder[key]
    return value


def _stand_in(where: Place, mode: Mode | None) -> object:
    if where[-1] == "site_system":
        return _SITE_SYSTEMS[mode or Mode.TUNNEL]
    found = _VALUES[str(where[-1])]
    return found.format(where[1]) if isinstance(found, str) and len(where) > 1 else deepcopy(found)


def _guess(publication: Mapping[str, object]) -> Mode:
    """The mode that is meant: the one that fits, or is spelled most alike, or fits best."""
    misfits = {mode: _misfits({**publication, "mode": mode.value}) for mode in Mode}
    best = min(misfits, key=misfits.__getitem__)
    alike = get_close_matches(str(publication.get("mode")), list(Mode), n=1, cutoff=0.5)
    return Mode(alike[0]) if alike and misfits[best] else best


def _misfits(publication: Mapping[str, object]) -> int:
    try:
        _PUBLICATION.validate_python(publication)
    except ValidationError as error:
        return error.error_count()
    return 0
