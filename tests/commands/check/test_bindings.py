"""`check` reports the problems of the bindings file that would prevent a start."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.commands.check.bindings import check_bindings
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from ibcm_bridge.storage.binding_registry import Registry


def test_a_file_that_can_be_used_or_created_has_no_finding(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    assert not list(check_bindings(MessagePolicy()))
    assert not list(check_bindings(MessagePolicy(bindings_file=file)))
    assert not file.exists(), "check must not create it"
    Registry(file).close()
    for identity in Enforcement:
        assert not list(check_bindings(MessagePolicy(identity, bindings_file=file)))


@pytest.mark.parametrize("what", ["does not exist", "is empty"])
def test_a_new_file_is_a_problem_if_bindings_are_enforced(tmp_path: Path, what: str) -> None:
    file = tmp_path / "bindings.sqlite"
    if what == "is empty":
        file.touch()
    [finding] = check_bindings(MessagePolicy(Enforcement.ENFORCE, bindings_file=file))
    assert (finding.level, finding.where) == (Level.PROBLEM, "messages.bindings")
    assert finding.text.startswith(f"{file} {what}: ")
    assert finding.text.endswith("restore it, or run: ibcm-bridge identity init --config FILE")


def test_a_file_that_is_not_a_database_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "bindings.sqlite"
    file.write_text("not a database, and longer than the head of one " * 20, "utf-8")
    [finding] = check_bindings(MessagePolicy(bindings_file=file))
    assert (finding.level, finding.where) == (Level.PROBLEM, "messages.bindings")
    assert "is not a database" in finding.text


def test_a_file_that_cannot_be_created_is_a_problem(tmp_path: Path) -> None:
    [finding] = check_bindings(
        MessagePolicy(bindings_file=tmp_path / "nowhere" / "bindings.sqlite")
    )
    assert (finding.level, finding.requirement) == (Level.PROBLEM, "BRIDGE-IDENTITY")
