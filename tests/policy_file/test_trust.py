"""Authorities and revocation lists of a policy file, in the supported forms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import (
    authority_extensions,
    authority_period,
    ec_key,
    pem,
    sign,
)
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
)
from tests.policy_samples import MP, TRUST, Problems, bridge, changed, sample

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


# Self-signed certificates under issuing


ISSUING = "issuing: [pki/issuing.pem]"
SIDES = pytest.mark.parametrize("side", ["clients", "site_systems"])


def on(side: str, issuing: str, anchors: str = "pki/root.pem") -> str:
    """A policy whose two trusts differ."""
    crls = "crls: [pki/root.crl, pki/issuing.crl, other.crl]"
    changed_trust = f"{{anchors: [{anchors}], issuing: [{issuing}], {crls}}}"
    text = bridge(MP)
    place = "clients: {trust: " if side == "clients" else "      trust: "
    assert text.count(place + TRUST) == 1
    return sample(text.replace(place + TRUST, place + changed_trust))


@pytest.fixture
def other(directory: Path) -> LabPki:
    """Another root, in files of its own and in a file with an issuing authority."""
    made = LabPki.make(now=datetime.now(UTC))
    root = made.root.public_bytes(serialization.Encoding.PEM)
    (directory / "other.pem").write_bytes(root)
    (directory / "bundle.pem").write_bytes((directory / "pki/issuing.pem").read_bytes() + root)
    (directory / "other.crl").write_bytes(made.crls()[0].public_bytes(serialization.Encoding.PEM))
    return made


@SIDES
@pytest.mark.parametrize("files", ["pki/issuing.pem, other.pem", "bundle.pem"])
def test_a_self_signed_certificate_under_issuing_is_refused_unless_it_is_an_anchor(
    load: Load, problems: Problems, other: LabPki, side: str, files: str
) -> None:
    ((line, message),) = problems(on(side, files))
    name = other.root.subject.rfc4514_string()
    assert f"{side}.trust.issuing." in message
    text = f"{name} is self-signed and not in anchors; add it there, or remove it here"
    assert message.endswith(text)
    assert line > 0
    load(on(side, files, "pki/root.pem, other.pem"))


@SIDES
def test_a_self_issued_certificate_with_another_key_may_be_under_issuing(
    load: Load, directory: Path, pki: LabPki, other: LabPki, side: str
) -> None:
    """An authority that renews its key issues it (RFC 5280 section 3.2)."""
    valid, extensions = authority_period(datetime.now(UTC)), authority_extensions(path_length=None)
    new = sign(ec_key(), pki.root.subject, pki._root, valid, extensions)
    (directory / "new.pem").write_bytes(pem(new))
    text = on(side, "pki/issuing.pem, new.pem").replace(
        "other.crl]}",
        "other.crl], without_crl: [{authority: new.pem, because: it issues nothing yet}]}",
    )
    load(text)
