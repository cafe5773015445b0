"""What the tests drive from outside is brought, or the tests of it are left out, by name."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests import needs
from tests.needs import NEEDS, Need

TESTS = Path(__file__).parent


def names(*called: str) -> Iterator[str]:
    """What is said to be needed: the words of each call of one of `called`."""
    for path in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(called):
                for word in ast.walk(node):
                    if isinstance(word, ast.Constant):
                        yield str(word.value)


def test_every_need_has_a_row_and_every_row_is_used() -> None:
    assert {*names("mark.needs", "demand")} | set(needs.COMPILER) == set(NEEDS)


# Bringing it


class Machine:
    """One on which `gone` is missing until it is installed."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.here = {"gone": False, "nowhere": False}
        self.ran: list[str] = []
        self.fails = ""
        self.offered = {"gone-package", "nowhere-package"}
        self.programs = {"apt-get", "sudo"}
        rows = {name: Need(lambda n=name: self.here[n], f"{name}-package") for name in self.here}
        patch.setattr(needs, "NEEDS", rows | {"by-hand": Need(lambda: False, None)})
        patch.setattr(subprocess, "run", self._run)
        patch.setattr(shutil, "which", lambda name, **_: name if name in self.programs else None)
        patch.setattr(sys, "argv", ["needs.py"])
        patch.delenv("CI", raising=False)
        self.here["nowhere"] = True

    def _run(self, command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
        line = " ".join(command)
        if line.startswith("apt-cache"):
            there = command[-1] in self.offered
            return subprocess.CompletedProcess(command, 0, "Package: x\n" if there else "")
        self.ran.append(line)
        failed = bool(self.fails) and self.fails in line
        if "install" in command and not failed:
            self.here |= {name: True for name in self.here if f"{name}-package" in command}
        return subprocess.CompletedProcess(command, int(failed))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def be(patch: pytest.MonkeyPatch, user: int, *, terminal: bool = False, says: str = "") -> None:
    patch.setattr(os, "geteuid", lambda: user, raising=False)
    patch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    patch.setattr("builtins.input", lambda _: says)


APT = "env DEBIAN_FRONTEND=noninteractive apt-get"
INSTALL = "install --yes --no-install-recommends"


def test_root_installs_a_missing_program_and_sees_the_command(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    be(monkeypatch, 0)
    assert needs.main() == 0
    assert machine.ran == [f"{APT} update", f"{APT} {INSTALL} gone-package"]
    shown = capsys.readouterr().out
    assert "not here: gone.\n" in shown
    assert all(f"    {line}\n" in shown for line in machine.ran)
    machine.ran.clear()
    assert needs.main() == 0
    assert (machine.ran, capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize(
    ("terminal", "says", "sudo"),
    [(True, "", "sudo"), (True, "y", "sudo"), (False, "", "sudo --non-interactive")],
)
def test_another_user_installs_with_sudo(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, terminal: bool, says: str, sudo: str
) -> None:
    be(monkeypatch, 1000, terminal=terminal, says=says)
    assert needs.main() == 0
    assert machine.ran == [f"{sudo} {APT} update", f"{sudo} {APT} {INSTALL} gone-package"]


@pytest.mark.parametrize("ci", [False, True])
@pytest.mark.parametrize(
    ("why", "user", "said"),
    [
        ("no apt", 0, "they are brought on Debian, Ubuntu and their like only"),
        ("no sudo", 1000, "as root: apt-get install gone-package"),
        ("no", 1000, "as you said"),
        ("update", 0, "apt-get update failed"),
        ("install", 0, "apt-get install failed"),
        ("not offered", 0, "no such packages here"),
    ],
)
def test_a_program_that_cannot_be_installed_is_reported_and_fails_in_ci(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    why: str,
    user: int,
    said: str,
    ci: bool,
) -> None:
    be(monkeypatch, user, terminal=True, says=why)
    machine.programs -= {why.removeprefix("no ").replace("apt", "apt-get")}
    machine.offered -= {"gone-package"} if why == "not offered" else set()
    machine.fails = why
    if ci:
        monkeypatch.setenv("CI", "true")
    assert needs.main() == int(ci)
    assert f"Not here: gone ({said})." in capsys.readouterr().out
    assert not machine.here["gone"]


def test_a_missing_package_does_not_prevent_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    be(monkeypatch, 0)
    machine.here["nowhere"] = False
    machine.offered -= {"nowhere-package"}
    assert needs.main() == 0
    assert machine.ran[-1] == f"{APT} {INSTALL} gone-package"
    assert "Not here: nowhere. The tests of them are left out." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "all_"), [(None, False), ("", False), ("false", False), ("true", True), ("1", True)]
)
def test_the_variable_ci_selects_the_ci_mode(
    monkeypatch: pytest.MonkeyPatch, value: str | None, all_: bool
) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    assert needs.must_have_all() is all_


# Leaving tests out

MODULE = "tests/authentication/test_certification_path.py"
NEEDS_OPENSSL = "test_a_weak_signature_is_refused"
NEEDS_NOTHING = "test_the_signature_of_an_anchor_is_not_checked"


def run(path: str, *tests: str, ci: str = "") -> tuple[int, str]:
    """Some tests with that PATH: the exit status, and the last line."""
    return pytest_with(path, *(f"{MODULE}::{test}" for test in tests), ci=ci)


def pytest_with(path: str, *arguments: str, ci: str) -> tuple[int, str]:
    """Pytest with that PATH: the exit status, and the last line."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=TESTS.parent,
        env={**os.environ, "PATH": path, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ci", "status", "end"), [("", 0, "."), ("true", 1, "; with CI set, that is a failure.")]
)
def test_the_last_line_names_the_skipped_tests(
    tmp_path: Path, ci: str, status: int, end: str
) -> None:
    said = run(str(tmp_path), NEEDS_OPENSSL, NEEDS_NOTHING, ci=ci)
    name = f"{MODULE}::{NEEDS_OPENSSL}"
    assert said == (status, f"2 left out: {name} (for want of openssl){end}")


@pytest.mark.slow
def test_the_last_line_names_a_fully_skipped_module_once(tmp_path: Path) -> None:
    said = run(str(tmp_path), NEEDS_OPENSSL)
    assert said == (0, f"2 left out: {MODULE} (for want of openssl).")


@pytest.mark.slow
@pytest.mark.needs("openssl")
def test_without_a_missing_program_nothing_is_reported() -> None:
    status, last = run(os.environ["PATH"], NEEDS_OPENSSL, ci="true")
    assert status == 0
    assert "2 passed" in last


CONTAINERS = "tests/containers/test_containers.py"
PODMAN = """#!/bin/sh
[ "$1" != run ] || { echo "cannot make a namespace:" >&2; echo "not permitted" >&2; exit 125; }
"""


@pytest.mark.slow
@pytest.mark.needs("root")
@pytest.mark.parametrize(
    ("ci", "status", "end"), [("", 0, "."), ("true", 1, "; with CI set, that is a failure.")]
)
def test_containers_that_podman_cannot_run_are_left_out_and_fail_in_ci(
    tmp_path: Path, ci: str, status: int, end: str
) -> None:
    debootstrap = '#!/bin/sh\nfor folder; do :; done\nmkdir "$folder"\n'
    programs = {"podman": PODMAN, "debootstrap": debootstrap, "runc": "#!/bin/sh\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text, "utf-8")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    said = pytest_with(path, "--containers", CONTAINERS, "-k", "no_tool_that_downloads", ci=ci)
    why = "a podman that can run a container: cannot make a namespace: not permitted"
    assert said == (status, f"1 left out: {CONTAINERS} (for want of {why}){end}")
