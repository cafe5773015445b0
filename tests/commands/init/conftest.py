"""A folder with the certificates of a lab, valid now: `init` checks with the current time."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from tests.commands.init.options import NAMES


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    pki.write(folder / "pki")
    pki.server(*NAMES).write(folder / "pki", "names")
    return folder


@pytest.fixture
def home(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, without a policy before and after."""
    monkeypatch.chdir(lab)
    yield lab
    for left in (lab / "policy.yaml", lab / ".policy.yaml.new"):
        left.unlink(missing_ok=True)
