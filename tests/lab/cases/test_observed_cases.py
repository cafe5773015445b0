"""Each case of the demo, in publications with `observe`: what must be refused is still refused."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.commands.explain.described_request import Url, describe_request
from ibcm_bridge.commands.explain.environment import environment
from ibcm_bridge.commands.explain.explain import Environment, explain
from ibcm_bridge.commands.explain.explanation import Explanation
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.observing import observed
from ibcm_bridge.lab.cases.case import Case, credentials, senders
from ibcm_bridge.lab.cases.policy import demo_policy, write_more
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy_file import load_policy


def observing(policy: Policy, because: str | None = "a pilot", **changes: Any) -> Policy:
    """The policy with `observe` and other changes in each bridged publication."""
    listeners = [
        dataclasses.replace(
            listener,
            publications={
                name: dataclasses.replace(publication, observe_because=because, **changes)
                if isinstance(publication, BridgePublication)
                else publication
                for name, publication in listener.publications.items()
            },
        )
        if isinstance(listener, Listener)
        else listener
        for listener in policy.listeners
    ]
    return dataclasses.replace(policy, listeners=tuple(listeners))


class Explained:
    """`explain` with the demo's policy, with and without `observe`."""

    def __init__(self, directory: Path) -> None:
        pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
        self._clients = credentials(pki)
        pki.write(directory / "pki")
        write_more(pki, directory / "pki")
        file = directory / "bridge.yaml"
        file.write_text(demo_policy())
        self._enforcing = load_policy(file)
        self._observing = observing(self._enforcing)
        self._environment: Environment = environment(self._enforcing)

    def __call__(self, case: Case) -> tuple[Explanation, Explanation]:
        """The explanations without and with `observe`."""
        request = case.request(senders(self._clients)[case.client])
        credential = self._clients[case.client]
        scheme = "http" if case.to.port == PLAINTEXT_PORT or request.plaintext else "https"
        url = Url(scheme, case.to.name, case.to.port, request.target)
        certificates = (credential.certificate, *credential.issuers) if credential else ()
        question = describe_request(
            request.method,
            url,
            request.headers,
            certificates,
            request.body,
            version=request.version,
        )
        policies = self._enforcing, self._observing
        enforced, only_observed = (
            explain(policy, question, self._environment) for policy in policies
        )
        return enforced, only_observed


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Explained:
    return Explained(tmp_path_factory.mktemp("observed"))


ENFORCED = {
    "two-guids": Reason.IDENTITY_AMBIGUOUS,  # at places that name the sender
    "forbidden-verb": Reason.RESOURCE,  # found after the verb
}
"""Cases of observable refusals that are refused nevertheless, with the reason."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_case_is_observed_only_if_the_table_has_it(explained: Explained, case: Case) -> None:
    enforced, only_observed = explained(case)
    if enforced.denial is None:
        assert only_observed.denial is None
        assert not only_observed.would_refuse
        return
    finding = observed(enforced.denial)
    if case.id in ENFORCED:
        assert only_observed.denial is not None
        assert only_observed.denial.reason is ENFORCED[case.id]
        return
    if finding is None or case.to.port == PLAINTEXT_PORT:
        assert only_observed.denial == enforced.denial
        return
    assert only_observed.denial is None
    assert only_observed.would_refuse[0] == finding
    record = only_observed.record()
    assert (record["verdict"], record["reason"]) == ("observed", enforced.denial.reason)


def test_the_cases_have_observed_requests_of_every_kind(explained: Explained) -> None:
    found = {finding.denial.reason for case in CASES for finding in explained(case)[1].would_refuse}
    assert found >= {
        *(Reason.VERB, Reason.ENDPOINT, Reason.MESSAGE),
        *(Reason.SIGNATURE_FORGED, Reason.SIGNATURE_MISSING, Reason.TIMESTAMP_STALE),
    }
