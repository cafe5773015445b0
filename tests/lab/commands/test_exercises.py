"""The exercises: each mistake is found, and each solution is accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.commands import exercises
from ibcm_bridge.lab.commands.exercises import EXERCISES, checked


@pytest.mark.parametrize("name", EXERCISES)
def test_the_mistake_is_found_and_the_solution_is_accepted(name: str) -> None:
    exercise = EXERCISES[name]
    # More than one would be another exercise.
    assert demo_policy().count(exercise.right) == 1
    assert any(problems for _, problems in checked(exercise.policy(), exercise.cases))
    solution = exercise.policy().replace(exercise.wrong, exercise.right)
    assert not any(problems for _, problems in checked(solution, exercise.cases))


def test_the_identity_exercise_needs_one_line_only() -> None:
    exercise = EXERCISES["identity"]
    solution = exercise.policy().replace("identity: observe", "identity: enforce")
    assert not any(problems for _, problems in checked(solution, exercise.cases))


def test_the_exercises_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "exercise"]) == 0
    printed = capsys.readouterr().out
    for exercise in EXERCISES.values():
        assert f"{exercise.name}: {exercise.task}" in printed
        assert main(["lab", "exercise", exercise.name]) == 0


def test_a_file_is_written_once_and_then_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "users.yaml"
    assert main(["lab", "exercise", "users", str(file)]) == 0
    assert "certificate: computer" in file.read_text("utf-8")
    assert EXERCISES["users"].task in capsys.readouterr().out
    file.write_text("changed", "utf-8")
    given: list[str] = []

    def check(policy: str, _cases: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
        given.append(policy)
        return [("a case", ("not right", "another deviation")), ("another", ())]

    monkeypatch.setattr(exercises, "checked", check)
    assert main(["lab", "exercise", "users", str(file), "--hints", "1"]) == 1
    assert given == ["changed"]
    assert capsys.readouterr().out.splitlines() == [
        "✗ NOT AS REQUIRED: a case; not right",
        "✓ AS REQUIRED: another",
        f"Hint 1: {EXERCISES['users'].hints[0]}",
        "Not solved yet. For a hint, add: --hints 2",
    ]
    monkeypatch.setattr(exercises, "checked", lambda *_: [("a case", ())])
    assert main(["lab", "exercise", "users", str(file)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Solved."


def test_a_broken_policy_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("publications: [", "utf-8")
    assert main(["lab", "exercise", "users", str(file)]) == 1
    assert "not YAML" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"\xff", None])
def test_an_unreadable_file_is_reported(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "policy.yaml"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    assert main(["lab", "exercise", "users", str(file)]) == 1
    assert capsys.readouterr().err.startswith(f"ibcm-bridge lab: {file}")
