"""Checks of a certification path: minimum strengths (protocol.md §9.1), and form."""

from __future__ import annotations

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from ibcm_bridge.addons.tls.verification import verify_client_path
from ibcm_bridge.authentication.certification_path import (
    MALFORMATIONS,
    _Form,
    is_in_time,
    is_self_signed,
    judge_path,
    malformation,
    weak_key,
    weak_signature,
)
from ibcm_bridge.authentication.revocation import loaded_lists
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import PrivateKey
from ibcm_bridge.policy.trust import Trust

NOW = datetime(2026, 1, 1, tzinfo=UTC)

KEYS = {
    "rsa-2048": (lambda: rsa.generate_private_key(65537, 2048), None),
    "rsa-1024": (lambda: rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits"),
    "ec-256": (lambda: ec.generate_private_key(ec.SECP256R1()), None),
    "ec-224": (lambda: ec.generate_private_key(ec.SECP224R1()), "an EC key of 224 bits"),
    "ed25519": (ed25519.Ed25519PrivateKey.generate, None),
    "dsa": (lambda: dsa.generate_private_key(2048), "other than RSA, EC"),
}


@pytest.fixture(scope="module")
def trust(pki: LabPki) -> Trust:
    return Trust((pki.root,), (pki.issuing,), pki.crls())


@pytest.mark.parametrize("kind", KEYS)
def test_a_weak_key_is_refused(pki: LabPki, trust: Trust, kind: str) -> None:
    make, weakness = KEYS[kind]
    certificate = pki.computer_with_key("pc1.corp.example", make()).certificate  # type: ignore[operator]
    verdict = judge_path(trust, loaded_lists(trust, NOW), [certificate, pki.issuing, pki.root], NOW)
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
    verdict = judge_path(trust, loaded_lists(trust, NOW), [good, weak, pki.root], NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.detail[-9:]) == (Reason.CERTIFICATE_WEAK, "(depth 1)")


def signed_with(pki: LabPki, directory: Path, digest: str) -> x509.Certificate:
    """A client certificate signed with a digest that `cryptography` no longer signs with."""
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
def test_a_weak_signature_is_refused(tmp_path: Path, digest: str, weak: bool) -> None:
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


def test_the_signature_of_an_anchor_is_not_checked(
    pki: LabPki, trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ibcm_bridge.authentication.certification_path.weak_signature",
        lambda certificate: "weak" if certificate == pki.root else None,
    )
    path = [pki.computer("pc1.corp.example").certificate, pki.issuing, pki.root]
    assert judge_path(trust, loaded_lists(trust, NOW), path, NOW) == ()


# Self-signed certificates and anchors


KEY = ec.generate_private_key(ec.SECP256R1())
OLD_KEY = rsa.generate_private_key(65537, 2048)


def named(common_name: str, kind: _ASN1Type = _ASN1Type.UTF8String) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name, kind)])


def signed(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, by: PrivateKey, **more: object
) -> x509.Certificate:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=30))
    return builder.sign(by, None if isinstance(by, ed25519.Ed25519PrivateKey) else SHA256(), **more)  # type: ignore[arg-type]


ED25519 = ed25519.Ed25519PrivateKey.generate()
PSS = padding.PSS(padding.MGF1(SHA256()), 32)
ROOT = named("Root")
SELF_SIGNED = {
    "EC": (signed(ROOT, ROOT, KEY, KEY), True),
    "RSA": (signed(ROOT, ROOT, OLD_KEY, OLD_KEY), True),
    "RSASSA-PSS": (signed(ROOT, ROOT, OLD_KEY, OLD_KEY, rsa_padding=PSS), True),
    "Ed25519": (signed(ROOT, ROOT, ED25519, ED25519), True),
    "names in other letters": (signed(ROOT, named("ROOT"), KEY, KEY), True),
    "names in other encodings": (
        signed(ROOT, named("Root", _ASN1Type.PrintableString), KEY, KEY),
        True,
    ),
    "a new key, signed with the old one": (signed(ROOT, ROOT, KEY, OLD_KEY), False),
    "the old key, signed with a new one": (signed(ROOT, ROOT, OLD_KEY, KEY), False),
    "another issuer": (signed(named("Issuing"), ROOT, KEY, OLD_KEY), False),
}


@pytest.mark.parametrize(("certificate", "expected"), SELF_SIGNED.values(), ids=SELF_SIGNED)
def test_self_signed_is_decided_by_the_signature(
    certificate: x509.Certificate, expected: bool
) -> None:
    assert is_self_signed(certificate) is expected


def test_a_path_ends_at_an_anchor(pki: LabPki, trust: Trust) -> None:
    path = [pki.computer("pc1.corp.example").certificate, pki.issuing, pki.root]
    assert judge_path(trust, loaded_lists(trust, NOW), path, NOW) == ()
    other = LabPki.make(now=NOW)
    hidden = Trust((other.root,), (pki.root, pki.issuing), (*pki.crls(), *other.crls()))
    verdict = judge_path(hidden, loaded_lists(hidden, NOW), path, NOW)
    assert isinstance(verdict, Deny)
    assert verdict.reason is Reason.CERTIFICATE_UNTRUSTED


# Form (RFC 5280). Real handshakes with each are in tests/addons/tls/test_real_certificates.py.

END_ENTITY = _Form(
    issues=False,
    version_3=True,
    extensions=4,
    subject=True,
    issuer=True,
    authority=False,
    signs_certificates=False,
    signs_lists=False,
    names=1,
)
AUTHORITY = dataclasses.replace(
    END_ENTITY,
    issues=True,
    authority=True,
    signs_certificates=True,
    signs_lists=True,
    names=None,
)

WELL_FORMED = {
    "an end-entity certificate": END_ENTITY,
    "an authority": AUTHORITY,
    "an authority without keyUsage": dataclasses.replace(
        AUTHORITY, signs_certificates=None, signs_lists=False
    ),
    "an authority with a subjectAltName": dataclasses.replace(AUTHORITY, names=1),
    "no keyUsage": dataclasses.replace(END_ENTITY, signs_certificates=None),
    "no subjectAltName": dataclasses.replace(END_ENTITY, names=None),
    "no subject": dataclasses.replace(END_ENTITY, subject=False),
    "an authority at the end of the path": dataclasses.replace(AUTHORITY, issues=False),
    "version 1 without extensions": dataclasses.replace(
        END_ENTITY, version_3=False, extensions=0, signs_certificates=None, names=None
    ),
}
MALFORMED = {
    # section of RFC 5280 -> variants of the certificates above
    "4.1.2.9": [
        dataclasses.replace(END_ENTITY, version_3=False),
        dataclasses.replace(AUTHORITY, version_3=False),
    ],
    "4.1.2.4": [
        dataclasses.replace(END_ENTITY, issuer=False),
        dataclasses.replace(AUTHORITY, issuer=False),
    ],
    "4.1.2.6": [
        dataclasses.replace(END_ENTITY, subject=False, names=None),
        dataclasses.replace(END_ENTITY, subject=False, signs_lists=True),
        dataclasses.replace(AUTHORITY, subject=False, names=1),
        dataclasses.replace(AUTHORITY, subject=False, names=1, issues=False),
    ],
    "4.2.1.6": [
        dataclasses.replace(END_ENTITY, names=0),
        dataclasses.replace(AUTHORITY, names=0),
    ],
    "6.1.4 (k)": [
        dataclasses.replace(AUTHORITY, authority=False),
        dataclasses.replace(AUTHORITY, authority=False, signs_certificates=None),
    ],
    "6.1.4 (n)": [dataclasses.replace(AUTHORITY, signs_certificates=False)],
    "4.2.1.9": [dataclasses.replace(END_ENTITY, signs_certificates=True)],
}


def sections(form: _Form) -> set[str]:
    return {row.section for row in MALFORMATIONS if row.found(form)}


@pytest.mark.parametrize("form", WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_well_formed_certificate_matches_no_row(form: _Form) -> None:
    assert sections(form) == set()


@pytest.mark.parametrize("section", MALFORMED)
def test_a_malformed_certificate_matches_its_row(section: str) -> None:
    for form in MALFORMED[section]:
        assert section in sections(form), form


def test_every_row_matches_a_malformed_certificate() -> None:
    forms = [form for some in MALFORMED.values() for form in some]
    for row in MALFORMATIONS:
        assert any(row.found(form) for form in forms), row.text
    assert {row.section for row in MALFORMATIONS} == set(MALFORMED)


def test_the_detail_of_a_malformation_has_its_section_and_its_depth(
    pki: LabPki, trust: Trust
) -> None:
    computer = pki.computer("pc1.corp.example").certificate
    assert malformation(computer, issues=False) is None
    text = "is not a CA according to its basicConstraints (RFC 5280 section 6.1.4 (k))"
    assert malformation(computer, issues=True) == text
    verdict = judge_path(trust, loaded_lists(trust, NOW), [computer, computer, pki.root], NOW)
    assert isinstance(verdict, Deny)
    assert (verdict.reason, verdict.detail) == (Reason.CERTIFICATE_INVALID, f"{text} (depth 1)")


def test_a_path_is_in_time_from_its_latest_begin_to_its_first_end(pki: LabPki) -> None:
    # OpenSSL takes a certificate as expired at its end (X509_cmp_time(3)).
    path = (pki.computer("pc1.corp.example").certificate, pki.issuing, pki.root)
    begins = max(certificate.not_valid_before_utc for certificate in path)
    ends = min(certificate.not_valid_after_utc for certificate in path)
    second = timedelta(seconds=1)
    assert [is_in_time(path, now) for now in (begins - second, begins, ends - second, ends)] == [
        False,
        True,
        True,
        False,
    ]
    assert is_in_time(path[1:], ends), "the first end is that of the end-entity certificate"
    assert not is_in_time(path, path[-1].not_valid_after_utc)
