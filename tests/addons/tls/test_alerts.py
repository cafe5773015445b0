"""The alert of each refused certificate, on the wire."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.decisions.refusals import REFUSALS
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.trust import Trust
from tests.addons.stand_ins.lab import GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, wait_for

REFUSED: dict[str, tuple[Callable[[LabPki], LabCredential | None], Reason]] = {
    "none": (lambda _: None, Reason.CERTIFICATE_MISSING),
    "foreign": (lambda pki: pki.foreign_computer("a.example"), Reason.CERTIFICATE_UNTRUSTED),
    "self-signed": (lambda pki: pki.self_signed("a.example"), Reason.CERTIFICATE_UNTRUSTED),
    "expired": (lambda pki: pki.expired_computer("a.example"), Reason.CERTIFICATE_EXPIRED),
    "revoked": (lambda pki: pki.revoked_computer("a.example"), Reason.CERTIFICATE_REVOKED),
    "wrong purpose": (lambda pki: pki.wrong_purpose("a.example"), Reason.CERTIFICATE_PURPOSE),
    "no purpose": (lambda pki: pki.without_purpose("a.example"), Reason.CERTIFICATE_PURPOSE),
    "a person's": (lambda pki: pki.user("somebody@a.example"), Reason.CERTIFICATE_NAME),
    "not yet valid": (
        lambda pki: certificates.computer(pki._issuing, "a.example", tomorrow()),
        Reason.CERTIFICATE_NOT_YET_VALID,
    ),
}

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def tomorrow() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now + timedelta(days=1), now + timedelta(days=2)


@dataclasses.dataclass
class Refusing:
    """A bridge, and certificates that it must not accept."""

    running: Running
    credentials: dict[str, LabCredential | None]


@pytest.fixture(scope="module")
def refusing(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    credentials = {name: make(running_lab.pki) for name, (make, _) in REFUSED.items()}
    trust = dataclasses.replace(
        bridged_publication(running_lab.policy).client_trust, crls=running_lab.pki.crls()
    )
    audit_file = tmp_path_factory.mktemp("alerts") / "audit.jsonl"
    policy = changed(running_lab.policy, audit_file, client_trust=trust)
    with Running(running_lab, policy) as running:
        yield Refusing(running, credentials)


def assert_alert(
    running: Running, credential: LabCredential | None, version: ssl.TLSVersion, reason: Reason
) -> None:
    before = len(running.audit())
    options: dict[str, Any] = {"maximum_version": version}
    client = running.client(credential=credential, **options) if credential else None
    alert = REFUSALS[reason].alert
    assert alert
    if reason is Reason.CERTIFICATE_MISSING and version is ssl.TLSVersion.TLSv1_2:
        alert = "handshake_failure"  # RFC 5246 §7.4.6: TLS 1.2 has no certificate_required
    assert running.alert(client or running.anonymous(**options)) == alert.replace("_", " ")
    assert wait_for(lambda: len(running.audit()) > before)
    (record,) = running.audit()[before:]
    assert record["reason"] == reason.value
    assert record["verdict"] == "deny"
    assert ("client_certificate" in record) is (credential is not None)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_certificate_causes_the_alert_of_the_table(
    refusing: Refusing, lab: Lab, name: str, version: ssl.TLSVersion
) -> None:
    assert_alert(refusing.running, refusing.credentials[name], version, REFUSED[name][1])
    assert not lab.site.handshakes()


@pytest.mark.parametrize("version", VERSIONS)
def test_its_valid_twin_is_accepted(refusing: Refusing, lab: Lab, version: ssl.TLSVersion) -> None:
    with refusing.running.client(maximum_version=version) as client:
        assert isinstance(client.request(*GOOD), Response)


LISTS: dict[str, Callable[[LabPki], tuple[Any, ...]]] = {
    "past their date": lambda pki: pki.crls(
        this_update=datetime.now(UTC) - timedelta(days=9),
        next_update=datetime.now(UTC) - timedelta(days=2),
    ),
    "not valid yet": lambda pki: pki.crls(
        this_update=datetime.now(UTC) + timedelta(days=1),
        next_update=datetime.now(UTC) + timedelta(days=9),
    ),
    "missing": lambda _: (),
    "missing for the issuing authority": lambda pki: pki.crls()[:1],
    "missing for the root": lambda pki: pki.crls()[1:],
}


@pytest.mark.parametrize("lists", LISTS)
def test_without_a_current_revocation_list_all_clients_are_refused(
    lab: Lab, tmp_path: Path, lists: str
) -> None:
    trust = bridged_publication(lab.policy).client_trust
    trust = Trust(trust.anchors, trust.intermediates, LISTS[lists](lab.pki))
    with Running(lab, changed(lab.policy, tmp_path / "audit.jsonl", client_trust=trust)) as running:
        for version in VERSIONS:
            assert_alert(running, lab.computer, version, Reason.REVOCATION_UNKNOWN)
    assert not lab.site.handshakes()
