"""docs/conformance.md: the roles that a proxy publishes are those of the kit and of the tables."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ibcm_bridge.conformance.running import PUBLISHED

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conformance.md").read_text("utf-8")
ROLES = yaml.safe_load((ROOT / "config" / "roles.yaml").read_text("utf-8"))


def rows() -> dict[str, list[str]]:
    table = PAGE.partition("| role | name of the proxy |")[2].partition("\n\n")[0]
    cells = [line.strip().strip("|").split(" | ") for line in table.splitlines()[2:]]
    return {role.strip(): [cell.strip() for cell in rest] for role, *rest in cells}


def test_the_table_has_the_published_roles_and_their_names() -> None:
    names = {role: re.split(r"[, ]", cells[0])[0] for role, cells in rows().items()}
    assert names == {role: name for role, (name, _) in PUBLISHED.items()}


def test_the_segments_are_those_of_the_tables() -> None:
    roles = ROLES.get("roles", ROLES)
    for role, cells in rows().items():
        if segments := set(re.findall("`([^`]+)`", cells[2])):
            published = {
                name
                for name, directory in roles[role]["directories"].items()
                if not (isinstance(directory, dict) and directory.get("refused"))
            }
            assert segments <= published, role
