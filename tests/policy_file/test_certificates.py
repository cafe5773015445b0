"""Certificates and revocation lists of a policy file, in every supported form."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.commands.check.publications import publication_text
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import BridgePublication, Listener
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings, TlsVersion
from ibcm_bridge.policy.trust import Trust
from ibcm_bridge.policy_file import PolicyError, load_policy
from ibcm_bridge.policy_file.crl_files import parse_crls

SECRET = "a passphrase with spaces"
PAIR = "      chain: pki/bridge-server.pem\n      key: pki/bridge-server.key\n"
CRLS = "crls: [pki/root.crl, pki/issuing.crl]"


@pytest.fixture(scope="module")
def pki() -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


@pytest.fixture(scope="module")
def files(pki: LabPki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the shipped policy, and the same certificate and key in other forms."""
    path = tmp_path_factory.mktemp("files")
    pki.write(path / "pki")
    key = load_pem_private_key((path / "pki/bridge-server.key").read_bytes(), None)
    leaf, issuing = x509.load_pem_x509_certificates((path / "pki/bridge-server.pem").read_bytes())
    encryption = BestAvailableEncryption(SECRET.encode())
    (path / "locked.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    )
    (path / "bridge.pfx").write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"bridge",
            key,  # type: ignore[arg-type]
            leaf,
            [pki.root, issuing],
            encryption,
        )
    )
    (path / "no-key.pfx").write_bytes(
        pkcs12.serialize_key_and_certificates(None, None, leaf, None, encryption)
    )
    (path / "secret.txt").write_text(f"{SECRET}\n")
    (path / "wrong.txt").write_text("another\n")
    (path / "lists").mkdir()
    for name in ("root", "issuing"):
        (path / f"lists/{name}.crl").write_bytes((path / f"pki/{name}.crl").read_bytes())
    (path / "empty").mkdir()
    return path


@pytest.fixture
def directory(files: Path, tmp_path: Path) -> Path:
    """A copy of the files for a test to change."""
    return Path(shutil.copytree(files, tmp_path, dirs_exist_ok=True))


Load = Callable[..., Policy]


@pytest.fixture
def load(directory: Path) -> Load:
    def load_changed(*changes: tuple[str, str]) -> Policy:
        text = shipped_policy().replace("../audit.jsonl", "audit.jsonl")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        (directory / "bridge.yaml").write_text(text, "utf-8")
        return load_policy(directory / "bridge.yaml")

    return load_changed


def bridge(policy: Policy) -> BridgePublication:
    (bridged,) = [
        publication
        for listener in policy.listeners
        if isinstance(listener, Listener)
        for publication in listener.publications.values()
        if isinstance(publication, BridgePublication) and publication.client_trust
    ]
    return bridged


def client_trust(policy: Policy) -> Trust:
    trust = bridge(policy).client_trust
    assert trust is not None
    return trust


def problems(load: Load, *changes: tuple[str, str]) -> str:
    with pytest.raises(PolicyError) as caught:
        load(*changes)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# Certificates with their keys


def indented(*lines: str) -> str:
    return "".join(f"      {line}\n" for line in lines)


def test_a_pfx_file_is_the_same_as_chain_and_key(load: Load) -> None:
    plain = bridge(load()).credential
    new = indented("pfx: bridge.pfx", "passphrase: {file: secret.txt}")
    given = bridge(load((PAIR, new))).credential
    assert given.chain_pem == plain.chain_pem, "in order, and without the root"
    keys = [
        load_pem_private_key(credential.key_pem, None).public_key() for credential in (given, plain)
    ]
    assert keys[0] == keys[1]


def test_an_encrypted_key_opens_with_its_passphrase(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE_PASSPHRASE", SECRET)
    new = indented(
        "chain: pki/bridge-server.pem",
        "key: locked.key",
        "passphrase: {environment: BRIDGE_PASSPHRASE}",
    )
    credential = bridge(load((PAIR, new))).credential
    load_pem_private_key(credential.key_pem, None)
    assert SECRET not in repr(credential)


CHAIN = "chain: pki/bridge-server.pem"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["pfx: bridge.pfx", "passphrase: {file: wrong.txt}"], "pfx: bridge.pfx cannot be opened"),
        (["pfx: bridge.pfx"], "wrong or missing passphrase"),
        (["pfx: bridge.pfx"], "write passphrase: {file: PATH} or {environment: NAME}"),
        (
            ["pfx: bridge.pfx", "passphrase: {environment: NOT_SET_HERE}"],
            "environment variable NOT_SET_HERE is not set",
        ),
        (["pfx: bridge.pfx", "passphrase: {file: none.txt}"], "none.txt cannot be read"),
        (["pfx: bridge.pfx", "passphrase: {}"], "passphrase: write either file or environment"),
        (
            ["pfx: bridge.pfx", "passphrase: secret"],
            "passphrase: invalid value; write keys and values",
        ),
        (
            ["pfx: no-key.pfx", "passphrase: {file: secret.txt}"],
            "contains no certificate with its private key",
        ),
        (["pfx: pki/root.pem"], "cannot be opened"),
        (["pfx: bridge.pfx", CHAIN], "write either pfx, or chain and key"),
        ([CHAIN], "key: this key is missing"),
        ([CHAIN, "key: locked.key"], "locked.key is encrypted; write passphrase: {file: PATH} or"),
        (
            [CHAIN, "key: pki/bridge-server.key", "passphrase: {file: secret.txt}"],
            "key: pki/bridge-server.key is not encrypted; remove passphrase",
        ),
        (
            [CHAIN, "key: locked.key", "passphrase: {file: wrong.txt}"],
            "wrong or missing passphrase",
        ),
    ],
)
def test_a_certificate_that_cannot_be_opened_is_reported(
    load: Load, lines: list[str], message: str
) -> None:
    assert message in problems(load, (PAIR, indented(*lines)))


def test_a_key_that_every_user_can_read_is_a_warning(load: Load, directory: Path) -> None:
    assert bridge(load()).credential.exposed_file is None
    (directory / "pki/bridge-server.key").chmod(0o644)
    policy = load()
    assert bridge(policy).credential.exposed_file == directory / "pki/bridge-server.key"
    text = f"{directory / 'pki/bridge-server.key'} has a private key; every user of this machine"
    assert f"{text} can read it; restrict access" in warnings(policy)


def warnings(policy: Policy, days: float = 0) -> list[str]:
    now = datetime.now(UTC) + timedelta(days=days)
    found = check_policy(policy, now, verify_authority)
    return [
        finding.text
        for finding in found
        if finding.level is Level.WARNING and finding.requirement != "BRIDGE-HTTPS-ONLY"
    ]


def facts(policy: Policy) -> str:
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    assert not [finding for finding in found if finding.level is Level.PROBLEM]
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    return "\n".join(finding.text for finding in found)


# Revocation lists


def test_lists_may_be_in_a_folder(load: Load, directory: Path) -> None:
    trust = client_trust(load((CRLS, "crls: [lists]")))
    assert len(trust.crls) == 2
    assert trust.revocation.sources == (directory / "lists",)


def test_an_empty_folder_has_no_list(load: Load) -> None:
    found = problems(load, (CRLS, "crls: [empty]"))
    assert "no revocation list of CN=Lab Root CA" in found
    policy = load((CRLS, "crls: [lists, empty]"))
    assert any("empty is a folder without .crl or .pem files" in text for text in warnings(policy))


def test_other_files_in_a_folder_are_not_errors(load: Load, directory: Path) -> None:
    (directory / "lists/broken.crl").write_bytes(b"broken")
    (directory / "lists/other.crl").write_bytes(
        LabPki.make(now=datetime.now(UTC)).branch("pc.x")[1].public_bytes(Encoding.DER)
    )
    found = warnings(load((CRLS, "crls: [lists]")))
    assert any("broken.crl is not a revocation list" in text for text in found)
    assert any(
        "Lab Branch CA" in text and "not listed under anchors or issuing" in text for text in found
    )
    new = "crls: [pki/root.crl, pki/issuing.crl, lists/broken.crl]"
    assert "broken.crl is not a revocation list" in problems(load, (CRLS, new))


def test_a_delta_list_is_not_enough(load: Load, directory: Path, pki: LabPki) -> None:
    delta = pki.issuing_crl([], 1_001, base=1_000).public_bytes(Encoding.DER)
    (directory / "delta.crl").write_bytes(delta)
    found = problems(load, (CRLS, "crls: [pki/root.crl, delta.crl]"))
    assert "no revocation list of CN=Lab Issuing CA" in found
    policy = load((CRLS, "crls: [pki/root.crl, pki/issuing.crl, delta.crl]"))
    assert any("is for base list number 1000" in text for text in warnings(policy))


def test_an_authority_without_a_list_requires_a_reason(load: Load, directory: Path) -> None:
    new = "crls: [pki/root.crl]\n        without_crl:\n          - {authority: %s%s}"
    because = ", because: it publishes no list"
    for name in (
        "pki/issuing.pem",
        '"CN=Lab Issuing CA,O=ibcm-bridge lab\\\\, not for production"',
    ):
        policy = load((CRLS, new % (name, because)))
        ((subject, _),) = client_trust(policy).revocation.without_crl
        assert "Lab Issuing CA" in subject.rfc4514_string()
        assert any(
            "without a revocation list, because: it publishes" in w for w in warnings(policy)
        )
    assert "because: this key is missing" in problems(load, (CRLS, new % ("pki/issuing.pem", "")))
    found = problems(load, (CRLS, new % ("pki/mp01.pem", because)))
    assert "pki/mp01.pem is not in anchors or issuing; write a file or subject" in found


def test_grace_and_warn_before_are_applied(load: Load) -> None:
    policy = load((CRLS, f"{CRLS}\n        grace: 12h\n        warn_before: 3d"))
    revocation = client_trust(policy).revocation
    assert revocation.grace == timedelta(hours=12)
    assert revocation.warn_before == timedelta(days=3)
    assert "accepted for 12 h after they expire (grace)" in facts(policy)
    assert any("renew it" in text for text in warnings(policy, days=5))
    assert any("in its grace" in text for text in warnings(policy, days=7.2))
    plain = load()
    assert client_trust(plain).revocation.grace == timedelta(0)
    assert not warnings(plain, days=5)
    assert "grace" in problems(load, (CRLS, f"{CRLS}\n        grace: 12"))


def test_lists_to_fetch_may_be_missing_at_the_start(load: Load, directory: Path) -> None:
    url = "http://pki.internet.example/issuing.crl"
    fetch = "crls: [pki/root.crl]\n        fetch: {urls: [%s], every: %s, folder: %s}"
    policy = load((CRLS, fetch % (url, "30m", "empty")))
    revocation = client_trust(policy).revocation
    assert revocation.fetch is not None
    assert (revocation.fetch.urls, revocation.fetch.every) == ((url,), timedelta(minutes=30))
    assert directory / "empty" in revocation.sources
    assert any("are refused until the list is fetched" in w for w in warnings(policy))
    kept = (directory / "pki/issuing.crl").read_bytes()
    (directory / "empty/fetched-0.crl").write_bytes(kept)
    policy = load((CRLS, fetch % (url, "30m", "empty")))
    assert f"`run` fetches {url} every 30 min; `check` does not" in facts(policy)
    assert not warnings(policy)
    for bad, message in (
        (("https://pki.internet.example/a.crl", "30m", "empty"), "lists are signed"),
        ((url, "5s", "empty"), "less than a minute; write at least 1m"),
        ((url, "30m", "nowhere"), "there is no folder"),
        ((url, "often", "empty"), "a number and a unit (s, m, h or d), such as 30m"),
    ):
        assert message in problems(load, (CRLS, fetch % bad))


def test_names_of_authorities_are_sent_if_configured(load: Load) -> None:
    assert not bridge(load()).send_ca_names
    assert bridge(load(("      trust:\n", "      ca_names: send\n      trust:\n"))).send_ca_names
    problems(load, ("      trust:\n", "      ca_names: maybe\n      trust:\n"))


def test_the_highest_tls_version_with_clients_can_be_set(load: Load) -> None:
    assert bridge(load()).client_tls.highest is TlsVersion.TLS_1_3
    assert "TLS 1." not in publication_text(bridge(load()))
    for version in ("1.2", "1.3"):
        key = f'      highest_tls: "{version}"\n      trust:\n'
        publication = bridge(load(("      trust:\n", key)))
        assert publication.client_tls.highest == version
        text = "; client leg limited to TLS 1.2"
        assert (text in publication_text(publication)) == (version == "1.2")
        # Only for the client leg.
        assert {
            role.site_systems.first.tls.highest for role in publication.directories.values()
        } == {TlsVersion.TLS_1_3}
    for wrong in ("1.2", '"1.1"', '"TLS 1.2"'):
        found = problems(load, ("      trust:\n", f"      highest_tls: {wrong}\n      trust:\n"))
        assert "highest_tls: invalid value; write '1.2' or '1.3', in quotes" in found


def test_the_resumption_of_sessions_can_be_set_for_each_leg(load: Load) -> None:
    publication = bridge(load())
    assert (publication.clients_resume, publication.legs_resume) == (False, True)
    trust = "      trust:\n"
    for clients in ("allow", "refuse"):
        found = bridge(load((trust, f"      resumption: {clients}\n{trust}")))
        assert found.clients_resume is (clients == "allow")
        assert found.legs_resume
    for legs in ("allow", "refuse"):
        found = bridge(load((", and their CAs\n", f"\n      resumption: {legs}\n")))
        assert found.legs_resume is (legs == "allow")
        assert not found.clients_resume
    found = problems(load, (trust, f"      resumption: true\n{trust}"))
    assert "clients.resumption: invalid value; write allow or refuse" in found


@pytest.mark.parametrize("value", CipherSuites)
def test_the_cipher_suites_with_clients_can_be_set(load: Load, value: CipherSuites) -> None:
    assert bridge(load()).client_tls.suites is CipherSuites.STANDARD
    publication = bridge(load(("      trust:\n", f"      tls: {value}\n      trust:\n")))
    assert publication.client_tls.suites is value
    text = f"(tls: {value})"
    assert (text in publication_text(publication)) == (value is not CipherSuites.STANDARD)
    # Only for the client leg.
    assert {role.site_systems.first.tls for role in publication.directories.values()} == {
        TlsSettings()
    }


def test_other_cipher_suites_are_refused(load: Load) -> None:
    found = problems(load, ("      trust:\n", "      tls: old\n      trust:\n"))
    assert "clients.tls: invalid value; write modern, standard or compatible" in found


def test_unterminated_lists_are_parsed_in_linear_time() -> None:
    """A list may be untrusted; one megabyte of these stopped an earlier bridge."""
    with pytest.raises(ValueError):
        parse_crls(b"-----BEGIN X509 CRL-----\n" * 400_000)
