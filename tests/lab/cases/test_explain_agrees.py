"""`explain` and a running bridge agree on each case of the demo."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ibcm_bridge.commands.explain.described_request import Url, describe_request
from ibcm_bridge.commands.explain.environment import environment
from ibcm_bridge.commands.explain.explain import explain
from ibcm_bridge.commands.explain.explanation import Explanation
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import RunningBridge
from ibcm_bridge.lab.cases.case import Case, ClientCertificate, credentials
from ibcm_bridge.lab.cases.policy import BRIDGED_NAMES, demo_policy
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.comparison import Comparison
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.published import PLAINTEXT_PORT
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from ibcm_bridge.policy_file import load_policy

ONLY_AT_RUN_TIME = {
    # explain does not connect
    Reason.SITE_SYSTEM_UNVERIFIED,
    Reason.REPLY_HOST_NAMES,
    Reason.REPLY_INTRANET_ONLY,
}


class Both:
    """A running bridge, and `explain` with its policy."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
        site = stack.enter_context(SiteSystems(pki, leaks=True))
        daemon = stack.enter_context(ScanDaemon())
        bridge = RunningBridge(directory, pki, site, policy=demo_policy(daemon.address))
        for name in BRIDGED_NAMES:
            pki.server(name).write(directory / "pki", name)
        self._clients: dict[ClientCertificate, LabCredential | None] = credentials(pki)
        # The CRLs of `pki` do not have the certificates that were revoked later.
        for name, crl in zip(("root", "issuing"), pki.crls(), strict=True):
            encoded = crl.public_bytes(serialization.Encoding.PEM)
            (directory / "pki" / f"{name}.crl").write_bytes(encoded)
        stack.enter_context(bridge)
        self._ports = {port: address[1] for port, address in bridge.addresses.items()}
        self._lab = Comparison(pki, self._clients, site, bridge)
        self._policy = load_policy(bridge.policy_file)

    def happened(self, case: Case) -> dict[str, object]:
        """Send a case to the bridge; return its audit record."""
        audit: dict[str, object] = self._lab.result(case).bridge.audit
        return audit

    def explained(self, case: Case) -> Explanation:
        """Explain the same case."""
        request = case.request(self._lab.senders(case.client))
        credential = self._clients[case.client]
        scheme = "http" if case.to.port == PLAINTEXT_PORT or request.plaintext else "https"
        url = Url(scheme, case.to.name, self._ports[case.to.port], request.target)
        certificates = (credential.certificate, *credential.issuers) if credential else ()
        question = describe_request(
            request.method,
            url,
            request.headers,
            certificates,
            request.body,
            version=request.version,
        )
        return explain(self._policy, question, environment(self._policy))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        yield Both(tmp_path_factory.mktemp("agree"), stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_explanation_agrees_with_the_bridge(both: Both, case: Case) -> None:
    record, explanation = both.happened(case), both.explained(case)
    if record.get("reason") in ONLY_AT_RUN_TIME:
        return
    if record.get("rule") == "engines.clamav":
        # explain does not connect to clamd, but mentions it.
        assert any("ClamAV" in step for step in explanation.steps)
        return
    if case.session_requests:
        # Only the bridge knows the upload session.
        assert explanation.body_not_inspected
        return
    if explanation.denial is None:
        assert record["verdict"] == "allow"
        return
    explained = explanation.record()
    assert [explained[key] for key in ("verdict", "reason", "rule", "requirement")] == [
        record[key] for key in ("verdict", "reason", "rule", "requirement")
    ]
