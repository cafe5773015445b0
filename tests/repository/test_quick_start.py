"""The commands of the README, as pasted, and the same for PowerShell in docs/windows.md."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.project_files import project_files

ROOT = Path(__file__).parents[2]


def _blocks(page: str, language: str, heading: str) -> list[str]:
    """The code blocks of one section."""
    text = (ROOT / page).read_text("utf-8")
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


README = _blocks("README.md", "sh", "Run it")
INSTALL, SERVE, POLICY, REQUEST = README
POWERSHELL = _blocks("README.md", "powershell", "Run it")


def test_powershell_has_the_same_commands() -> None:
    several_lines = [block for block in README[1:] if "\\\n" in block]
    assert POWERSHELL[1:] == [block.replace("\\\n", "`\n") for block in several_lines]


def test_the_page_for_windows_has_the_commands_of_the_readme() -> None:
    assert _blocks("docs/windows.md", "powershell", "One request") == [SERVE, *POWERSHELL[1:]]
    (install,) = _blocks("docs/windows.md", "powershell", "Install")
    assert install.startswith(POWERSHELL[0])


_WAIT_FOR = "i=0; until {condition}; do sleep 0.2; i=$((i+1)); [ $i -lt 300 ]; done"


def _clone(folder: Path) -> None:
    """Copy the files of the project, as a clone has them."""
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


@pytest.mark.slow
@pytest.mark.needs("root", "ip")
def test_the_commands_of_the_readme_lead_to_a_response(tmp_path: Path) -> None:
    """From a clone and Python alone, without `make`."""
    assert POLICY.rstrip().endswith("ibcm-bridge run --config policy.yaml")
    *made, activated = INSTALL.splitlines()
    _clone(tmp_path)
    python = f"{Path(sys.base_prefix, 'bin')}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": python, "PIP_QUIET": "1"}
    # Not in the network namespace below: it needs the package index.
    for line in made:
        subprocess.run(shlex.split(line), cwd=tmp_path, env=environment, timeout=600, check=True)
    listening = "ss -Hltn 'sport = :{port}' | grep -q ."
    # In a network namespace of its own: the commands have fixed ports.
    script = "\n".join(
        [
            "set -e",
            "ip link set lo up",
            activated,
            "trap 'kill $(jobs -p); wait' EXIT",
            f"{SERVE.rstrip()} >serve.log 2>&1 &",
            _WAIT_FOR.format(condition="[ -e kit/kit.json ]"),
            f"{POLICY.rstrip()} >run.log 2>&1 &",
            _WAIT_FOR.format(condition=listening.format(port=8443)),
            REQUEST,
            REQUEST.replace('"https', 'DELETE "https'),
        ]
    )
    done = subprocess.run(
        ["unshare", "--net", "bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    answers = re.findall(r"^HTTP/1.1 (\d+)", done.stdout, re.MULTILINE)
    assert answers == ["200", "405"], done.stdout + done.stderr
    assert "0 problems" in done.stdout
