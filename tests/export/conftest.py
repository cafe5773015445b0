from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ibcm_bridge.lab.cases.policy import BRIDGED_NAMES, demo_policy
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy

type Load = Callable[..., Policy]
"""Replacements in the demo's policy -> the policy."""


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """A folder with the files of the demo's policy."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "pki").mkdir()
    for file in pki_files.iterdir():
        if file.is_file():
            (folder / "pki" / file.name).write_bytes(file.read_bytes())
    for name in BRIDGED_NAMES:
        for suffix in (".pem", ".key"):
            content = (pki_files / f"bridge-server{suffix}").read_bytes()
            (folder / "pki" / f"{name}{suffix}").write_bytes(content)
    return folder


@pytest.fixture(scope="session")
def load(demo_folder: Path) -> Load:
    def changed(*replacements: tuple[str, str]) -> Policy:
        text = demo_policy()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        file = demo_folder / "bridge.yaml"
        file.write_text(text, "utf-8")
        return load_policy(file)

    return changed
