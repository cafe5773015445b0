"""The wheel holds what the checkout holds: a package that is not named works only in a checkout."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ibcm_bridge.addons.tested_mitmproxy import TESTED

ROOT = Path(__file__).parents[2]
CI = (ROOT / ".ci/run").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = {
    "ibcm_bridge": "ibcm_bridge",
    "addons": "ibcm_bridge/addons",
    "config": "ibcm_bridge/config",
}


def _tracked() -> list[str]:
    listing = ["git", "ls-files", *FOLDERS, "pyproject.toml", "README.md", "LICENSE"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.needs("git")
def test_the_wheel_has_every_file_of_the_checkout(tmp_path: Path) -> None:
    # Built from a copy: what an earlier build left in the checkout must not help.
    copy = tmp_path / "copy"
    for name in _tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", ".", "./copy"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = set()
    for name in _tracked():
        top, slash, rest = name.partition("/")
        if slash:
            expected.add(f"{FOLDERS[top]}/{rest}")
    assert inside == expected


def test_no_addon_file_is_named_like_a_standard_module() -> None:
    names = {path.stem for path in (ROOT / "addons").glob("*.py")} - {"__init__"}
    assert not names & sys.stdlib_module_names


# Of mitmproxy


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    found = {}
    for line in lines:
        if not line.startswith("#"):
            pin, _, _ = line.partition(";")
            name, _, version = pin.strip().partition("==")
            found[name] = version
    return found


def test_the_installable_versions_are_those_allowed_at_start() -> None:
    wanted = [Requirement(requirement) for requirement in PROJECT["project"]["dependencies"]]
    (mitmproxy,) = [requirement for requirement in wanted if requirement.name == "mitmproxy"]
    allowed = [
        f"{major}.{minor}"
        for major in range(20)
        for minor in range(30)
        if any(mitmproxy.specifier.contains(f"{major}.{minor}.{patch}") for patch in (0, 99))
    ]
    assert allowed == list(TESTED)


def test_the_newest_version_is_pinned_and_each_is_tested() -> None:
    pinned = pins()["mitmproxy"]
    assert pinned.startswith(f"{TESTED[-1]}.")
    # The run on the sources has an older one by name, the run on the wheel the newest there is.
    (older,) = re.findall(r"^export MITMPROXY=([\d.]+)$", CI, re.MULTILINE)
    assert [older.rpartition(".")[0], TESTED[-1]] == list(TESTED)
    (wheel,) = re.findall(r"pip install .*\$\(ls dist/\*\.whl\).*", CI)
    assert "constraint" not in wheel
    assert " -c " not in wheel


def test_no_pin_has_an_address() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or "==" in line
        assert "://" not in line
        assert "@" not in line
