"""`ibcm-bridge audit summary`."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from tests.audit.test_summary import ALLOWED, OBSERVED, REFUSED, TURNED_AWAY


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    first = json.dumps(TURNED_AWAY) + "\n"
    (tmp_path / "audit.jsonl.2.gz").write_bytes(gzip.compress(first.encode()))
    hostile = {"detail": "a \x1b[31mred\nline", "target": "/" + 200 * "x", "method": "POST"}
    records = [ALLOWED, {**REFUSED, **hostile, "reference": "0a1b2c3d4e5f"}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"torn')
    return path


def test_the_tables_fit_a_terminal(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "summary", str(audit)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["3 records in 2 files", "2026-01-02 03:04:04 to 2026-01-02 03:04:06 UTC"]
    assert "requests                1            1" in lines
    assert "connections             -            1" in lines
    assert "skipped                 1  lines are not records" in lines
    assert "        1 verb                      roles.verbs" in lines
    assert "          last: 0a1b2c3d4e5f, pc1.corp.example, management point, POST /xxx" in out
    assert "          a ?[31mred?line" in lines, "no control characters of a client"
    assert "        1 [2001:db8::]" not in lines
    assert any(line.startswith("        1 [2001:db8::7] ") for line in lines)


def test_earlier_records_can_be_skipped(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def records(since: str) -> int:
        assert main(["audit", "summary", "--json", "--since", since, str(audit)]) == 0
        return int(json.loads(capsys.readouterr().out)["records"])

    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert records("2026-01-02") == 3
    assert records("2026-01-02T03:04:05") == records("2026-01-02T05:04:05+02:00") == 2
    assert records("2026-01-02T03:04:07") == 0
    days = (datetime.now(UTC) - then) / timedelta(days=1)
    assert records(f"{int(days) + 1}d") == 3 if days >= 0 else records("1m") == 3


@pytest.mark.parametrize("since", ["yesterday", "24", "2026-13-01", "999999d"])
def test_a_time_that_is_none_is_a_usage_error(
    audit: Path, since: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["audit", "summary", "--since", since, str(audit)])
    assert exit_.value.code == 2
    assert "is not a time; write 24h, 7d" in capsys.readouterr().err


def test_json_has_the_same_rows(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "summary", "--json", "--rows", "1", str(audit)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["records"], found["skipped_lines"]) == (2, 3, 1)
    assert found["request"] == {"allow": 1, "deny": 1, "observed": 0}
    (row,) = found["reasons"]
    assert (row["reason"], row["requirement"], row["refused"]) == (
        "certificate-missing",
        "BRIDGE-AUTH-COMPUTER",
        1,
    )


def test_observed_requests_have_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.jsonl"
    file.write_text(f"{json.dumps(OBSERVED)}\n")
    assert main(["audit", "summary", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "                  ALLOWED      REFUSED     OBSERVED" in lines
    assert "          allowed by: extra_verbs: ..." in lines
    assert "          no policy can allow it" in lines


def test_a_file_that_is_absent_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "summary", str(tmp_path / "audit.jsonl")]) == 1
    assert capsys.readouterr().err.endswith("audit.jsonl: No such file or directory\n")
