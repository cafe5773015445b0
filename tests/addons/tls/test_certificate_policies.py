"""Certificate policies of a publication in real handshakes: computer, user, either, optional, none
(BRIDGE-AUTH-COMPUTER, BRIDGE-AUTH-USER)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.trust import Trust
from ibcm_bridge.policy_file import shipped_roles
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, outcome_of, wait_for

BridgeWith = Callable[[CertificatePolicy], AbstractContextManager[Running]]


@pytest.fixture(scope="module")
def user(running_lab: Lab) -> LabCredential:
    return running_lab.pki.user("jdoe@corp.example")


@pytest.fixture(scope="module")
def refused(running_lab: Lab) -> dict[str, LabCredential]:
    """Certificates that OpenSSL or `authentication` refuses, by the reason."""
    pki = running_lab.pki
    return {
        "certificate-revoked": pki.revoked_computer("pc2.corp.example"),
        "certificate-expired": pki.expired_computer("pc3.corp.example"),
        "certificate-purpose": pki.wrong_purpose("pc4.corp.example"),
        "certificate-untrusted": pki.foreign_computer("pc5.corp.example"),
    }


@pytest.fixture
def bridge_with(lab: Lab, refused: dict[str, LabCredential], tmp_path: Path) -> BridgeWith:
    """A function that starts a bridge with a certificate policy."""
    before = bridged_publication(lab.policy).client_trust
    assert before is not None
    # The current revocation lists include the certificates revoked since the policy was written.
    trust = Trust(before.anchors, before.intermediates, tuple(lab.pki.crls()))

    @contextmanager
    def start(policy: CertificatePolicy) -> Iterator[Running]:
        client_trust = None if policy is CertificatePolicy.NONE else trust
        changes = {"certificate_policy": policy, "client_trust": client_trust}
        with Running(lab, changed(lab.policy, tmp_path / "audit.jsonl", **changes)) as running:
            yield running

    return start


def outcome(running: Running, credential: LabCredential | None) -> Response | Exception:
    made = running.client(credential=credential) if credential else running.anonymous()
    with made as client:
        return outcome_of(client, *GOOD)


@pytest.mark.parametrize("policy", [CertificatePolicy.USER, CertificatePolicy.EITHER])
def test_a_user_is_accepted_if_the_policy_accepts_users(
    bridge_with: BridgeWith, lab: Lab, user: LabCredential, policy: CertificatePolicy
) -> None:
    with bridge_with(policy) as running:
        reply = outcome(running, user)
        assert isinstance(reply, Response), reply
        assert reply.status == 200
        [record] = wait_for(running.audit)
        assert record["client_name"] == "jdoe@corp.example"
    assert lab.site.received()


def test_a_computer_is_refused_if_the_policy_requires_users(
    bridge_with: BridgeWith, lab: Lab
) -> None:
    with bridge_with(CertificatePolicy.USER) as running:
        assert not isinstance(outcome(running, lab.computer), Response)
        record = running.wait_for_reason("certificate-name")
        assert record["requirement"] == "BRIDGE-AUTH-USER"
    assert not lab.site.received()


def test_a_user_is_refused_if_the_policy_requires_computers(
    bridge_with: BridgeWith, lab: Lab, user: LabCredential
) -> None:
    with bridge_with(CertificatePolicy.COMPUTER) as running:
        assert not isinstance(outcome(running, user), Response)
        record = running.wait_for_reason("certificate-name")
        assert record["requirement"] == "BRIDGE-AUTH-COMPUTER"
    assert not lab.site.received()


@pytest.mark.parametrize(
    "policy", [CertificatePolicy.COMPUTER, CertificatePolicy.USER, CertificatePolicy.EITHER]
)
def test_a_client_without_a_required_certificate_is_refused(
    bridge_with: BridgeWith, lab: Lab, policy: CertificatePolicy
) -> None:
    with bridge_with(policy) as running:
        assert not isinstance(outcome(running, None), Response)
        running.wait_for_reason("certificate-missing")
    assert not lab.site.received()


def test_an_optional_certificate_may_be_omitted_or_presented(
    bridge_with: BridgeWith, lab: Lab, user: LabCredential
) -> None:
    with bridge_with(CertificatePolicy.OPTIONAL) as running:
        for credential in (None, lab.computer, user):
            reply = outcome(running, credential)
            assert isinstance(reply, Response), reply
            assert reply.status == 200
        records = wait_for(lambda: running.audit() if len(running.audit()) == 3 else [])
        assert [record.get("client_name") for record in records] == [
            None,
            "pc1.corp.example",
            "jdoe@corp.example",
        ]
        assert "client_certificate" not in records[0]


@pytest.mark.parametrize(
    "reason",
    [
        "certificate-revoked",
        "certificate-expired",
        "certificate-purpose",
        "certificate-untrusted",
    ],
)
def test_an_invalid_optional_certificate_is_refused(
    bridge_with: BridgeWith, lab: Lab, refused: dict[str, LabCredential], reason: str
) -> None:
    with bridge_with(CertificatePolicy.OPTIONAL) as running:
        assert not isinstance(outcome(running, refused[reason]), Response)
        running.wait_for_reason(reason)
    assert not lab.site.received()


def test_no_certificate_is_used_if_none_is_requested(
    bridge_with: BridgeWith, lab: Lab, refused: dict[str, LabCredential]
) -> None:
    with bridge_with(CertificatePolicy.NONE) as running:
        # A certificate that is not requested is not sent, so it cannot be refused either.
        for credential in (None, lab.computer, refused["certificate-revoked"]):
            reply = outcome(running, credential)
            assert isinstance(reply, Response), reply
            assert reply.status == 200
        records = wait_for(lambda: running.audit() if len(running.audit()) == 3 else [])
        for record in records:
            assert not {"client", "certificate"} & record.keys()


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(
    ("policy", "requests"),
    [
        (CertificatePolicy.COMPUTER, True),
        (CertificatePolicy.OPTIONAL, True),
        (CertificatePolicy.NONE, False),
    ],
)
def test_the_server_sends_a_certificate_request_only_if_needed(
    bridge_with: BridgeWith,
    lab: Lab,
    tmp_path: Path,
    policy: CertificatePolicy,
    requests: bool,
    version: str,
) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(lab.pki.root.public_bytes(Encoding.PEM))
    with bridge_with(policy) as running:
        host, port = running.address
        command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", BRIDGED]
        command += ["-CAfile", str(root), "-msg", version]
        done = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    output = done.stdout.decode()
    assert ", ServerHello" in output
    assert (", CertificateRequest" in output) == requests
    if not requests:
        assert "No client certificate CA names sent" in output


# A policy module requests no certificate, and gets a whole message in the query (protocol.md 8.4)


def test_a_policy_module_accepts_heads_of_up_to_128_kb(lab: Lab, tmp_path: Path) -> None:
    role = bridged_publication(lab.policy).directories["sms_mp"]
    policy = changed(
        lab.policy,
        tmp_path / "audit.jsonl",
        certificate_policy=CertificatePolicy.NONE,
        client_trust=None,
        request_head=131_072,
        directories={
            "certsrv": replace(role, profile=shipped_roles().roles["policy-module"]),
        },
    )
    target = f"/certsrv/mscep/mscep.dll?operation=PKIOperation&message={'A' * 60_000}"
    with Running(lab, policy) as running:
        for padding, sent in ((40_000, True), (80_000, False)):
            with running.anonymous() as client:
                # An unlisted field, which is not forwarded.
                result = outcome_of(client, "GET", target, headers={"X-Padding": "x" * padding})
            assert isinstance(result, Response), result
            assert bool(lab.site.received()) == sent
            lab.site.clear()
        running.wait_for_reason("head-too-large")
        output = (tmp_path / "audit.jsonl").read_text("utf-8")
    # The message is like a body, and so is not recorded.
    assert '"target":"/certsrv/mscep/mscep.dll?operation=PKIOperation&message=..."' in output
    assert "AAAA" not in output
