"""`uploads`, `engines` and `without_clamav` of a policy file."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.policy import ClamAv, Policy, UploadPolicy
from ibcm_bridge.policy.publications import UploadHosts
from ibcm_bridge.policy_file import PolicyError, load_policy


@pytest.fixture
def directory(tmp_path: Path, pki_files: Path) -> Path:
    shutil.copytree(pki_files, tmp_path / "pki")
    return tmp_path


def load(directory: Path, more: str, *changes: tuple[str, str]) -> Policy:
    text = shipped_policy().replace("publications:\n", f"{more}\npublications:\n", 1)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = directory / "changed.yaml"
    path.write_text(text, "utf-8")
    return load_policy(path)


def problems(directory: Path, more: str) -> str:
    with pytest.raises(PolicyError) as caught:
        load(directory, more)
    return str(caught.value)


def findings(policy: Policy) -> list[tuple[Level, str, str]]:
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    return [(finding.level, finding.where, finding.text) for finding in found]


def test_omitted_uploads_and_engines_have_their_defaults(directory: Path) -> None:
    policy = load(directory, "")
    assert policy.uploads == UploadPolicy()
    assert policy.clamav is None


def test_uploads_are_read(directory: Path) -> None:
    policy = load(
        directory,
        "uploads: {spool: u.sqlite, max_bytes: 65536, max_total_bytes: 1048576, sessions: 2, "
        "per_client_sessions: 1, per_client_bytes: 65536, abandoned_after: 1h}",
        ("    roles:\n", "    upload_hosts: rewrite\n    roles:\n"),
    )
    spool = directory / "u.sqlite"
    hour = timedelta(hours=1)
    assert policy.uploads == UploadPolicy(spool, 65_536, 1_048_576, 2, 1, 65_536, hour)
    publication = next(iter(policy.listeners[0].publications.values()))  # type: ignore[union-attr]
    assert publication.upload_hosts is UploadHosts.REWRITE  # type: ignore[union-attr]
    assert any(str(spool) in text for _, where, text in findings(policy) if where == "uploads")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("uploads: {spool: none/u.sqlite}", "uploads.spool: there is no folder"),
        ("uploads: {spool: pki}", "is a folder; write the name of a file in it"),
        ("uploads: {max_bytes: 65535}", "uploads.max_bytes"),
        (
            "uploads: {max_total_bytes: 1048576}",
            "uploads.max_total_bytes: less than max_bytes; write at least 67108864",
        ),
        (
            "uploads: {per_client_bytes: 67108863}",
            "uploads.per_client_bytes: less than max_bytes; write at least",
        ),
        (
            "uploads: {max_bytes: many}",
            "uploads.max_bytes: invalid value; write a whole number of bytes",
        ),
        ("uploads: {sessions: 0}", "uploads.sessions"),
        ("uploads: {abandoned_after: soon}", "uploads.abandoned_after"),
        ("engines: {clamav: {}}", "engines.clamav: write either socket: "),
        ("engines: {clamav: {socket: a, address: 'b:1'}}", "engines.clamav: write either socket: "),
        ("engines: {clamav: {address: '127.0.0.1:0'}}", "0 is not a port"),
        ("engines: {clamav: {address: localhost}}", "engines.clamav.address"),
        ("engines: {clamav: {socket: a, seconds: 0}}", "engines.clamav.seconds"),
        ("engines: {sophos: {}}", "engines.sophos: unknown key"),
        ("rules: [none]", "rules.0: "),
    ],
)
def test_an_invalid_value_is_reported(directory: Path, more: str, problem: str) -> None:
    assert problem in problems(directory, more)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("{socket: /run/clamav/clamd.ctl}", Path("/run/clamav/clamd.ctl")),
        ("{address: '127.0.0.1:3310'}", ("127.0.0.1", 3310)),
        ("{address: '[::1]:3310'}", ("::1", 3310)),
    ],
)
def test_clamav_on_this_machine_is_a_fact(
    directory: Path, text: str, address: Path | tuple[str, int]
) -> None:
    policy = load(directory, f"engines: {{clamav: {text}}}")
    assert policy.clamav == ClamAv(address)
    levels = [level for level, where, _ in findings(policy) if where == "engines.clamav"]
    assert levels == [Level.FACT]


def test_clamav_on_another_machine_is_a_warning(directory: Path) -> None:
    policy = load(directory, "engines: {clamav: {address: 'av.corp.example:3310'}}")
    levels = [level for level, where, _ in findings(policy) if where == "engines.clamav"]
    assert levels == [Level.FACT, Level.WARNING]


def test_without_clamav_has_its_reason(directory: Path) -> None:
    policy = load(
        directory,
        "engines: {clamav: {address: '127.0.0.1:3310'}}",
        (
            "      management-point:\n",
            "      management-point:\n        without_clamav: {because: policy comes first}\n",
        ),
    )
    (publication, *_) = policy.listeners[0].publications.values()  # type: ignore[union-attr]
    roles = {role.profile.name: role for role in publication.directories.values()}  # type: ignore[union-attr]
    assert roles["management-point"].profile.optional_engines == {"clamav"}
    assert roles["distribution-point"].profile.optional_engines == frozenset()
    assert any("policy comes first" in text for _, _, text in findings(policy))


def test_a_folder_of_rules_is_one_entry(directory: Path) -> None:
    folder = directory / "more-rules"
    folder.mkdir()
    (folder / "a.yar").write_bytes(b"\xff")
    assert "not UTF-8" in problems(directory, "rules: [more-rules]")
    (folder / "a.yar").write_text("rule a { condition: false }")
    (folder / "readme.txt").write_bytes(b"\xff")
    assert load(directory, "rules: [more-rules]").rule_files == (folder,)
