"""A path ends at a certificate under `anchors`: OpenSSL has one store for both keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from ibcm_bridge.addons.tls.verification import verify_authority, verify_client_path
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.trust import Trust
from tests.addons.tls.test_trust_rules import NAME, client_refusal, made, site_system_refusal

LEGS = pytest.mark.parametrize("refusal", [client_refusal, site_system_refusal])


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def other() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@LEGS
def test_a_self_signed_certificate_under_issuing_is_not_an_anchor(
    pki: LabPki, other: LabPki, refusal: Callable[..., Deny | None]
) -> None:
    credential, _ = made(pki, refusal)
    lists = (*pki.crls(), *other.crls())
    hidden = Trust((other.root,), (pki.root, pki.issuing), lists)
    refused = refusal(pki, hidden, credential)
    assert refused is not None
    assert refused.reason is Reason.CERTIFICATE_UNTRUSTED
    assert refused.detail == "the path does not end at a trust anchor (depth 2)"
    both = Trust((other.root, pki.root), (pki.root, pki.issuing), lists)
    assert refusal(pki, both, credential) is None


def test_it_is_not_an_anchor_for_resumed_sessions_and_for_check_either(
    pki: LabPki, other: LabPki
) -> None:
    hidden = Trust((other.root,), (pki.root, pki.issuing), (*pki.crls(), *other.crls()))
    computer = pki.computer(NAME).certificate
    for verdict in (
        verify_client_path(hidden, [computer]),
        verify_authority(hidden, pki.issuing),
    ):
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.CERTIFICATE_UNTRUSTED


@LEGS
def test_an_intermediate_is_not_an_anchor(
    pki: LabPki, other: LabPki, refusal: Callable[..., Deny | None]
) -> None:
    """OpenSSL would end a path at it with X509_V_FLAG_PARTIAL_CHAIN."""
    credential, _ = made(pki, refusal)
    lists = (*pki.crls(), *other.crls())
    for anchors in ((other.root,), (other.root, pki.issuing)):
        refused = refusal(pki, Trust(anchors, (pki.issuing,), lists), credential)
        assert refused is not None
        # OpenSSL's own text: it found no path, and nothing was judged.
        assert refused.detail.startswith("unable to get issuer certificate")
        again = verify_client_path(Trust(anchors, (pki.issuing,), lists), [credential.certificate])
        assert isinstance(again, Deny)
        assert again.detail.startswith("unable to get issuer certificate")
    assert refusal(pki, Trust((pki.root,), (pki.issuing,), lists), credential) is None
