"""The folder of a spool that has none of its own, and what a bridge that was killed leaves."""

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
    """The place for temporary files, of this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def left(place: Path, name: str = f"{PREFIX}x", *, age: float = YOUNG_SECONDS + 1) -> Path:
    """What was left by a process that was killed so many seconds after it began."""
    folder = place / name
    folder.mkdir()
    (folder / "uploads.sqlite").write_bytes(b"what a client sent")
    lock = folder / LOCK
    lock.touch()
    then = lock.stat().st_mtime - age
    os.utime(lock, (then, then))
    return folder


def test_it_is_its_owners_alone_and_goes_with_its_process(place: Path) -> None:
    folder = TemporaryFolder()
    (folder.path / "uploads.sqlite").touch()
    assert folder.path.parent == place
    if sys.platform != "win32":
        assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert list(place.iterdir()) == []


def test_what_a_killed_one_left_goes_with_the_next(place: Path) -> None:
    abandoned = left(place)
    folder = TemporaryFolder()
    assert not abandoned.exists()
    assert folder.path.exists()
    folder.close()


def test_that_of_a_process_that_lives_stays(place: Path) -> None:
    living = left(place)
    with FileLock(living / LOCK):
        TemporaryFolder().close()
        assert (living / "uploads.sqlite").exists()


def test_one_that_is_only_being_made_stays(place: Path) -> None:
    young = left(place, age=0)
    without_lock = place / f"{PREFIX}y"
    without_lock.mkdir()
    TemporaryFolder().close()
    assert (young / "uploads.sqlite").exists()
    assert without_lock.exists()


def test_what_only_looks_like_it_stays(place: Path) -> None:
    elsewhere = left(place, "somebody-elses")
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    other = left(place, "ibcm-bridge-demo-x")
    TemporaryFolder().close()
    assert (elsewhere / "uploads.sqlite").exists()
    assert (other / "uploads.sqlite").exists()


def test_a_lock_is_held_once(place: Path) -> None:
    with (
        FileLock(place / "lock"),
        pytest.raises(BlockingIOError, match="locked by another process"),
    ):
        FileLock(place / "lock")
    FileLock(place / "lock").release()
