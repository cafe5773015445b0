"""Authorities and revocation lists of a policy file, in the supported forms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
)
from tests.policy_samples import (
    changed,
)

Load = Callable[[str], Policy]


def test_lists_and_certificates_may_be_der(load: Load, directory: Path, pki: LabPki) -> None:
    der = serialization.Encoding.DER
    (directory / "root.cer").write_bytes(pki.root.public_bytes(der))
    for name, crl in zip(("root", "issuing"), pki.crls(), strict=True):
        (directory / f"{name}-der.crl").write_bytes(crl.public_bytes(der))
    text = changed(
        ("anchors: [pki/root.pem]", "anchors: [root.cer]"),
        ("crls: [pki/root.crl, pki/issuing.crl]", "crls: [root-der.crl, issuing-der.crl]"),
    )
    publication = load(text).listeners[0].publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    assert publication.client_trust.anchors == (pki.root,)
    assert len(publication.client_trust.crls) == 2


def test_all_lists_of_a_file_are_read(load: Load, directory: Path) -> None:
    both = (directory / "pki/root.crl").read_bytes() + (directory / "pki/issuing.crl").read_bytes()
    (directory / "both.crl").write_bytes(both)
    text = changed(("crls: [pki/root.crl, pki/issuing.crl]", "crls: [both.crl]"))
    publication = load(text).listeners[0].publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    assert len(publication.client_trust.crls) == 2
