"""New revocation lists of a kit, and the command that brings them to a proxy."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ibcm_bridge.conformance.kit import Client, Kit, make_kit, now, read_kit
from ibcm_bridge.conformance.revocation import Revocation


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return make_kit(tmp_path_factory.mktemp("revocation") / "kit", None, now())[0]


def issuing_list(kit: Kit) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((kit.folder / "pki" / "issuing.crl").read_bytes())


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_new_certificate_is_revoked_in_newer_lists(kit: Kit) -> None:
    revocation = Revocation(kit.folder, 1)
    before = issuing_list(kit)
    credential = revocation.new_client()
    written = read_kit(kit.folder).clients[Client.REVOKED_LATER]
    assert written is not None
    assert written.certificate == credential.certificate
    assert revocation.revoke(credential) == ""
    after = issuing_list(kit)
    assert number(after) > number(before)
    assert after.last_update_utc > before.last_update_utc
    revoked = kit.clients[Client.REVOKED]
    assert revoked is not None
    assert {entry.serial_number for entry in after} == {
        credential.certificate.serial_number,
        revoked.certificate.serial_number,
    }
    both = (kit.folder / "pki" / "crls.pem").read_bytes()
    root = (kit.folder / "pki" / "root.crl").read_bytes()
    assert both == (kit.folder / "pki" / "issuing.crl").read_bytes() + root
    # Each check has its own certificate.
    assert revocation.new_client().certificate != credential.certificate


def test_two_lists_of_the_same_second_have_different_numbers(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = now().replace(microsecond=0)
    revocation = Revocation(kit.folder, 1)
    numbers = []
    for milliseconds in (0, 500):
        made = second + timedelta(milliseconds=milliseconds)
        monkeypatch.setattr("ibcm_bridge.conformance.revocation.now", lambda made=made: made)
        revocation.revoke(revocation.new_client())
        numbers.append(number(issuing_list(kit)))
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("open('brought', 'w')", ""),
        ("import sys; sys.exit('no such proxy')", "exit status 1: no such proxy"),
    ],
)
def test_the_command_brings_the_lists_to_the_proxy(
    kit: Kit, tmp_path: Path, program: str, problem: str
) -> None:
    revocation = Revocation(kit.folder, 1, (sys.executable, "-c", program), tmp_path)
    why = revocation.revoke(revocation.new_client())
    assert why.endswith(problem)
    assert bool(why) == bool(problem)
    assert (tmp_path / "brought").exists() == (not problem)


def test_a_command_that_does_not_exist_is_one_sentence(kit: Kit, tmp_path: Path) -> None:
    revocation = Revocation(kit.folder, 1, ("no-such-program",), tmp_path)
    why = revocation.revoke(revocation.new_client())
    assert why.startswith("the command of revocation failed: [Errno 2]")
