"""A policy for `explain`, and the files of a lab for the command."""

import datetime
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import make_pki
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from tests.commands.explain.questions import trusting


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture(scope="module")
def computer(pki: LabPki) -> LabCredential:
    return pki.computer("pc1.corp.example")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory, pki: LabPki) -> Policy:
    directory = tmp_path_factory.mktemp("explain")
    make_pki(directory)
    return trusting(load_policy(directory / "bridge.yaml"), pki)


# The command
@pytest.fixture(scope="module")
def lab_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("command")
    make_pki(directory)
    return directory
