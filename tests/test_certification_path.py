"""Floors: keys and signatures below them are refused, those on them are not (protocol.md §9.1)."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ibcm_bridge.addons.verification import verify_client_path
from ibcm_bridge.certification_path import judge_path, weak_key, weak_signature
from ibcm_bridge.decisions import Deny, Reason
from ibcm_bridge.lab.pki import LabPki
from ibcm_bridge.policy import Trust
from ibcm_bridge.revocation import lists_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)

KEYS = {
    "rsa-2048": (lambda: rsa.generate_private_key(65537, 2048), None),
    "rsa-1024": (lambda: rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits"),
    "ec-256": (lambda: ec.generate_private_key(ec.SECP256R1()), None),
    "ec-224": (lambda: ec.generate_private_key(ec.SECP224R1()), "an EC key of 224 bits"),
    "ed25519": (ed25519.Ed25519PrivateKey.generate, None),
    "dsa": (lambda: dsa.generate_private_key(2048), "none of RSA, EC"),
}


@pytest.fixture(scope="module")
def trust(pki: LabPki) -> Trust:
    return Trust((pki.root,), (pki.issuing,), pki.crls())


@pytest.mark.parametrize("kind", KEYS)
def test_a_key_below_the_floor_is_refused(pki: LabPki, trust: Trust, kind: str) -> None:
    make, weakness = KEYS[kind]
    certificate = pki.computer_with_key("pc1.corp.example", make()).certificate  # type: ignore[operator]
    verdict = judge_path(trust, lists_of(trust, NOW), [certificate, pki.issuing, pki.root], NOW)
    if weakness is None:
        assert verdict == ()
    else:
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.CERTIFICATE_WEAK
        assert weakness in verdict.detail
        assert weakness in str(weak_key(certificate))


def test_an_issuing_authority_with_a_weak_key_is_refused_at_its_depth(
    pki: LabPki, trust: Trust
) -> None:
    weak = pki.computer_with_key("ca", rsa.generate_private_key(65537, 1024)).certificate
    good = pki.computer("pc1.corp.example").certificate
    verdict = judge_path(trust, lists_of(trust, NOW), [good, weak, pki.root], NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.detail[-9:]) == (Reason.CERTIFICATE_WEAK, "(depth 1)")


def signed_with(pki: LabPki, directory: Path, digest: str) -> x509.Certificate:
    """A client certificate signed with a digest that cryptography does not sign with any more."""
    key = pki._issuing.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "ca.key").write_bytes(key)
    (directory / "ca.pem").write_bytes(pki.issuing.public_bytes(Encoding.PEM))
    (directory / "ext").write_text(
        "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n"
        "subjectAltName=DNS:pc1.corp.example\nsubjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
    )
    for command in (
        "req -new -newkey rsa:2048 -nodes -subj /CN=pc1 -keyout a.key -out a.csr",
        f"x509 -req -in a.csr -CA ca.pem -CAkey ca.key -{digest} -days 30 -extfile ext -out a.pem",
    ):
        subprocess.run(
            ["openssl", *command.split()], cwd=directory, capture_output=True, check=True
        )
    return x509.load_pem_x509_certificate((directory / "a.pem").read_bytes())


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(("digest", "weak"), [("sha1", True), ("sha256", False)])
def test_a_signature_below_the_floor_is_refused(tmp_path: Path, digest: str, weak: bool) -> None:
    pki = LabPki.make(now=datetime.now(UTC))
    trust = Trust((pki.root,), (pki.issuing,), pki.crls())
    certificate = signed_with(pki, tmp_path, digest)
    verdict = verify_client_path(trust, [certificate])
    if weak:
        assert isinstance(verdict, Deny)
        assert verdict.reason is Reason.CERTIFICATE_WEAK
        assert weak_signature(certificate) == f"a signature with {digest}"
    else:
        assert verdict == ()


def test_the_signature_of_an_anchor_is_nobodys_business(
    pki: LabPki, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ibcm_bridge.certification_path.weak_signature",
        lambda one: "weak" if one == pki.root else None,
    )
    path = [pki.computer("pc1.corp.example").certificate, pki.issuing, pki.root]
    assert judge_path(trust, lists_of(trust, NOW), path, NOW) == ()
