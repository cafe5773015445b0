"""Audit files on disk, with those that were rotated and compressed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ibcm_bridge.storage import audit_files
from ibcm_bridge.storage.audit_files import AuditFileError, read_lines, with_rotated


def test_rotated_files_are_found_by_the_names_that_logrotate_makes(tmp_path: Path) -> None:
    rotated = [
        *("audit.jsonl-20261130", "audit.jsonl-20261130.gz", "audit.jsonl-20261130-1764460800"),
        *("audit.jsonl.1", "audit.jsonl.2.gz", "audit.jsonl-2026-11-30-1764460800.gz"),
    ]
    others = [
        *(
            "audit.jsonl.bak",
            "audit.jsonl.1~",
            "audit.jsonl2",
            "audit.jsonl.gz.1",
            "my.audit.jsonl",
        ),
    ]
    for name in (*rotated, *others, "audit.jsonl"):
        (tmp_path / name).touch()
    path = tmp_path / "audit.jsonl"
    found = with_rotated([path, tmp_path / "audit.jsonl.1"])
    assert sorted(found) == sorted(tmp_path / name for name in (*rotated, "audit.jsonl"))
    assert found[-1] == path


def test_lines_are_read_from_compressed_files_too(tmp_path: Path) -> None:
    content = b'{"one":1}\n\n{"two":2}\n{"torn'
    plain, packed = tmp_path / "audit.jsonl.1", tmp_path / "audit.jsonl.2.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    expected = [b'{"one":1}\n', b"\n", b'{"two":2}\n', b'{"torn']
    assert list(read_lines(plain)) == list(read_lines(packed)) == expected


def test_a_long_line_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "MAX_LINE", 4)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"12345678\n9\n")
    assert list(read_lines(path)) == [b"1234", b"5678", b"\n", b"9\n"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    absent, cut = tmp_path / "absent", tmp_path / "cut.gz"
    cut.write_bytes(gzip.compress(b"line\n" * 1_000)[:-9])
    bad = tmp_path / "bad.gz"
    bad.write_bytes(gzip.compress(b"line\n" * 1_000)[:12] + b"\xff" * 9)
    for path, cause in ((absent, "No such file"), (cut, "incomplete"), (bad, "damaged")):
        with pytest.raises(AuditFileError, match=cause) as raised:
            list(read_lines(path))
        assert str(raised.value).startswith(f"{path}: ")
    with pytest.raises(AuditFileError, match="No such file"):
        list(read_lines(with_rotated([tmp_path / "no folder" / "audit.jsonl"])[0]))
