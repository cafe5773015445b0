from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import SignatureAlgorithmOID

from ibcm_bridge.conformance.kit import Client, make_kit, now
from ibcm_bridge.conformance.revocation import Revocation
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.authority_files import write_authorities
from ibcm_bridge.lab.pki.certificates import (
    LabCredential,
    PrivateKey,
    authority_extensions,
    sign,
)


def test_a_kit_is_used_again_with_the_same_authorities(tmp_path: Path) -> None:
    first, pki = make_kit(tmp_path / "kit", None, now())
    second, again = make_kit(tmp_path / "kit", None, now())
    assert first.root == second.root == pki.root == again.root
    assert first.clients[Client.COMPUTER] is not None
    assert {client for client, found in second.clients.items() if found is None} == {Client.NONE}
    revoked = second.clients[Client.REVOKED]
    assert revoked is not None
    serials = {entry.serial_number for crl in again.crls() for entry in crl}
    assert serials == {revoked.certificate.serial_number}
    with pytest.raises(LabError, match="already a kit"):
        make_kit(tmp_path / "kit", tmp_path, now())


def lists(folder: Path) -> dict[str, x509.CertificateRevocationList]:
    """The revocation lists in the files of a kit."""
    return {
        name: x509.load_pem_x509_crl((folder / "pki" / f"{name}.crl").read_bytes())
        for name in ("root", "issuing")
    }


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_later_start_renews_the_lists_and_keeps_what_they_revoke(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    kit, _ = make_kit(folder, None, now())
    revocation = Revocation(folder, 1)
    in_a_run = [revocation.new_client() for _ in range(2)]
    for credential in in_a_run:
        assert revocation.revoke(credential) == ""
    first = lists(folder)
    later = now() + timedelta(days=20)
    assert all((crl.next_update_utc or later) < later for crl in first.values())
    make_kit(folder, None, later)
    renewed = lists(folder)
    for name, crl in renewed.items():
        assert crl.last_update_utc < later < crl.next_update_utc
        assert crl.last_update_utc > first[name].last_update_utc
        assert number(crl) > number(first[name])
    revoked = kit.clients[Client.REVOKED]
    assert revoked is not None
    assert {entry.serial_number for entry in renewed["issuing"]} == {
        each.certificate.serial_number for each in (revoked, *in_a_run)
    }
    both = b"".join((folder / "pki" / f"{name}.crl").read_bytes() for name in ("issuing", "root"))
    assert (folder / "pki" / "crls.pem").read_bytes() == both


def test_lists_never_get_an_earlier_date(tmp_path: Path) -> None:
    folder = tmp_path / "kit"
    make_kit(folder, None, now())
    revocation = Revocation(folder, 1)
    assert revocation.revoke(revocation.new_client()) == ""
    first = lists(folder)["issuing"]
    make_kit(folder, None, now())
    renewed = lists(folder)["issuing"]
    assert renewed.last_update_utc >= first.last_update_utc
    assert number(renewed) > number(first)


def test_a_list_of_another_authority_is_refused(tmp_path: Path) -> None:
    for name in ("kit", "other"):
        make_kit(tmp_path / name, None, now())
    file = tmp_path / "kit" / "pki" / "issuing.crl"
    file.write_bytes((tmp_path / "other" / "pki" / "issuing.crl").read_bytes())
    with pytest.raises(LabError, match=r"issuing.crl is not a list of the kit's issuing authority"):
        make_kit(tmp_path / "kit", None, now())
    file.unlink()
    make_kit(tmp_path / "kit", None, now())
    assert file.exists()


def test_a_kit_can_use_the_authorities_of_the_user(tmp_path: Path) -> None:
    own = LabPki.make(now=now())
    write_authorities(own, tmp_path / "own")
    for name in ("foreign-root", "foreign-issuing"):
        (tmp_path / "own" / f"{name}.pem").unlink()
    kit, pki = make_kit(tmp_path / "kit", tmp_path / "own", now())
    assert kit.root == own.root
    assert pki.foreign_root not in (own.root, own.foreign_root)
    computer = kit.clients[Client.COMPUTER]
    assert computer is not None
    computer.certificate.verify_directly_issued_by(own.issuing)


def _with_key(key: PrivateKey, folder: Path) -> None:
    """Write authorities whose issuing authority has this key."""
    own = LabPki.make(now=now())
    write_authorities(own, folder)
    root = own.authorities["root"]
    certificate = sign(
        key,
        own.issuing.subject,
        root,
        (own.issuing.not_valid_before_utc, own.issuing.not_valid_after_utc),
        authority_extensions(path_length=0),
    )
    for suffix in ("pem", "key"):
        (folder / f"issuing.{suffix}").unlink()
    LabCredential(certificate, key, ()).write(folder, "issuing")


def test_a_kit_can_use_authorities_with_rsa_keys(tmp_path: Path) -> None:
    _with_key(rsa.generate_private_key(65_537, 2_048), tmp_path / "own")
    kit, pki = make_kit(tmp_path / "kit", tmp_path / "own", now())
    computer = kit.clients[Client.COMPUTER]
    assert computer is not None
    assert computer.certificate.signature_algorithm_oid == SignatureAlgorithmOID.RSA_WITH_SHA256
    computer.certificate.verify_directly_issued_by(pki.issuing)
    # A later `serve` reads them from the kit.
    make_kit(tmp_path / "kit", None, now())


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (rsa.generate_private_key(65_537, 1_024), "has 1024 bits; use one of at least 2048"),
        (ec.generate_private_key(ec.SECP224R1()), "has 224 bits; use one of at least 256"),
    ],
)
def test_short_keys_are_refused(tmp_path: Path, key: PrivateKey, problem: str) -> None:
    _with_key(key, tmp_path / "own")
    with pytest.raises(LabError, match=problem):
        make_kit(tmp_path / "kit", tmp_path / "own", now())


def test_other_keys_and_passwords_are_refused(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_authorities(LabPki.make(now=now()), own)
    key = ed25519.Ed25519PrivateKey.generate()
    clear = (Encoding.PEM, PrivateFormat.PKCS8)
    (own / "issuing.key").write_bytes(key.private_bytes(*clear, NoEncryption()))
    with pytest.raises(LabError, match="neither an RSA nor an EC key"):
        make_kit(tmp_path / "kit", own, now())
    (own / "issuing.key").write_bytes(key.private_bytes(*clear, BestAvailableEncryption(b"secret")))
    with pytest.raises(LabError, match="has a password; write it without one: openssl pkey"):
        make_kit(tmp_path / "kit", own, now())


def test_an_issuing_authority_of_another_root_is_refused(tmp_path: Path) -> None:
    for name in ("own", "other"):
        write_authorities(LabPki.make(now=now()), tmp_path / name)
    for file in ("issuing.pem", "issuing.key"):
        (tmp_path / "own" / file).write_bytes((tmp_path / "other" / file).read_bytes())
    with pytest.raises(LabError, match=r"issuing.pem was not issued by .*root.pem"):
        make_kit(tmp_path / "kit", tmp_path / "own", now())


def test_authorities_that_are_missing_or_mixed_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"root.pem and root.key"):
        make_kit(tmp_path / "kit", tmp_path, now())
    write_authorities(LabPki.make(now=now()), tmp_path / "own")
    issuing, root = tmp_path / "own" / "issuing.key", tmp_path / "own" / "root.key"
    issuing.write_bytes(root.read_bytes())
    with pytest.raises(LabError, match="do not belong together"):
        make_kit(tmp_path / "kit", tmp_path / "own", now())
    issuing.write_bytes(b"nothing")
    with pytest.raises(LabError, match="are not PEM files"):
        make_kit(tmp_path / "kit", tmp_path / "own", now())
