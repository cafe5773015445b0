"""The audit file: whole lines, log rotation, and failures to write."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ibcm_bridge.addons.audit import file as audit_file
from ibcm_bridge.addons.audit import trail as trail_module
from ibcm_bridge.addons.audit.file import AuditFile
from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.policy import WhenUnwritable
from tests.addons.stand_ins.lab import GOOD, Lab
from tests.addons.stand_ins.running import Running, outcome_of, wait_for


@pytest.fixture(autouse=True)
def checks_at_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "CHECK_SECONDS", 0.0)


class Disk:
    """A disk with room for a number of bytes."""

    def __init__(self) -> None:
        self.room = 1_000_000
        self.data = b""

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = data[: self.room]
        self.room -= len(taken)
        self.data += taken
        return len(taken)

    def close(self) -> None:
        pass


@pytest.fixture
def disk(tmp_path: Path) -> tuple[AuditFile, Disk]:
    file, disk = AuditFile(tmp_path / "audit.jsonl"), Disk()
    file._stream.close()
    file._stream = cast("audit_file.RawIOBase", disk)
    file._path = None
    return file, disk


def test_lines_are_appended_to_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("earlier\n")
    file = AuditFile(path)
    file.write("one\n")
    assert path.read_text() == "earlier\none\n", "at once, not when it is closed"
    file.close()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
def test_others_cannot_read_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    before = os.umask(0)
    try:
        file = AuditFile(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.rename(tmp_path / "audit.jsonl.1")
        file.write("one\n")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        file.close()
        os.umask(0o077)
        path.unlink()
        AuditFile(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        AuditFile(path).close()
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "the operator's choice"
    finally:
        os.umask(before)


@pytest.mark.parametrize("how", ["renamed", "removed"])
def test_a_file_that_was_moved_is_opened_again(tmp_path: Path, how: str) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    file = AuditFile(path)
    file.write("one\n")
    path.rename(old)
    if how == "removed":
        old.unlink()
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"
    assert how == "removed" or old.read_text() == "one\n"


def test_no_line_is_lost_while_a_renamed_file_cannot_be_opened_again(tmp_path: Path) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    file = AuditFile(path)
    path.rename(old)
    path.mkdir()
    for line in ("one\n", "two\n"):
        file.write(line)
        assert file.not_reopened == "Is a directory"
    path.rmdir()
    assert file.problem() is None
    assert file.not_reopened is None
    file.write("three\n")
    file.close()
    assert (old.read_text(), path.read_text()) == ("one\ntwo\n", "three\n")


def test_a_renamed_file_that_cannot_be_opened_again_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path)
    trail.probe()
    path.rename(tmp_path / "audit.jsonl.1")
    path.mkdir()
    for _ in range(2):
        trail.probe()
        assert trail.not_reopened == "Is a directory"
        assert trail.problem is None
    path.rmdir()
    for _ in range(2):
        trail.probe()
        assert trail.not_reopened is None
    trail.close()
    logged = [
        record.getMessage() for record in caplog.records if record.name == trail_module.__name__
    ]
    assert logged == [
        "the audit file was renamed, and cannot be opened again: Is a directory; "
        "records go to the renamed file",
        "the audit file is open again",
    ]


@pytest.mark.parametrize("when", WhenUnwritable)
def test_a_probe_finds_out_that_records_can_be_written_again(
    tmp_path: Path, when: WhenUnwritable, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path, when)
    full = Disk()
    full.room = 0
    with monkeypatch.context() as patched:
        patched.setattr(trail._file, "_stream", full)
        patched.setattr(trail._file, "_was_moved", lambda _path: False)
        for _ in range(2):
            with contextlib.suppress(OSError):
                trail._write({"event": "request"})
        trail.probe()
        assert (trail.problem, trail._failed) == ("No space left on device", True)
    trail.probe()
    assert (trail.problem, trail._failed, trail.lost) == (None, False, 2)
    trail.close()
    _, line, _ = map(json.loads, path.read_text().splitlines())
    assert (line["event"], line["lost_records"]) == ("records-lost", 2)


@pytest.mark.skipif(os.name != "posix", reason="statvfs")
def test_a_full_disk_is_a_problem_before_a_record_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = AuditTrail(tmp_path / "audit.jsonl")
    for free, problem in ((0, "the disk is full"), (1, None)):
        found = SimpleNamespace(f_blocks=100, f_bavail=free)
        monkeypatch.setattr(audit_file.os, "statvfs", lambda _file, found=found: found)
        trail.probe()
        assert trail.problem == problem
    trail.close()


def test_a_file_that_was_truncated_is_still_used(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    file = AuditFile(path)
    file.write("one\n")
    path.write_text("")
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_a_line_is_lost_if_no_new_file_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.jsonl"
    path.parent.mkdir()
    file = AuditFile(path)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(OSError, match="No such file"):
        file.write("lost\n")
    path.parent.mkdir()
    file.write("kept\n")
    file.close()
    assert path.read_text() == "kept\n"


def test_a_line_that_was_cut_short_does_not_spoil_the_next(disk: tuple[AuditFile, Disk]) -> None:
    file, disk_ = disk
    disk_.room = 4
    with pytest.raises(OSError, match="No space"):
        file.write('{"lost":1}\n')
    with pytest.raises(OSError, match="No space"):
        file.write('{"lost":2}\n')
    disk_.room = 1_000
    file.write('{"kept":3}\n')
    file.write('{"kept":4}\n')
    assert disk_.data == b'{"lo\n{"kept":3}\n{"kept":4}\n'


def test_with_continue_requests_are_served_and_lost_records_counted(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy = dataclasses.replace(
        lab.policy,
        audit_file=tmp_path / "audit.jsonl",
        when_unwritable=WhenUnwritable.CONTINUE,
    )
    caplog.set_level(logging.WARNING, "ibcm_bridge.addons.audit.trail")
    with Running(lab, policy) as running:
        trail, full = running.bridge.shared.audit, Disk()
        full.room = 0
        before, trail._file = trail._file, cast("AuditFile", full)
        for _ in range(3):
            with running.client() as client:
                assert isinstance(outcome_of(client, *GOOD), Response)
        assert wait_for(lambda: trail._lost == 3)
        trail._file = before
        with running.client() as client:
            assert isinstance(outcome_of(client, *GOOD), Response)
        assert wait_for(lambda: len(running.audit()) == 2)
    _, gap, request, _ = map(json.loads, (tmp_path / "audit.jsonl").read_text().splitlines())
    assert (gap["event"], gap["lost_records"]) == ("records-lost", 3)
    assert (request["event"], request["verdict"]) == ("request", "allow")
    name = "ibcm_bridge.addons.audit.trail"
    logged = [record.getMessage() for record in caplog.records if record.name == name]
    assert logged == [
        "cannot write the audit: No space left on device; requests continue without records",
        "the audit is writable again; 3 records were lost",
    ], "once each, and not for every request"
