"""The commands of docs/scale.md, as pasted."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ibcm_bridge.commands.main import main
from tests.repository.two_bridges import BACKENDS, NAMES

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "scale.md"
PAGE = FILE.read_text("utf-8")
_WAIT_FOR = "i=0; until {condition}; do sleep 0.2; i=$((i+1)); [ $i -lt 600 ]; done"


def _blocks(heading: str) -> list[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.slow
@pytest.mark.needs("root", "ip", "haproxy")
def test_the_commands_start_two_bridges_behind_haproxy(tmp_path: Path) -> None:
    serve, start, request = _blocks("Two bridges on one machine")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    ready = "[ $(ss -Hltn 'sport = :9100' | wc -l) = 2 ] && [ -e scale/admin.sock ]"
    # In a network namespace of its own: the commands have fixed ports.
    script = "\n".join(
        [
            "set -eu",
            "ip link set lo up",
            f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH:/usr/sbin",
            "trap 'kill $(jobs -p); wait' EXIT",
            f"{serve.rstrip()} >serve.log 2>&1 &",
            _WAIT_FOR.format(condition="[ -e kit/kit.json ]"),
            start,
            _WAIT_FOR.format(condition=ready),
            # Two successful health checks.
            "sleep 5",
            request,
        ]
    )
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    statuses = re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE)
    assert statuses == ["200"] * 4, done.stdout + done.stderr
    audits = [tmp_path / "scale" / f"audit-127.0.0.1{number}.jsonl" for number in (1, 2)]
    lines = [line for audit in audits for line in audit.read_text("utf-8").splitlines()]
    records = [record for line in lines if "target" in (record := json.loads(line))]
    assert [record["via"].partition(":")[0] for record in records] == ["127.0.0.10"] * 4


CAPACITY = (
    ("capacity", "--clients", "175000"),
    ("capacity", "--clients", "175000", "--cores", "4", "--machines", "4", "--connections", "5000"),
)


def test_the_page_shows_the_output_of_capacity(capsys: pytest.CaptureFixture[str]) -> None:
    """After new benchmarks: WRITE_DOCS=1 pytest tests/repository/test_scale_page.py."""
    outputs = []
    for arguments in CAPACITY:
        main(arguments)
        outputs.append(f"$ ibcm-bridge {shlex.join(arguments)}\n{capsys.readouterr().out}")
    head, section = PAGE.split("\n## Capacity\n")
    texts = iter(outputs)
    expected = re.sub(
        r"(```text\n).*?(```)", lambda found: found[1] + next(texts) + found[2], section, flags=re.S
    )
    if os.environ.get("WRITE_DOCS"):
        FILE.write_text(f"{head}\n## Capacity\n{expected}", "utf-8")
    else:
        assert section == expected, "run: WRITE_DOCS=1 pytest tests/repository/test_scale_page.py"


def test_the_commands_of_the_admin_socket_name_servers_that_exist() -> None:
    (drain,) = _blocks("Drain and restart one bridge")
    (backends,) = re.findall(r"for backend in (.*?);", drain)
    assert tuple(f"bridges-{backend}" for backend in backends.split()) == BACKENDS
    assert set(re.findall(r"^drain (\S+)", drain, re.MULTILINE)) <= set(NAMES)
