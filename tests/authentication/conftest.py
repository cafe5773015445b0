"""A computer and the lists of its authority, for the revocation tests."""

from __future__ import annotations

from datetime import datetime

import pytest
from cryptography import x509

from ibcm_bridge.authentication.revocation import judge_revocation, loaded_lists
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.trust import Revocation, Trust
from tests.authentication.revocation_lists import DAY, NOW, Judge


@pytest.fixture(scope="module")
def computer(pki: LabPki) -> LabCredential:
    return pki.computer("pc1.corp.example")


@pytest.fixture(scope="module")
def serial(computer: LabCredential) -> int:
    return computer.certificate.serial_number


@pytest.fixture
def judge(pki: LabPki, computer: LabCredential) -> Judge:
    """The reason of a refusal, or the notes, for a computer with these lists of its issuer."""

    def judged(
        *crls: x509.CertificateRevocationList, now: datetime = NOW, **policy: object
    ) -> object:
        root = pki.crls(next_update=NOW + 365 * DAY)[0]
        revocation = Revocation(**policy)  # type: ignore[arg-type]
        trust = Trust((pki.root,), (pki.issuing,), (root, *crls), revocation)
        path = [computer.certificate, pki.issuing, pki.root]
        verdict = judge_revocation(trust, loaded_lists(trust, now), path, now)
        return verdict.reason if isinstance(verdict, Deny) else verdict

    return judged
