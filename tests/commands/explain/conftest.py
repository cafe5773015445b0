"""A policy for `explain`, and the files of a lab for the command."""

import dataclasses
import datetime
from pathlib import Path

import pytest

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import make_pki, shipped_policy
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy, UnknownGuids
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import UnlistedHeaders
from ibcm_bridge.policy_file import load_policy
from ibcm_bridge.storage.binding_registry import Registry
from tests.commands.explain.questions import ANOTHERS, GUID, trusting
from tests.lab.cases.test_observed_cases import observing


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


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory, pki: LabPki, computer: LabCredential) -> Policy:
    """The shipped policy, with `observe`, bindings, and all other checks enforced."""
    directory = tmp_path_factory.mktemp("pilot")
    pki.write(directory / "pki")
    (directory / "bridge.yaml").write_text(shipped_policy())
    policy = observing(
        load_policy(directory / "bridge.yaml"), unlisted_headers=UnlistedHeaders.REFUSE
    )
    messages = MessagePolicy(
        identity=Enforcement.ENFORCE,
        signatures=Enforcement.ENFORCE,
        unknown_guids=UnknownGuids.REFUSE,
        bindings_file=directory / "bindings.sqlite",
    )
    facts = certificate_facts(computer.certificate)
    now = datetime.datetime.now(datetime.UTC)
    with Registry(directory / "bindings.sqlite") as registry:
        own = Binding(GUID, Source.REGISTRATION, now, facts.key_sha256)
        registry.add(dataclasses.replace(own, signing_key=facts.public_key))
        registry.add(Binding(ANOTHERS, Source.REGISTRATION, now, key="0" * 64))
    return dataclasses.replace(policy, messages=messages)


# The command
@pytest.fixture(scope="module")
def lab_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("command")
    make_pki(directory)
    return directory
