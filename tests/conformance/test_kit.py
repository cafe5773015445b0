from pathlib import Path

import pytest

from ibcm_bridge.conformance.kit import Client, make_kit, now
from ibcm_bridge.lab.errors import LabError
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.authority_files import write_authorities


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
