"""The commands of the README, as pasted, and the same for PowerShell in docs/windows.md."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _blocks(page: str, language: str, heading: str) -> list[str]:
    """The code blocks of one section."""
    text = (ROOT / page).read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


README = _blocks("README.md", "sh", "Run it")


def test_powershell_has_the_commands_of_the_readme() -> None:
    powershell = _blocks("docs/windows.md", "powershell", "One request")
    assert powershell == [block.replace("\\\n", "`\n") for block in README]


_WAIT_FOR = "i=0; until {condition}; do sleep 0.2; i=$((i+1)); [ $i -lt 300 ]; done"


@pytest.mark.slow
@pytest.mark.needs("root", "ip")
def test_the_commands_of_the_readme_lead_to_a_response(tmp_path: Path) -> None:
    serve, policy, request = README
    assert policy.rstrip().endswith("ibcm-bridge run --config policy.yaml")
    listening = "ss -Hltn 'sport = :{port}' | grep -q ."
    # In a network namespace of its own: the commands have fixed ports.
    script = "\n".join(
        [
            "set -eu",
            "ip link set lo up",
            f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
            "trap 'kill $(jobs -p); wait' EXIT",
            f"{serve.rstrip()} >serve.log 2>&1 &",
            _WAIT_FOR.format(condition="[ -e kit/kit.json ]"),
            f"{policy.rstrip()} >run.log 2>&1 &",
            _WAIT_FOR.format(condition=listening.format(port=8443)),
            request,
            request.replace('"https', 'DELETE "https'),
        ]
    )
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    answers = re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE)
    assert answers == ["200", "405"], done.stdout + done.stderr
    assert "0 problems" in done.stdout
