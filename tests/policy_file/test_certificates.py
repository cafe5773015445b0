"""Certificates and revocation lists of a policy file: every way to give them, and its twin."""

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
from ibcm_bridge.policy.publications import BridgePublication, Listener, TlsVersion
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
    """The shipped policy's files, and the same certificate and key in other forms."""
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
    """A copy of them that a test may change."""
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
    (one,) = [
        publication
        for listener in policy.listeners
        if isinstance(listener, Listener)
        for publication in listener.publications.values()
        if isinstance(publication, BridgePublication) and publication.client_trust
    ]
    return one


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
    keys = [load_pem_private_key(one.key_pem, None).public_key() for one in (given, plain)]
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
    ("lines", "said"),
    [
        (["pfx: bridge.pfx", "passphrase: {file: wrong.txt}"], "pfx: bridge.pfx cannot be opened"),
        (["pfx: bridge.pfx"], "wrong or missing passphrase"),
        (["pfx: bridge.pfx"], "give passphrase: {file: PATH} or {environment: NAME}"),
        (["pfx: bridge.pfx", "passphrase: {environment: NOT_SET_HERE}"], "NOT_SET_HERE is not set"),
        (["pfx: bridge.pfx", "passphrase: {file: none.txt}"], "none.txt cannot be read"),
        (["pfx: bridge.pfx", "passphrase: {}"], "file or environment is wanted here"),
        (["pfx: bridge.pfx", "passphrase: secret"], "passphrase: keys and values are wanted"),
        (
            ["pfx: no-key.pfx", "passphrase: {file: secret.txt}"],
            "has no certificate with its private key",
        ),
        (["pfx: pki/root.pem"], "cannot be opened"),
        (["pfx: bridge.pfx", CHAIN], "not both"),
        ([CHAIN], "key: this key is missing"),
        ([CHAIN, "key: locked.key"], "locked.key is encrypted: give passphrase: {file: PATH} or"),
        (
            [CHAIN, "key: pki/bridge-server.key", "passphrase: {file: secret.txt}"],
            "key: pki/bridge-server.key needs no passphrase",
        ),
        (
            [CHAIN, "key: locked.key", "passphrase: {file: wrong.txt}"],
            "wrong or missing passphrase",
        ),
    ],
)
def test_a_certificate_that_cannot_be_opened_is_told(
    load: Load, lines: list[str], said: str
) -> None:
    assert said in problems(load, (PAIR, indented(*lines)))


def test_a_key_that_everybody_may_read_is_a_warning(load: Load, directory: Path) -> None:
    assert bridge(load()).credential.exposed_file is None
    (directory / "pki/bridge-server.key").chmod(0o644)
    policy = load()
    assert bridge(policy).credential.exposed_file == directory / "pki/bridge-server.key"
    text = f"{directory / 'pki/bridge-server.key'} holds a private key and is open to every user"
    assert f"{text} of this machine" in warnings(policy)


def warnings(policy: Policy, days: float = 0) -> list[str]:
    now = datetime.now(UTC) + timedelta(days=days)
    found = check_policy(policy, now, verify_authority)
    return [
        one.text
        for one in found
        if one.level is Level.WARNING and one.requirement != "BRIDGE-HTTPS-ONLY"
    ]


def facts(policy: Policy) -> str:
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    assert not [one for one in found if one.level is Level.PROBLEM]
    found = check_policy(policy, datetime.now(UTC), verify_authority)
    return "\n".join(one.text for one in found)


# Revocation lists


def test_lists_may_be_in_a_folder(load: Load, directory: Path) -> None:
    trust = client_trust(load((CRLS, "crls: [lists]")))
    assert len(trust.crls) == 2
    assert trust.revocation.sources == (directory / "lists",)


def test_an_empty_folder_has_no_list(load: Load) -> None:
    said = problems(load, (CRLS, "crls: [empty]"))
    assert "no revocation list of CN=Lab Root CA" in said
    policy = load((CRLS, "crls: [lists, empty]"))
    assert any("empty is a folder without .crl or .pem files" in one for one in warnings(policy))


def test_what_else_is_in_a_folder_stops_nothing(load: Load, directory: Path) -> None:
    (directory / "lists/broken.crl").write_bytes(b"broken")
    (directory / "lists/other.crl").write_bytes(
        LabPki.make(now=datetime.now(UTC)).branch("pc.x")[1].public_bytes(Encoding.DER)
    )
    said = warnings(load((CRLS, "crls: [lists]")))
    assert any("broken.crl is not a revocation list" in one for one in said)
    assert any("Lab Branch CA" in one and "not under anchors or issuing" in one for one in said)
    new = "crls: [pki/root.crl, pki/issuing.crl, lists/broken.crl]"
    assert "broken.crl is not a revocation list" in problems(load, (CRLS, new))


def test_a_delta_list_is_not_enough(load: Load, directory: Path, pki: LabPki) -> None:
    delta = pki.issuing_crl([], 1_001, base=1_000).public_bytes(Encoding.DER)
    (directory / "delta.crl").write_bytes(delta)
    said = problems(load, (CRLS, "crls: [pki/root.crl, delta.crl]"))
    assert "no revocation list of CN=Lab Issuing CA" in said
    policy = load((CRLS, "crls: [pki/root.crl, pki/issuing.crl, delta.crl]"))
    assert any("is for base number 1000" in one for one in warnings(policy))


def test_an_authority_without_a_list_has_to_be_named_with_a_reason(
    load: Load, directory: Path
) -> None:
    new = "crls: [pki/root.crl]\n        without_crl:\n          - {authority: %s%s}"
    because = ", because: it has never published one"
    for name in (
        "pki/issuing.pem",
        '"CN=Lab Issuing CA,O=ibcm-bridge lab\\\\, not for production"',
    ):
        policy = load((CRLS, new % (name, because)))
        ((subject, _),) = client_trust(policy).revocation.without_crl
        assert "Lab Issuing CA" in subject.rfc4514_string()
        assert any(
            "without a revocation list, because: it has never" in w for w in warnings(policy)
        )
    assert "because: say why" in problems(load, (CRLS, new % ("pki/issuing.pem", "")))
    said = problems(load, (CRLS, new % ("pki/mp01.pem", because)))
    assert "pki/mp01.pem is no file or subject of anchors or issuing" in said


def test_grace_and_warning_are_stated(load: Load) -> None:
    said = load((CRLS, f"{CRLS}\n        grace: 12h\n        warn_before: 3d"))
    revocation = client_trust(said).revocation
    assert revocation.grace == timedelta(hours=12)
    assert revocation.warn_before == timedelta(days=3)
    assert "accepted for 12 h after their end (grace)" in facts(said)
    assert any("renew it" in one for one in warnings(said, days=5))
    assert any("in its grace" in one for one in warnings(said, days=7.2))
    plain = load()
    assert client_trust(plain).revocation.grace == timedelta(0)
    assert not warnings(plain, days=5)
    said_now = problems(load, (CRLS, f"{CRLS}\n        grace: 12"))
    assert "grace" in said_now


def test_lists_may_be_fetched_and_then_need_not_be_there_yet(load: Load, directory: Path) -> None:
    url = "http://pki.internet.example/issuing.crl"
    fetch = "crls: [pki/root.crl]\n        fetch: {urls: [%s], every: %s, folder: %s}"
    policy = load((CRLS, fetch % (url, "30m", "empty")))
    revocation = client_trust(policy).revocation
    assert revocation.fetch is not None
    assert (revocation.fetch.urls, revocation.fetch.every) == ((url,), timedelta(minutes=30))
    assert directory / "empty" in revocation.sources
    assert any("until it is fetched its certificates are refused" in w for w in warnings(policy))
    kept = (directory / "pki/issuing.crl").read_bytes()
    (directory / "empty/fetched-0.crl").write_bytes(kept)
    policy = load((CRLS, fetch % (url, "30m", "empty")))
    assert "is fetched every 30 min by run (not now)" in facts(policy)
    assert not warnings(policy)
    for bad, said in (
        (("https://pki.internet.example/a.crl", "30m", "empty"), "lists are signed"),
        ((url, "5s", "empty"), "a minute is the least"),
        ((url, "30m", "nowhere"), "there is no folder"),
        ((url, "often", "empty"), "a time and its unit (s, m, h or d), such as 30m"),
    ):
        assert said in problems(load, (CRLS, fetch % bad))


def test_names_of_authorities_are_sent_when_wanted(load: Load) -> None:
    assert not bridge(load()).send_ca_names
    assert bridge(load(("      trust:\n", "      ca_names: send\n      trust:\n"))).send_ca_names
    problems(load, ("      trust:\n", "      ca_names: maybe\n      trust:\n"))


def test_the_highest_version_of_tls_with_clients_can_be_set(load: Load) -> None:
    assert bridge(load()).highest_client_tls is TlsVersion.TLS_1_3
    assert "TLS 1." not in publication_text(bridge(load()))
    for version in ("1.2", "1.3"):
        key = f'      highest_tls: "{version}"\n      trust:\n'
        publication = bridge(load(("      trust:\n", key)))
        assert publication.highest_client_tls == version
        told = "; TLS 1.2 at most with clients"
        assert (told in publication_text(publication)) == (version == "1.2")
        # Only the leg of the clients.
        assert {one.site_system.highest_tls for one in publication.directories.values()} == {
            TlsVersion.TLS_1_3
        }
    for wrong in ("1.2", '"1.1"', '"TLS 1.2"'):
        told = problems(load, ("      trust:\n", f"      highest_tls: {wrong}\n      trust:\n"))
        assert 'highest_tls: "1.2" or "1.3" is wanted' in told


def test_beginnings_of_lists_without_an_end_are_read_in_one_go() -> None:
    """A list may be fetched from a stranger; one megabyte of these stopped the bridge."""
    with pytest.raises(ValueError):
        parse_crls(b"-----BEGIN X509 CRL-----\n" * 400_000)
