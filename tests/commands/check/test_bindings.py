"""`check` reports the problems of the bindings file that would prevent a start."""

from __future__ import annotations

from pathlib import Path

from ibcm_bridge.commands.check.bindings import check_bindings
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.storage.binding_registry import Registry


def test_a_file_that_can_be_used_or_created_has_no_finding(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    assert not list(check_bindings(None))
    assert not list(check_bindings(file))
    assert not file.exists(), "check must not create it"
    Registry(file).close()
    assert not list(check_bindings(file))


def test_a_file_that_is_not_a_database_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    file.write_text("not a database, and longer than the head of one " * 20, "utf-8")
    [finding] = check_bindings(file)
    assert (finding.level, finding.where) == (Level.PROBLEM, "messages.bindings")
    assert "is not a database" in finding.text


def test_a_file_that_cannot_be_created_is_a_problem(tmp_path: Path) -> None:
    [finding] = check_bindings(tmp_path / "nowhere" / "bindings.sqlite")
    assert (finding.level, finding.requirement) == (Level.PROBLEM, "BRIDGE-IDENTITY")
