"""The shape of a policy file: YAML values -> rows, and a problem for each value that does not fit.

A section is a publication, or another key at the top. A section with a problem of YAML or of shape
is left out: the bridge checks the rest of it, such as its files, after the correction. So one run
reports all problems of YAML and shape, and all problems of the other sections.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ibcm_bridge.policy.roles import RoleTable
from ibcm_bridge.policy_file.known_keys import similar_key
from ibcm_bridge.policy_file.reading import PolicyError, Reading
from ibcm_bridge.policy_file.rows.policy import PolicyRow
from ibcm_bridge.policy_file.rows.values import ONE, SEVERAL
from ibcm_bridge.policy_file.wording import Misfit, in_words
from ibcm_bridge.policy_file.yaml_tree import Place

_LEFT_OUT = {"name": "x.x", "mode": "tunnel", "listen": "x:0", "site_system": "x:0"}
"""A placeholder for a publication that is left out, so that the others keep their index."""


def read_shape(reading: Reading, table: RoleTable) -> PolicyRow:
    """Return the rows of the sections that fit. PolicyError if no publication can be read."""
    value: Any = reading.tree.value
    misfits = _misfits(value, table)
    unknown = [misfit for misfit in misfits if misfit.kind == "extra_forbidden"]
    meant = {(*misfit.place[:-1], similar_key(misfit.location)) for misfit in unknown}
    # Nothing else is reported at or below the place of a problem.
    reading.left_out = {problem.place for problem in reading.tree.problems}
    for misfit in misfits:
        if not (misfit.is_missing and misfit.place in meant):
            reading.report(misfit.place, in_words(misfit))
        reading.left_out.add(misfit.place)
    reading.left_out = {_section(place) for place in reading.left_out}
    if reading.left_out & {(), ("publications",)}:
        raise PolicyError(reading.sorted_problems())
    return PolicyRow.model_validate(_without(value, reading.left_out), context=table)


def _misfits(value: object, table: RoleTable) -> list[Misfit]:
    try:
        PolicyRow.model_validate(value, context=table)
    except ValidationError as error:
        return [_misfit(item) for item in error.errors()]
    return []


def _misfit(item: ErrorDetails) -> Misfit:
    """Return one of pydantic's errors, at the key that is wrong."""
    kind, given = item["type"], item["input"]
    location = tuple(part for part in item["loc"] if part not in (ONE, SEVERAL))
    if kind.startswith("union_tag") and isinstance(given, dict):
        location, given = (*location, "mode"), given.get("mode")
    return Misfit(kind, location, given, item["msg"])


def _section(place: Place) -> Place:
    return place[:2] if place[:1] == ("publications",) else place[:1]


def _without(value: dict[str, Any], left_out: Set[Place]) -> dict[str, Any]:
    """Return the values without the sections that are left out."""
    publications = [
        _LEFT_OUT if ("publications", index) in left_out else publication
        for index, publication in enumerate(value["publications"])
    ]
    others = {key: section for key, section in value.items() if (key,) not in left_out}
    return {**others, "version": 1, "publications": publications}
