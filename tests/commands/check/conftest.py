"""The shipped policy with certificates that are valid now."""

import datetime

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import make_pki
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    directory = tmp_path_factory.mktemp("check")
    make_pki(directory)
    return load_policy(directory / "bridge.yaml")


@pytest.fixture(scope="module")
def pki() -> LabPki:
    """The lab's certificates, valid now: the command line passes the current time to `check`."""
    return LabPki.make(now=datetime.datetime.now(datetime.UTC))


@pytest.fixture
def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
