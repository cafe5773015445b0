"""A folder for policy files, with some invalid files."""

from __future__ import annotations

import base64
import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from ibcm_bridge.lab.pki.certificates import current, ec_key, pem, sign
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy_file import load_policy
from tests.policy_samples import (
    Problems,
    problems_of,
)

Load = Callable[[str], Policy]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, pki_files: Path) -> Path:
    """The files of the shipped policy, and some invalid files."""
    directory = tmp_path_factory.mktemp("policy")
    shutil.copytree(pki_files, directory / "pki")
    (directory / "empty.pem").write_bytes(b"")
    (directory / "text.pem").write_text("not PEM")
    (directory / "version-9.pem").write_bytes(with_version_9(directory / "pki/bridge-server.pem"))
    (directory / "latin.yar").write_bytes(b"// \xe4")
    (directory / "unreadable.pem").write_bytes(unreadable_authority())
    key = serialization.load_pem_private_key(
        (directory / "pki/bridge-server.key").read_bytes(), None
    )
    (directory / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    return directory


def with_version_9(path: Path) -> bytes:
    """A certificate with a version that does not exist."""
    (certificate, *_) = x509.load_pem_x509_certificates(path.read_bytes())
    der = certificate.public_bytes(serialization.Encoding.DER)
    version_3 = bytes.fromhex("a003020102")
    assert der.count(version_3) == 1
    text = base64.encodebytes(der.replace(version_3, version_3[:-1] + b"\x08"))
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def unreadable_authority() -> bytes:
    """An authority with an address of five bytes in its subjectAltName."""
    key = ec_key()
    address = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("300787050102030405")
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Older CA")])
    now = datetime.datetime.now(datetime.UTC)
    return pem(sign(key, name, None, current(now), [(address, False)]))


@pytest.fixture
def load(directory: Path) -> Load:
    def load_text(text: str) -> Policy:
        path = directory / "bridge.yaml"
        path.write_text(text, "utf-8")
        return load_policy(path)

    return load_text


@pytest.fixture
def problems(directory: Path) -> Problems:
    return lambda text: problems_of(directory / "bridge.yaml", text)
