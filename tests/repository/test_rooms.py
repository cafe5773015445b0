"""The house: its rooms from the ground up, what each may import, and no circle anywhere.

A room is a folder or a file directly below `ibcm_bridge/`, `addons/` or `ibcm_bridge/lab/`. An
import counts wherever it stands, in a function and below TYPE_CHECKING too.
"""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"ibcm_bridge": "ibcm_bridge", "addons": "ibcm_bridge.addons"}
MOST = 20
"""Entries of a folder that a reader takes in at a glance."""

# Each room, and the rooms that it imports. All of these stand above it: a new arrow is a change
# here, and one that points down is not allowed.
ROOMS: Mapping[str, frozenset[str]] = {
    name: frozenset(imports.split())
    for name, imports in {
        "decisions": "",
        "messages": "decisions",
        "policy": "decisions messages",
        "os_errors": "policy",
        "shares": "",
        "sources": "decisions policy shares",
        "routing": "decisions policy",
        "authentication": "decisions policy",
        "policy_file": "decisions messages policy authentication",
        "export": "policy policy_file",
        "request": "decisions messages policy authentication",
        "uploads": "decisions policy request",
        "inspection": "decisions messages policy request uploads",
        "identity": "decisions messages policy authentication request inspection",
        "site_system_leg": "decisions policy request identity",
        "audit": "decisions messages policy authentication request inspection identity",
        "storage": "decisions messages policy shares request uploads identity",
        "addons.errors": "",
        "addons.tested_mitmproxy": "",
        "addons.clock": "",
        "addons.tls": "decisions policy authentication addons.clock",
        "addons.connections": (
            "decisions policy shares sources authentication request identity audit addons.tls"
        ),
        "addons.events": "decisions policy addons.connections",
        "addons.stages": (
            "decisions messages policy shares authentication request uploads inspection identity "
            "addons.connections"
        ),
        "addons.layers": (
            "decisions policy os_errors routing authentication request uploads inspection identity "
            "site_system_leg audit addons.tls addons.connections addons.events addons.stages"
        ),
        "addons.engines": ("decisions policy shares policy_file inspection storage"),
        "addons.hooks": (
            "decisions messages policy shares authentication request uploads inspection identity "
            "audit storage "
            "addons.clock addons.tls addons.connections addons.events "
            "addons.stages addons.layers"
        ),
        "addons.renewal": "policy authentication policy_file inspection addons.tls addons.engines",
        "addons.server": (
            "decisions policy os_errors routing addons.tls addons.connections addons.events "
            "addons.stages"
        ),
        "addons.audit": (
            "policy authentication request identity audit addons.clock addons.connections "
            "addons.events addons.stages"
        ),
        "addons.policy_generation": (
            "policy inspection addons.errors addons.clock addons.tls addons.connections "
            "addons.events addons.stages addons.layers addons.engines addons.hooks "
            "addons.renewal "
            "addons.server addons.audit"
        ),
        "addons.operations": (
            "decisions policy os_errors authentication inspection storage addons.tls "
            "addons.connections addons.events addons.engines addons.renewal "
            "addons.policy_generation"
        ),
        "addons.bridge": (
            "policy os_errors sources storage addons.errors addons.clock addons.connections "
            "addons.events addons.engines addons.hooks addons.renewal addons.audit "
            "addons.policy_generation addons.operations"
        ),
        "addons.web": (
            "decisions messages policy os_errors request audit addons.errors addons.clock "
            "addons.connections addons.events addons.layers addons.audit"
        ),
        "addons.run": (
            "decisions policy os_errors policy_file inspection addons.errors addons.events "
            "addons.policy_generation addons.renewal addons.server addons.operations "
            "addons.bridge addons.web"
        ),
        "addons.workers": (
            "policy shares policy_file os_errors inspection storage addons.errors "
            "addons.connections addons.engines addons.renewal addons.server addons.operations "
            "addons.bridge "
            "addons.run"
        ),
        "addons.ccm_views": "messages",
        "lab.errors": "os_errors",
        "lab.namespaces": "",
        "lab.command_line": "",
        "lab.pki": "policy os_errors lab.command_line",
        "lab.protocol": "lab.namespaces lab.pki",
        "lab.site_systems": "os_errors lab.errors lab.namespaces lab.pki lab.protocol",
        "lab.clients": "lab.pki lab.protocol",
        "lab.bridge": (
            "policy policy_file export storage lab.errors lab.namespaces lab.pki lab.site_systems"
        ),
        "lab.domain": "storage lab.errors lab.bridge",
        "lab.capture": "lab.site_systems",
        "lab.cases": "decisions policy lab.pki lab.protocol lab.site_systems lab.clients",
        "lab.comparison": (
            "decisions policy export storage lab.errors lab.namespaces lab.command_line lab.pki "
            "lab.protocol lab.site_systems lab.bridge lab.capture lab.cases"
        ),
        "lab.wire": "lab.capture",
        "lab.picture": "lab.cases lab.comparison",
        "lab.perimeter": (
            "storage lab.errors lab.namespaces lab.pki lab.site_systems lab.bridge "
            "lab.capture lab.cases lab.comparison"
        ),
        "lab.demo": ("os_errors lab.errors lab.cases lab.comparison lab.picture lab.perimeter"),
        "lab.simulated": (
            "storage lab.errors lab.namespaces lab.pki lab.protocol lab.site_systems "
            "lab.clients lab.perimeter"
        ),
        "lab.scenes": (
            "decisions lab.errors lab.namespaces lab.pki lab.protocol lab.site_systems lab.clients "
            "lab.domain lab.cases lab.simulated"
        ),
        "lab.page": (
            "decisions messages policy_file inspection lab.pki lab.protocol lab.site_systems "
            "lab.clients lab.capture lab.cases lab.comparison lab.wire lab.picture lab.perimeter "
            "lab.demo lab.simulated lab.scenes"
        ),
        "lab.commands": (
            "policy policy_file storage lab.errors lab.namespaces lab.pki lab.protocol "
            "lab.site_systems lab.bridge lab.domain lab.cases lab.perimeter lab.simulated lab.page"
        ),
        "conformance": (
            "policy os_errors policy_file lab.errors lab.namespaces lab.command_line lab.pki "
            "lab.protocol lab.site_systems lab.clients lab.bridge lab.cases lab.comparison "
            "lab.demo lab.commands"
        ),
        "commands": (
            "decisions messages policy os_errors routing authentication "
            "policy_file export request inspection identity site_system_leg audit storage "
            "addons.errors addons.tested_mitmproxy addons.clock addons.tls addons.engines "
            "addons.operations addons.renewal addons.web addons.run addons.workers "
            "lab.command_line lab.pki lab.demo lab.simulated lab.scenes lab.page lab.commands "
            "conformance"
        ),
    }.items()
}

NO_ROOMS = ("__init__.py", "__main__.py", "py.typed", "__pycache__")


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join((*PACKAGES[parts[0]].split("."), *parts[1:]))


FILES = {module_of(path): path for top in PACKAGES for path in sorted((ROOT / top).rglob("*.py"))}


def imported(tree: ast.Module) -> Iterable[str]:
    """The modules of ours that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


ARROWS = {
    module: {other for other in imported(ast.parse(path.read_text("utf-8"))) if other in FILES}
    - {module}
    for module, path in FILES.items()
}


def room_of(module: str) -> str:
    """`addons.tls` of a file in addons/tls, `request` of one in ibcm_bridge/request."""
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] in (["addons"], ["lab"]) else 1])


def between_rooms() -> Mapping[str, set[str]]:
    arrows = defaultdict[str, set[str]](set)
    for module, others in ARROWS.items():
        arrows[room_of(module)] |= {room_of(other) for other in others} - {room_of(module)}
    return arrows


def test_file_imports_have_no_cycle() -> None:
    graphlib.TopologicalSorter(ARROWS).prepare()


def test_a_cycle_is_found() -> None:
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_room_imports_have_no_cycle() -> None:
    graphlib.TopologicalSorter(between_rooms()).prepare()


def test_the_rooms_are_those_of_the_table() -> None:
    # The package itself and what starts it are no rooms.
    assert {room_of(module) for module in FILES} - {"", "__main__", "addons", "lab"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_of_its_row(room: str) -> None:
    assert between_rooms()[room] - {""} == ROOMS[room]


def test_no_room_imports_a_later_room() -> None:
    order = {name: position for position, name in enumerate(ROOMS)}
    down = [(room, other) for room in ROOMS for other in ROOMS[room] if order[other] > order[room]]
    assert down == []


@pytest.mark.parametrize("folder", ["ibcm_bridge", "addons", "ibcm_bridge/lab"])
def test_a_folder_has_at_most_the_limit_of_rooms(folder: str) -> None:
    entries = [entry.name for entry in (ROOT / folder).iterdir() if entry.name not in NO_ROOMS]
    assert len(entries) <= MOST


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_of_the_architecture_has_every_room(room: str) -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    rooms = page.partition("\n## The rooms\n")[2].partition("\n## ")[0]
    package, _, name = room.rpartition(".")
    folder = {"": "ibcm_bridge", "addons": "addons", "lab": "ibcm_bridge/lab"}[package]
    listed = rooms.partition(f"\n### `{folder}/`\n")[2].partition("\n### ")[0]
    assert re.search(rf"^- (?:`\w+`, )*`{name}`[,:]", listed, re.MULTILINE), room


def test_the_page_of_the_architecture_has_no_other_rooms() -> None:
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    rooms = page.partition("\n## The rooms\n")[2].partition("\n## ")[0]
    lists = re.findall(r"^- ((?:`\w+`, )*`\w+`)[,:]", rooms, re.MULTILINE)
    names = [name for listed in lists for name in re.findall(r"\w+", listed)]
    assert sorted(names) == sorted(room.rpartition(".")[2] for room in ROOMS)
