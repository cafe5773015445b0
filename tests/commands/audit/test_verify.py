"""`ibcm-bridge audit verify`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ibcm_bridge.audit.chain import Point
from ibcm_bridge.audit.record import Event
from ibcm_bridge.commands.main import main
from tests.audit.chains import FIRST, SECOND, Writer


class Rotated:
    """An audit file of two writers, and its rotated files."""

    def __init__(self, folder: Path) -> None:
        ended, killed = Writer(FIRST), Writer(SECOND)
        first, second = ended.lines(6), killed.lines(4, ended=False)
        self.path = folder / "audit.jsonl"
        self.middle = folder / "audit.jsonl.1"
        (folder / "audit.jsonl.2.gz").write_bytes(gzip.compress(b"".join(first[:3] + second[:2])))
        self.middle.write_bytes(b"".join(first[3:5] + second[2:4]))
        torn = killed.line(Event.REQUEST)[:40]
        self.path.write_bytes(b"".join((*first[5:], second[4], torn)))
        self.points = ended.chain.point, Point(SECOND, 1, "")
        self.log = folder / "log"
        self.log.write_text(f"2026-01-02 INFO x: audit point {ended.chain.point}\nother\n")


@pytest.fixture
def audit(tmp_path: Path) -> Rotated:
    return Rotated(tmp_path)


def verify(*arguments: object) -> int:
    return main(["audit", "verify", *map(str, arguments)])


def test_an_intact_audit(audit: Rotated, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(audit.path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines == [
        "13 records of 2 writers in 3 files",
        "",
        "WRITER            RECORDS                LAST TIME (UTC)      RESULT",
        f"{FIRST}  1-8                    2026-01-02 03:04:05  intact, ended",
        f"{SECOND}  1-5                    2026-01-02 03:04:05  intact, no end",
        "",
        "no end: the process is running, or it was killed",
        "audit.jsonl:5: an incomplete line, of a killed process or a full disk",
        "the ends are not proved: neither --expect nor --points was given",
        "intact",
    ]


def test_a_missing_file(audit: Rotated, capsys: pytest.CaptureFixture[str]) -> None:
    audit.middle.unlink()
    assert verify(audit.path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{FIRST}  1-8                    2026-01-02 03:04:05  1 PROBLEM" in lines
    assert f"audit.jsonl:1: writer {FIRST}: missing: records 4 to 5" in lines
    assert lines[-1] == "2 problems"


def test_the_log_proves_the_ends(audit: Rotated, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify("--points", audit.log, audit.path) == 0
    assert "1 of 1 expected point found" in capsys.readouterr().out
    lines = audit.path.read_bytes().splitlines(keepends=True)
    audit.path.write_bytes(b"".join(lines[:2] + lines[3:]))
    for option in (("--points", audit.log), ("--expect", audit.points[0])):
        assert verify(*option, audit.path) == 1
        out = capsys.readouterr().out
        expected = f"writer {FIRST}: the end is missing: record 8, according to an expected point"
        assert expected in out.splitlines()


def test_json_has_the_same_results(audit: Rotated, capsys: pytest.CaptureFixture[str]) -> None:
    audit.middle.unlink()
    assert verify("--json", audit.path) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["intact"], found["incomplete_lines"]) == (False, ["audit.jsonl:5"])
    first, second = found["writers"]
    assert (first["ended"], second["ended"]) == (True, False)
    assert (first["first"], first["last"], first["digest"]) == (1, 8, audit.points[0].digest)
    assert first["problems"] == [{"text": "missing: records 4 to 5", "place": "audit.jsonl:1"}]


def test_a_log_without_points_is_a_problem(
    audit: Rotated, capsys: pytest.CaptureFixture[str]
) -> None:
    audit.log.write_text("")
    assert verify("--points", audit.log, audit.path) == 1
    assert capsys.readouterr().err.endswith("log has no audit point\n")
    assert verify(audit.path.with_name("absent")) == 1
    assert capsys.readouterr().err.endswith("absent: No such file or directory\n")
    with pytest.raises(SystemExit) as exit_:
        verify("--expect", FIRST, audit.path)
    assert exit_.value.code == 2
