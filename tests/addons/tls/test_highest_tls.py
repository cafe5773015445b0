"""`clients.highest_tls`, for clients whose TPM cannot sign RSASSA-PSS, has no effect on others."""

from __future__ import annotations

import dataclasses
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.tls_settings import TlsSettings, TlsVersion
from ibcm_bridge.policy.trust import Credential
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, outcome_of

WITHOUT_PSS = "RSA+SHA256:RSA+SHA384:RSA+SHA512:ECDSA+SHA256:ECDSA+SHA384"
OTHER = "other.internet.example"


@dataclass(frozen=True)
class Outcome:
    """The result of OpenSSL's client."""

    has_response: bool
    version: str | None


def openssl_client(
    running: Running,
    directory: Path,
    credential: LabCredential | None,
    *options: str,
    name: str = BRIDGED,
) -> Outcome:
    """Send a request with `openssl s_client`."""
    root = directory / "root.pem"
    root.write_bytes(running.lab.pki.root.public_bytes(Encoding.PEM))
    host, port = running.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", name]
    command += ["-CAfile", str(root), "-ign_eof", *options]
    if credential is not None:
        chain, key = directory / "client.pem", directory / "client.key"
        chain.write_bytes(credential.chain_pem())
        key.write_bytes(credential.key_pem())
        command += ["-cert", str(chain), "-key", str(key), "-cert_chain", str(chain)]
    method, target = GOOD
    request = f"{method} {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    done = subprocess.run(
        command, input=request.encode(), capture_output=True, timeout=20, check=False
    )
    output = done.stdout.decode("utf-8", "replace")
    versions = [
        version for version in ("TLSv1.2", "TLSv1.3") if f"New, {version}, Cipher is" in output
    ]
    return Outcome("HTTP/1.1 200 " in output, versions[0] if versions else None)


@contextmanager
def bridge(lab: Lab, directory: Path, highest: TlsVersion, **more: object) -> Iterator[Running]:
    policy = changed(lab.policy, directory / "audit.jsonl", client_tls=TlsSettings(highest), **more)
    with Running(lab, policy) as running:
        yield running


def server_with_rsa(lab: Lab) -> Credential:
    names = [x509.DNSName(BRIDGED)]
    valid = certificates.current(datetime.now(UTC))
    made = certificates.issue(
        lab.pki._issuing,
        certificates.rsa_key(),
        BRIDGED,
        names,
        valid=valid,
        purposes=certificates.SERVER,
    )
    return Credential(made.chain_pem(), made.key_pem())


@pytest.mark.parametrize(
    ("kind", "reason"), [("ec", "certificate-missing"), ("rsa", "handshake-failed")]
)
def test_a_client_that_cannot_sign_pss_is_refused_and_its_twin_served_with_tls_1_2(
    lab: Lab, tmp_path: Path, kind: str, reason: str
) -> None:
    # With an EC key the bridge can still sign, but the client has no usable algorithm.
    own = bridged_publication(lab.policy).credential
    credential = own if kind == "ec" else server_with_rsa(lab)
    for highest in TlsVersion:
        with bridge(lab, tmp_path, highest, credential=credential) as running:
            outcome = openssl_client(running, tmp_path, lab.computer, "-sigalgs", WITHOUT_PSS)
            if highest is TlsVersion.TLS_1_3:
                assert not outcome.has_response
                running.wait_for_reason(reason)
            else:
                # The client still offers 1.3: that the bridge selects 1.2 must not look like a
                # downgrade (RFC 8446 section 4.1.3).
                assert outcome == Outcome(True, "TLSv1.2")
                assert running.audit()[-1]["client_name"] == "pc1.corp.example"
            # Only the signature algorithms of the client matter.
            assert openssl_client(running, tmp_path, lab.computer) == Outcome(
                True, f"TLSv{highest}"
            )


def test_no_other_version_is_accepted_then(lab: Lab, tmp_path: Path) -> None:
    with bridge(lab, tmp_path, TlsVersion.TLS_1_2) as running:
        for option in ("-tls1_3", "-tls1_1"):
            options = (
                (option, "-cipher", "DEFAULT:@SECLEVEL=0") if option == "-tls1_1" else (option,)
            )
            outcome = openssl_client(running, tmp_path, lab.computer, *options)
            assert outcome == Outcome(False, None), option
            running.wait_for_reason("handshake-failed")
        running.assert_serves()


def test_a_certificate_is_still_requested(lab: Lab, tmp_path: Path) -> None:
    with bridge(lab, tmp_path, TlsVersion.TLS_1_2) as running:
        assert not openssl_client(running, tmp_path, None).has_response
        running.wait_for_reason("certificate-missing")


@pytest.mark.parametrize("highest", TlsVersion)
def test_the_limit_applies_without_certificates_too(
    lab: Lab, tmp_path: Path, highest: TlsVersion
) -> None:
    nobody = {"certificate_policy": CertificatePolicy.NONE, "client_trust": None}
    with bridge(lab, tmp_path, highest, **nobody) as running:
        assert openssl_client(running, tmp_path, None) == Outcome(True, f"TLSv{highest}")


def two(policy: Policy, audit_file: Path) -> Policy:
    """Two publications on one port, the second with the lower version."""
    listener = policy.listeners[0]
    first = bridged_publication(policy)
    second = dataclasses.replace(first, name=OTHER, client_tls=TlsSettings(TlsVersion.TLS_1_2))
    publications: dict[str, BridgePublication] = {BRIDGED: first, OTHER: second}
    changed_listener = dataclasses.replace(listener, publications=publications)
    return dataclasses.replace(policy, audit_file=audit_file, listeners=(changed_listener,))


def test_publications_on_one_port_have_separate_limits(lab: Lab, tmp_path: Path) -> None:
    with Running(lab, two(lab.policy, tmp_path / "audit.jsonl")) as running:
        for name, version in ((BRIDGED, "TLSv1.3"), (OTHER, "TLSv1.2"), (BRIDGED, "TLSv1.3")):
            outcome = openssl_client(running, tmp_path, lab.computer, name=name)
            assert outcome == Outcome(True, version), name


def test_the_site_system_leg_has_its_own_limit(lab: Lab, tmp_path: Path) -> None:
    context = lab.site._contexts["management-point"]
    before = context.minimum_version
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        with bridge(lab, tmp_path, TlsVersion.TLS_1_2) as running, running.client() as client:
            reply = outcome_of(client, *GOOD)
            assert isinstance(reply, Response), reply
            assert reply.status == 200
    finally:
        context.minimum_version = before
