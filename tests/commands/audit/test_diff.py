"""`ibcm-bridge audit diff`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from tests.audit.test_differences import NOW_ALLOWED, NOW_REFUSED, OTHER_REASON
from tests.audit.test_summary import ALLOWED


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    file = tmp_path / "audit.jsonl"
    unknown = {**ALLOWED, "shadow": {"verdict": "allow", "not_judged": "identity"}}
    long = {**NOW_REFUSED, "target": f"/{'x' * 200}\u202e"}
    records = [NOW_ALLOWED, long, OTHER_REASON, unknown]
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records) + "a damaged line\n")
    return file


def test_the_output_has_both_outcomes_in_80_columns(
    audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "diff", str(audit)]) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "4 requests in 1 file\n3 with another outcome under the other policy\n"
    )
    for line in (
        "WOULD BE REFUSED",
        "          now:  deny verb, by roles.verbs",
        "          then: deny resource, by x.directories",
        "          then: allow",
        "1 without a judgement of the body",
        "1 line skipped: no record",
        "1 without a judgement of the client GUID and the signatures",
    ):
        assert line in output.splitlines()
    assert max(map(len, output.splitlines())) <= 80
    assert "\u202e" not in output


def test_json_has_the_same_rows(audit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "diff", "--json", str(audit)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["requests"], found["different"], found["skipped"]) == (4, 3, 1)
    assert found["not_judged"] == {"body": 1, "upload": 0, "identity": 1}
    assert found["refused"][0]["then"] == {
        "verdict": "deny",
        "reason": "resource",
        "rule": "x.directories",
    }
    assert found["allowed"][0]["now"]["reason"] == "verb"


def test_a_missing_file_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "diff", str(tmp_path / "x")]) == 1
    assert "No such file" in capsys.readouterr().err
