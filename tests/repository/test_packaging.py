"""The wheel holds what the checkout holds: a package that is not named works only in a checkout."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
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


def test_no_pin_has_an_address() -> None:
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        assert line.startswith("#") or "==" in line
        assert "://" not in line
        assert "@" not in line
