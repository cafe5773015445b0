"""What `check` says of the file for client GUIDs is what a start would find."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.commands.check.bindings import check_bindings
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.storage.binding_registry import Registry


def test_a_file_that_can_be_used_or_made_is_nothing_to_say(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    assert not list(check_bindings(None))
    assert not list(check_bindings(file))
    assert not file.exists(), "it is not for check to make it"
    Registry(file).close()
    assert not list(check_bindings(file))


def test_one_that_is_no_registry_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    file.write_text("not a database, and longer than the head of one " * 20, "utf-8")
    [finding] = check_bindings(file)
    assert (finding.level, finding.where) == (Level.PROBLEM, "messages.bindings")
    assert "is not a database" in finding.text


def test_one_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    [finding] = check_bindings(tmp_path / "nowhere" / "bindings.sqlite")
    assert (finding.level, finding.requirement) == (Level.PROBLEM, "BRIDGE-IDENTITY")
