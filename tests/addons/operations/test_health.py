"""Problems of this machine, and of all machines."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from ibcm_bridge.addons.operations import machine
from ibcm_bridge.addons.operations.health import Changes
from ibcm_bridge.addons.operations.machine import available_memory, out_of_files
from ibcm_bridge.storage.cgroups import own_cgroups


def test_files_run_out_before_the_limit() -> None:
    file = os.open(os.devnull, os.O_RDONLY)
    os.close(file)
    assert out_of_files(None) is None
    assert out_of_files(file + machine.SPARE_FILES + 1) is None
    limit = file + machine.SPARE_FILES
    assert out_of_files(limit) == f"nearly all of {limit} file descriptors are in use"


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (errno.EMFILE, "no more files can be opened"),
        (errno.ENFILE, "no more files can be opened"),
        (errno.EACCES, None),
    ],
)
def test_a_file_that_cannot_be_opened_is_a_problem_if_there_are_too_many(
    number: int, problem: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(machine.os, "open", fail)
    assert out_of_files(1_000) == problem


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 2 GiB available, and a cgroup without limit."""
    group = tmp_path / "cgroup" / "system.slice" / "bridge.service"
    group.mkdir(parents=True)
    (tmp_path / "meminfo").write_text("MemTotal: 4194304 kB\nMemAvailable: 2097152 kB\n")
    (tmp_path / "own").write_text("0::/system.slice/bridge.service\n")
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("943718400\n")
    (group / "memory.stat").write_text("anon 1\ninactive_file 104857600\n")
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(
        machine, "own_cgroups", lambda: own_cgroups(tmp_path / "own", tmp_path / "cgroup")
    )
    return group


def test_without_a_limit_the_memory_is_that_of_the_machine(system: Path) -> None:
    assert system.is_dir()
    assert available_memory() == 2 << 30


def test_a_limit_of_the_service_counts_without_pages_that_can_be_dropped(system: Path) -> None:
    (system / "memory.max").write_text("1048576000\n")
    assert available_memory() == 1_048_576_000 - 943_718_400 + 104_857_600


def test_a_limit_of_a_cgroup_holds_for_those_inside_it(system: Path) -> None:
    for name, text in (("max", "1000\n"), ("current", "900\n"), ("stat", "inactive_file 5\n")):
        (system.parent / f"memory.{name}").write_text(text)
    assert available_memory() == 105


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_open_files_are_counted() -> None:
    before = machine.open_files()
    assert before is not None
    with Path(os.devnull).open("rb"), Path(os.devnull).open("rb"):
        assert machine.open_files() == before + 2


def test_a_system_without_proc_has_an_unknown_number_of_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_OPEN_FILES", tmp_path / "fd")
    assert machine.open_files() is None


def test_a_system_without_these_files_has_an_unknown_amount(system: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "meminfo", tmp_path / "own"):
        path.unlink()
    assert system.is_dir()
    assert available_memory() is None


def test_a_problem_is_logged_when_it_begins_and_when_it_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes = Changes()
    for problems in ([], ["full"], ["full"], ["full", "gone"], ["gone"], ["gone"], []):
        changes.update(problems)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, "not ready: full"),
        (logging.ERROR, "not ready: gone"),
        (logging.WARNING, "no longer: full"),
        (logging.WARNING, "no longer: gone"),
    ]
