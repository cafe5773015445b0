"""Files are read again only after a change, and each problem is logged once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.addons.renewal.file_watch import FileWatch, Problems


def watch(folder: Path, read: Callable[[], str] | None = None) -> FileWatch[str]:
    def read_all() -> str:
        return "".join(file.read_text("utf-8") for file in sorted(folder.iterdir()))

    return FileWatch(lambda: sorted(folder.iterdir()), read or read_all)


def in_place(path: Path) -> None:
    path.write_text("other text", "utf-8")


def same_size(path: Path) -> None:
    path.write_text("TEXT", "utf-8")
    os.utime(path, (1, 1))


def same_size_and_time(path: Path) -> None:
    status = path.stat()
    new = path.with_name("new")
    new.write_text("TEXT", "utf-8")
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)


def one_more(path: Path) -> None:
    path.with_name("b").write_text("", "utf-8")


def another_name(path: Path) -> None:
    path.rename(path.with_name("b"))


@pytest.mark.parametrize(
    "change", [in_place, same_size, same_size_and_time, one_more, another_name, Path.unlink]
)
def test_a_changed_file_is_read_again_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "a"
    file.write_text("text", "utf-8")
    files = watch(tmp_path)
    assert files.read_if_changed() == "text"
    assert files.read_if_changed() is None
    change(file)
    assert files.read_if_changed() is not None
    assert files.read_if_changed() is None


def test_a_missing_file_is_read_once_it_exists(tmp_path: Path) -> None:
    file = tmp_path / "a"
    files = FileWatch(lambda: [file], file.exists)
    assert files.read_if_changed() is False
    assert files.read_if_changed() is None
    file.touch()
    assert files.read_if_changed() is True


def test_an_unreadable_file_counts_as_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text", "utf-8")
    readings = iter([OSError("made to fail"), "text"])

    def read() -> str:
        if isinstance(reading := next(readings), str):
            return reading
        raise reading

    files = watch(tmp_path, read)
    with pytest.raises(OSError, match="made to fail"):
        files.read_if_changed()
    assert files.read_if_changed() == "text"
    assert files.read_if_changed() is None


def test_a_change_during_a_read_causes_another_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("text", "utf-8")

    def read() -> str:
        text = file.read_text("utf-8")
        if text == "text":
            file.write_text("longer text", "utf-8")
        return text

    files = watch(tmp_path, read)
    assert files.read_if_changed() == "text"
    assert files.read_if_changed() == "longer text"


def test_a_reset_causes_another_read(tmp_path: Path) -> None:
    files = watch(tmp_path)
    assert files.read_if_changed() == ""
    files.reset()
    assert files.read_if_changed() == ""


def test_a_problem_is_logged_once_until_it_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems("a file", "; it stays")
    assert not problems.update([])
    assert not problems.update(["one"])
    assert not problems.update(["one", "two"])
    assert problems.update([])
    assert not problems.update([])
    assert not problems.update(["one"])
    assert [record.getMessage() for record in caplog.records] == [
        "a file: one; it stays",
        "a file: two; it stays",
        "a file: one; it stays",
    ]


def test_a_problem_recorded_silently_is_not_logged_later(caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems("a file")
    assert not problems.update(["one"], silently=True)
    assert not problems.update(["one", "two"])
    assert [record.getMessage() for record in caplog.records] == ["a file: two"]
    assert problems.current() == ["a file: two"]


def test_the_current_problems_are_those_that_were_logged_and_have_not_ended() -> None:
    problems = Problems("a file", "; it stays")
    problems.update(["known"], silently=True)
    problems.update(["known", "two\nwith its lines", "one"])
    assert problems.current() == ["a file: one; it stays", "a file: two; it stays"]
    problems.update(["known"])
    assert problems.current() == []
    problems.update([])
    problems.update(["known"])
    assert problems.current() == ["a file: known; it stays"]
