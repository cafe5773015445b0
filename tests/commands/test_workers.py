"""The number of worker processes: that of the policy, or by the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ibcm_bridge.commands import workers
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.settings import describe_settings
from ibcm_bridge.commands.main import main
from ibcm_bridge.commands.workers import worker_count, workers_refusal
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.storage.cgroups import own_cgroups
from tests.policy_samples import Problems, sample, tunnel


def policy(directory: Path, workers: object = None) -> Policy:
    return load_policy(write(directory, workers))


def write(directory: Path, workers: object = None) -> Path:
    text = sample(tunnel("t.example", "127.0.0.1:8443"))
    path = directory / "bridge.yaml"
    path.write_text(text if workers is None else f"{text}workers: {workers}\n", "utf-8")
    return path


def on_linux(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(workers, "own_cgroups", tuple)


@pytest.mark.parametrize("cores", [1, 6])
def test_on_linux_there_is_one_worker_per_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    on_linux(monkeypatch, cores)
    assert worker_count(policy(tmp_path)) == cores


LIMITS = {
    "none": ({}, 6),
    "max": ({"service/cpu.max": "max 100000"}, 6),
    "two and a half cores": ({"service/cpu.max": "250000 100000"}, 3),
    "half a core": ({"service/cpu.max": "50000 100000"}, 1),
    "of the cgroup around it": ({"cpu.max": "200000 100000", "service/cpu.max": "max 100000"}, 2),
    "more than there are": ({"service/cpu.max": "900000 100000"}, 6),
    "of another cgroup": ({"other/cpu.max": "100000 100000"}, 6),
}


@pytest.mark.parametrize(("files", "cores"), LIMITS.values(), ids=LIMITS)
def test_a_cgroup_limits_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    on_linux(monkeypatch, 6)
    for name, text in files.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", "ascii")
    membership = tmp_path / "membership"
    membership.write_text("1:cpu:/elsewhere\n0::/service\n", "utf-8")
    found = own_cgroups(membership, tmp_path / "cgroups")
    monkeypatch.setattr(workers, "own_cgroups", lambda: found)
    assert worker_count(policy(tmp_path)) == cores


def test_the_web_page_has_one_worker_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_linux(monkeypatch, 6)
    assert worker_count(policy(tmp_path), web=True) == 1


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_elsewhere_there_is_one_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert worker_count(policy(tmp_path)) == 1
    assert workers_refusal(policy(tmp_path)) is None
    assert workers_refusal(policy(tmp_path, 1)) is None
    refusal = "workers: 2 requires Linux; write 1, or omit the key"
    assert workers_refusal(policy(tmp_path, 2)) == refusal
    found = [f for f in describe_settings(policy(tmp_path, 2)) if f.where == "workers"]
    assert [(finding.level, finding.text) for finding in found] == [(Level.PROBLEM, refusal)]


@pytest.mark.parametrize(
    ("workers", "text"),
    [(3, "3 processes serve all clients"), (1, "one process serves all clients")],
)
def test_check_names_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, text: str
) -> None:
    on_linux(monkeypatch, workers)
    for number in (workers, None):
        found = [
            f.text for f in describe_settings(policy(tmp_path, number)) if f.where == "workers"
        ]
        assert found == [text]


def test_the_web_page_with_several_workers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_linux(monkeypatch, 1)
    assert workers_refusal(policy(tmp_path, 1), web=True) is None
    assert main(["run", "--web", "--config", str(write(tmp_path, 2))]) == 1
    assert capsys.readouterr().err == (
        "ibcm-bridge: cannot start: --web shows the traffic of one process, but the policy has "
        "workers: 2; write 1, or omit the key\n"
    )


@pytest.mark.parametrize("workers", ["0", "65", "-1", "2.5", "'2'", "auto", "true"])
def test_another_number_is_a_problem_of_the_policy(problems: Problems, workers: str) -> None:
    text = sample(tunnel("t.example", "127.0.0.1:8443"))
    (problem,) = problems(f"{text}workers: {workers}\n")
    line, message = problem
    assert line == text.count("\n") + 1
    assert message.startswith("workers: ")
