"""The temporary folder of a spool, and the removal of a killed bridge's folder."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from ibcm_bridge.storage.file_lock import FileLock
from ibcm_bridge.storage.temporary_folder import LOCK, PREFIX, YOUNG_SECONDS, TemporaryFolder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, name: str = f"{PREFIX}x", *, age: float = YOUNG_SECONDS + 1) -> Path:
    """The folder of a process that was killed a number of seconds after its start."""
    folder = place / name
    folder.mkdir()
    (folder / "uploads.sqlite").write_bytes(b"what a client sent")
    lock = folder / LOCK
    lock.touch()
    then = lock.stat().st_mtime - age
    os.utime(lock, (then, then))
    return folder


def test_the_folder_is_private_and_removed_at_the_end(place: Path) -> None:
    folder = TemporaryFolder()
    (folder.path / "uploads.sqlite").touch()
    assert folder.path.parent == place
    if sys.platform != "win32":
        assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert list(place.iterdir()) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next(place: Path) -> None:
    abandoned = left(place)
    folder = TemporaryFolder()
    assert not abandoned.exists()
    assert folder.path.exists()
    folder.close()


def test_the_folder_of_a_running_process_is_not_removed(place: Path) -> None:
    living = left(place)
    with FileLock(living / LOCK):
        TemporaryFolder().close()
        assert (living / "uploads.sqlite").exists()


def test_a_new_folder_without_a_lock_is_not_removed(place: Path) -> None:
    young = left(place, age=0)
    without_lock = place / f"{PREFIX}y"
    without_lock.mkdir()
    TemporaryFolder().close()
    assert (young / "uploads.sqlite").exists()
    assert without_lock.exists()


def test_other_files_and_folders_are_not_removed(place: Path) -> None:
    elsewhere = left(place, "somebody-elses")
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    other = left(place, "ibcm-bridge-demo-x")
    TemporaryFolder().close()
    assert (elsewhere / "uploads.sqlite").exists()
    assert (other / "uploads.sqlite").exists()


def test_only_one_process_can_hold_a_lock(place: Path) -> None:
    with (
        FileLock(place / "lock"),
        pytest.raises(BlockingIOError, match="locked by another process"),
    ):
        FileLock(place / "lock")
    FileLock(place / "lock").release()
