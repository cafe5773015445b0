"""`ibcm-bridge fetch`: one fetch of the revocation lists of a policy."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.commands.main import main
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy_file import load_policy
from tests.list_publisher import publishing

NAMES = ("root.crl", "issuing.crl")
POLICY = """
version: 1
publications:
  - name: bridge.internet.example
    mode: bridge
    listen: 127.0.0.1:8443
    certificate: {{chain: pki/bridge-server.pem, key: pki/bridge-server.key}}
    clients:
      trust: &trust
        anchors: [pki/root.pem]
        issuing: [pki/issuing.pem]
        fetch: {{urls: ["{url}/root.crl", "{url}/issuing.crl"], folder: lists}}
    site_systems:
      certificate: {{chain: pki/bridge-client.pem, key: pki/bridge-client.key}}
      trust: *trust
    roles:
      management-point: {{site_system: https://mp01.corp.example}}
"""


@pytest.fixture(scope="module")
def today() -> LabPki:
    """The command has no clock to set."""
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, today: LabPki) -> Path:
    folder = tmp_path_factory.mktemp("today") / "pki"
    today.write(folder)
    return folder


@pytest.fixture
def published(tmp_path: Path, files: Path) -> Path:
    """The folder of a publisher, with both lists."""
    published = tmp_path / "published"
    published.mkdir()
    for name in NAMES:
        shutil.copy(files / name, published)
    return published


@pytest.fixture
def url(published: Path) -> Iterator[str]:
    with publishing(published) as url:
        yield url


@pytest.fixture
def policy_file(tmp_path: Path, files: Path, url: str) -> Path:
    shutil.copytree(files, tmp_path / "pki")
    (tmp_path / "lists").mkdir()
    policy = tmp_path / "bridge.yaml"
    policy.write_text(POLICY.format(url=url), "utf-8")
    return policy


def fetch(policy: Path) -> int:
    return main(["fetch", "--config", str(policy)])


def test_both_lists_are_fetched_and_found_by_the_next_start(
    policy_file: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(policy_file) == 0
    shown = capsys.readouterr().out
    assert shown.count("was fetched") == 4, "two lists for clients, and for site systems"
    assert "0 problems, 0 warnings" in shown
    stored = sorted(path.read_bytes() for path in (policy_file.parent / "lists").iterdir())
    assert stored == sorted((published / name).read_bytes() for name in NAMES)
    for _, publication in load_policy(policy_file).bridged():
        assert publication.site_system_trust.awaited == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_ca_without_a_list_is_a_problem(
    policy_file: Path, published: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (published / name).unlink()
    assert fetch(policy_file) == 1
    shown = capsys.readouterr().out
    assert f"{name}: the response has status 404" in shown
    (missing,) = (
        line
        for line in shown.splitlines()
        if line.startswith("PROBLEM: bridge.internet.example: clients.trust: ")
    )
    assert "no revocation list of CN=Lab " + Path(name).stem.title() in missing
    assert missing.endswith("its certificates are refused")


def test_a_publisher_that_is_down_is_a_warning_while_the_stored_lists_are_current(
    policy_file: Path, published: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(policy_file) == 0
    for name in NAMES:
        (published / name).unlink()
    assert fetch(policy_file) == 0
    assert "0 problems, 4 warnings" in capsys.readouterr().out


def test_an_expired_list_is_a_problem(
    policy_file: Path, published: Path, today: LabPki, capsys: pytest.CaptureFixture[str]
) -> None:
    now = datetime.now(UTC)
    _, expired = today.crls(this_update=now - timedelta(9), next_update=now - timedelta(2))
    (published / "issuing.crl").write_bytes(expired.public_bytes(Encoding.DER))
    assert fetch(policy_file) == 1
    shown = capsys.readouterr().out
    assert re.search(
        "PROBLEM: .*Lab Issuing CA.* expired on .* every certificate is refused", shown
    )
    assert not re.search("Lab Issuing CA.* expires on", shown)


def test_a_policy_that_cannot_be_loaded_is_a_problem(
    policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (policy_file.parent / "lists").rmdir()
    assert fetch(policy_file) == 1
    assert "there is no folder" in capsys.readouterr().err
