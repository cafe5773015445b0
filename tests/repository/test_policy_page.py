"""Every example of docs/policy-file.md is one that loads, and the table of roles is true."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.policy_file import load_policy, shipped_roles
from ibcm_bridge.policy_file.rows import MessagesRow

PAGE = (Path(__file__).parents[2] / "docs" / "policy-file.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
BRIDGED = BLOCKS[0].partition("  roles:\n")[0] + "  roles:\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("page")
    LabPki.make(now=datetime(2026, 1, 1, tzinfo=UTC)).write(directory / "pki")
    return directory


def indented(text: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_an_example_loads(directory: Path, block: str) -> None:
    publication = block if block.startswith("- name:") else BRIDGED + indented(block, 4)
    beside = ""
    if block.startswith("messages:"):
        publication, beside = BLOCKS[0], block
    path = directory / "bridge.yaml"
    path.write_text(f"version: 1\n{beside}publications:\n{indented(publication, 2)}", "utf-8")
    assert load_policy(path).listeners


def test_there_are_examples_of_each_mode() -> None:
    assert {*re.findall(r"mode: (\w+)$", PAGE, re.MULTILINE)} >= {"bridge", "tunnel", "plaintext"}
    assert len(BLOCKS) == 9


def test_the_table_of_roles_is_that_of_the_role_table() -> None:
    table = shipped_roles()
    rows = re.findall(r"^\| `([a-z-]+)`(?: \(NDES\))? \| (.*?) \| (.*?) ?\| (.*?) ?\|$", PAGE, re.M)
    found = {row[0]: row[1:] for row in rows if row[0] in table.modes}
    assert set(found) == set(table.modes)
    for name, cells in found.items():
        modes, certificates, directories = (re.findall(r"`([^`]+)`", cell) for cell in cells)
        assert set(modes) == {*map(str, table.modes[name])}
        if name in table.roles:
            profile = table.roles[name]
            assert certificates == [*map(str, profile.certificates)]
            published = {
                directory.name
                for directory in profile.directories.values()
                if not all(resource.refused for resource in directory.resources)
            }
            assert {one.lower() for one in directories} == published


def test_every_kind_of_body_that_can_be_added_is_named() -> None:
    (row,) = re.findall(r"^\| `body` \| (.*) \|$", PAGE, re.MULTILINE)
    kinds = set(shipped_roles().bodies) - {"bits-upload"}
    assert {*re.findall(r"`([^`]+)`", row)} - {"roles.yaml"} == kinds


def test_every_key_of_messages_is_explained_with_its_default() -> None:
    for name, field in MessagesRow.model_fields.items():
        default = "none" if field.default is None else f"`{field.default}`"
        assert f"| `{name}` | {default} | " in PAGE, name
