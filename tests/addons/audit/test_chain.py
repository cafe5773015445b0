"""The chain that the bridge writes: over rotation, failures, kills and its end."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ibcm_bridge.addons.audit import file as audit_file
from ibcm_bridge.addons.audit import trail as trail_module
from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.audit.chain import Point, logged_point
from ibcm_bridge.audit.verification import Verified
from ibcm_bridge.policy.policy import WhenUnwritable
from ibcm_bridge.storage.audit_files import read_lines, with_rotated
from tests.addons.audit.test_file import Disk
from tests.audit.chains import problems, verified

RECORD: dict[str, Any] = {"time": "2026-01-02T03:04:05.678+00:00", "event": "request"}


@pytest.fixture(autouse=True)
def checks_at_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "CHECK_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def verified_file(path: Path, *points: Point) -> Verified:
    return verified(*map(read_lines, with_rotated([path])), points=points)


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text("ascii").splitlines()]


def points(caplog: pytest.LogCaptureFixture) -> Iterator[Point]:
    for record in caplog.records:
        if (point := logged_point(record.getMessage())) is not None:
            assert record.levelno == logging.INFO
            yield point


def test_a_chain_goes_on_in_the_next_file(path: Path) -> None:
    trail = AuditTrail(path)
    trail._write(RECORD)
    path.rename(path.with_name("audit.jsonl.1"))
    trail._write(RECORD)
    trail.outcome = "drained"
    trail.close()
    found = verified_file(path)
    assert problems(found) == []
    (writer,) = found.writers
    assert (writer.first, writer.last.sequence, writer.ended) == (1, 4, True)
    assert events(path) == ["request", "writer-ended"]
    assert json.loads(path.read_text("ascii").splitlines()[1])["note"] == "drained"


def test_each_process_has_a_chain_of_its_own(path: Path) -> None:
    trails = [AuditTrail(path) for _ in range(3)]
    for trail in trails * 3:
        trail._write(RECORD)
    for trail in trails:
        trail.close()
    found = verified_file(path)
    assert problems(found) == []
    assert [writer.records for writer in found.writers] == [5, 5, 5]


@pytest.mark.parametrize("when", WhenUnwritable)
def test_a_full_disk_leaves_no_gap_in_the_chain(path: Path, when: WhenUnwritable) -> None:
    trail, disk = AuditTrail(path, when), Disk()
    stream, trail._file._stream = trail._file._stream, cast("audit_file.RawIOBase", disk)
    trail._file._path = None
    disk.room = 50
    for _ in range(3):
        trail._failed = False
        try:
            trail._write(RECORD)
        except OSError:
            assert when is WhenUnwritable.REFUSE
    stream.write(disk.data)
    trail._file._stream = stream
    trail.probe()
    trail._write(RECORD)
    trail.close()
    stream.close()
    found = verified_file(path)
    assert problems(found) == []
    (writer,) = found.writers
    assert (writer.lost, writer.last.sequence, len(found.incomplete)) == (3, 4, 1)


def test_a_record_that_lacks_only_its_newline_is_written(path: Path) -> None:
    trail, disk = AuditTrail(path), Disk()
    stream, trail._file._stream = trail._file._stream, cast("audit_file.RawIOBase", disk)
    trail._file._path = None
    trail._write(RECORD)
    disk.room = len(disk.data) - 1
    trail._write(RECORD)
    assert disk.room == 0
    disk.room = 1_000
    trail._write(RECORD)
    trail.close()
    stream.write(disk.data)
    stream.close()
    assert problems(verified_file(path)) == []
    assert events(path) == ["writer-started", *(3 * ["request"]), "writer-ended"]


def test_the_chain_begins_as_soon_as_the_file_can_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_file: object, _line: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(audit_file.AuditFile, "write", full)
        trail = AuditTrail(path)
    assert (trail.problem, trail.lost) == ("No space left on device", 0)
    assert "cannot write the audit: No space left on device; requests are refused" in caplog.text
    with pytest.raises(OSError, match="not writable"):
        trail._require_writable()
    trail.probe()
    trail._require_writable()
    trail.close()
    assert problems(verified_file(path)) == []
    assert events(path) == ["writer-started", "writer-ended"]


def test_the_last_record_is_logged_every_minute_and_at_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trail = AuditTrail(path)
    trail.probe()
    assert (list(points(caplog)), trail.point) == ([], None)
    monkeypatch.setattr(trail_module, "POINT_SECONDS", 0.0)
    for _ in range(2):
        trail._write(RECORD)
        trail.probe()
        trail.probe()
    trail.close()
    found = list(points(caplog))
    assert [point.sequence for point in found] == [2, 3, 4]
    assert trail.point == found[-1]
    (writer,) = verified_file(path, *found).writers
    assert (writer.points, writer.problems, writer.last) == (3, (), found[-1])
    path.write_bytes(b"".join(list(read_lines(path))[:-1]))
    assert problems(verified_file(path, *found)) == [
        "the end is missing: record 4, according to an expected point"
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("bytes_of_it", [0, 1, 30])
def test_a_killed_process_leaves_a_chain_without_an_end(path: Path, bytes_of_it: int) -> None:
    class Killed:
        def write(self, data: bytes) -> int:
            with path.open("ab") as file:
                file.write(data[:bytes_of_it])
            os.kill(os.getpid(), signal.SIGKILL)
            return 0

    pid = os.fork()
    if pid == 0:
        try:
            trail = AuditTrail(path)
            trail._write(RECORD)
            trail._file._stream = cast("audit_file.RawIOBase", Killed())
            trail._file._path = None
            trail._write(RECORD)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    found = verified_file(path)
    assert problems(found) == []
    (writer,) = found.writers
    assert (writer.ended, writer.last.sequence) == (False, 2)
    assert len(found.incomplete) == (bytes_of_it > 0)
