"""A value that another proxy could misread is refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from ibcm_bridge.export.exported import ExportError
from ibcm_bridge.export.model import body_patterns
from ibcm_bridge.export.proxies import PROXIES
from ibcm_bridge.export.reading import exported_policy
from ibcm_bridge.export.writing import Place, safe_path

from .conftest import Load


@pytest.mark.parametrize("path", ["/a b/c", "/a;b", "/a{b", '/a"b', "/a$b", "/a\nb", "/a'b", "/ä"])
def test_a_path_that_needs_quoting_is_refused(path: str) -> None:
    with pytest.raises(ExportError, match="cannot be written to a configuration; use only"):
        safe_path(Path(path))


def test_another_path_is_written() -> None:
    assert safe_path(Path("/etc/pki/ibcm_1.internet-2/x.pem")) == "/etc/pki/ibcm_1.internet-2/x.pem"


def test_a_path_of_windows_is_refused_with_the_machine_to_use() -> None:
    with pytest.raises(ExportError, match="run export on the machine of the proxy"):
        safe_path(PureWindowsPath("C:/bridge/pki/root.pem"))


def test_a_key_with_a_passphrase_cannot_be_exported(load: Load, demo_folder: Path) -> None:
    key = load_pem_private_key((demo_folder / "pki/bridge-server.key").read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (demo_folder / "pki/encrypted.key").write_bytes(encrypted)
    (demo_folder / "passphrase").write_text("x")
    with_passphrase = "key: pki/encrypted.key\n      passphrase: {file: passphrase}\n    clients:"
    policy = load(("key: pki/bridge-server.key\n    clients:", with_passphrase))
    with pytest.raises(ExportError, match=r"bridge\.internet\.example: other proxies read PEM"):
        exported_policy(policy, holds_legs=False)


def test_an_authority_without_crl_cannot_be_exported(load: Load) -> None:
    lists = "        crls: [pki/root.crl, pki/issuing.crl]\n"
    exception = (
        "        without_crl:\n"
        "          - {authority: pki/root.pem, because: a test of the export}\n"
    )
    legs = "    site_systems:"
    policy = load((f"{lists}{legs}", f"        crls: [pki/issuing.crl]\n{exception}{legs}"))
    with pytest.raises(ExportError, match="need a CRL of every authority, or of none"):
        exported_policy(policy, holds_legs=False)


def test_a_long_folder_has_no_socket(load: Load) -> None:
    with pytest.raises(ExportError, match="too long for a Unix socket"):
        PROXIES["nginx"].export(load(), Place("p", "d", Path("/x" * 60)))


@pytest.mark.parametrize(
    ("length", "is_length"),
    [
        ("1", True),
        ("0001073741824", True),
        ("999999999", True),
        ("1999999999", True),
        ("2147483648", False),
        ("4294967297", False),
        ("0", False),
        ("", False),
        ("1x", False),
    ],
)
def test_a_length_fits_into_31_bits(load: Load, length: str, is_length: bool) -> None:
    roles = exported_policy(load(), holds_legs=False).listeners[0].publications[0].roles
    patterns = [pattern for role in roles for pattern in body_patterns(role)]
    head = f"CCM_POST {length} multipart/mixed"
    assert any(re.search(pattern, head) for pattern in patterns) == is_length
