"""A folder with the certificates of a lab, valid now: `init` checks with the current time."""

import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from tests.commands.init.options import NAMES, OWN

PASSPHRASE = "secret"


def pfx(credential: LabCredential) -> bytes:
    return pkcs12.serialize_key_and_certificates(
        b"server",
        credential.key,
        credential.certificate,
        credential.issuers,
        BestAvailableEncryption(PASSPHRASE.encode()),
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init")
    pki = LabPki.make(now=datetime.datetime.now(datetime.UTC))
    pki.write(folder / "pki")
    pki.server(*NAMES).write(folder / "pki", "names")
    own = pki.server(OWN)
    own.write(folder / "pki", "own")
    (folder / "pki" / "own.pfx").write_bytes(pfx(own))
    (folder / "pki" / "pass.txt").write_text(f"{PASSPHRASE}\n")
    return folder


@pytest.fixture
def home(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, without a policy before and after."""
    monkeypatch.chdir(lab)
    yield lab
    for left in (lab / "policy.yaml", lab / ".policy.yaml.new"):
        left.unlink(missing_ok=True)
