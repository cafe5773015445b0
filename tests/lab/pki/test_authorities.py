"""The certificates and CRLs of the lab, verified with OpenSSL and cryptography."""

import re
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import ISSUING_CRL_URL, ORGANIZATION, LabCredential

NOW = datetime(2026, 1, 15, 12, 0, 0, tzinfo=UTC)
CLIENT = "sslclient"
SERVER = "sslserver"

MAKERS: dict[str, Callable[[LabPki], LabCredential]] = {
    "server": lambda pki: pki.server("mp01.corp.example", "mp.internet.example"),
    "bridge_client": lambda pki: pki.bridge_client("bridge.perimeter.example"),
    "computer": lambda pki: pki.computer("pc1.corp.example"),
    "user": lambda pki: pki.user("alice@corp.example"),
    "revoked_computer": lambda pki: pki.revoked_computer("pc1.corp.example"),
    "expired_computer": lambda pki: pki.expired_computer("pc1.corp.example"),
    "wrong_purpose": lambda pki: pki.wrong_purpose("pc1.corp.example"),
    "without_purpose": lambda pki: pki.without_purpose("pc1.corp.example"),
    "self_signed": lambda pki: pki.self_signed("pc1.corp.example"),
    "foreign_computer": lambda pki: pki.foreign_computer("pc1.corp.example"),
    "foreign_server": lambda pki: pki.foreign_server("mp01.corp.example"),
}

needs_openssl = pytest.mark.needs("openssl")
every_maker = pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)


@pytest.fixture
def pki() -> LabPki:
    return LabPki.make(now=NOW)


def openssl_verify(
    pki: LabPki,
    credential: LabCredential,
    directory: Path,
    *,
    purpose: str = CLIENT,
    at: datetime = NOW,
    crls: tuple[x509.CertificateRevocationList, ...] | None = None,
) -> str:
    """Return the output of a strict `openssl verify` with the lab's root."""
    files: dict[str, bytes] = {
        "root.pem": pki.root.public_bytes(serialization.Encoding.PEM),
        "chain.pem": credential.chain_pem(),
        "crls.pem": b"".join(
            crl.public_bytes(serialization.Encoding.PEM)
            for crl in (pki.crls() if crls is None else crls)
        ),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return run_openssl_verify(
        directory / "chain.pem",
        root=directory / "root.pem",
        crls=[directory / "crls.pem"],
        purpose=purpose,
        at=at,
    )


def run_openssl_verify(
    chain: Path, *, root: Path, crls: list[Path], purpose: str, at: datetime
) -> str:
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose]
    command += ["-no-CApath", "-no-CAstore", "-CAfile", str(root), "-untrusted", str(chain)]
    command += ["-attime", str(int(at.timestamp()))]
    if crls:
        command += ["-crl_check_all", *(f"-CRLfile={crl}" for crl in crls)]
    done = subprocess.run([*command, str(chain)], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == output.endswith(": OK\n"), output
    return output


def is_ok(output: str) -> bool:
    return output.endswith(": OK\n")


@needs_openssl
@pytest.mark.parametrize(
    ("name", "purpose"),
    [("computer", CLIENT), ("user", CLIENT), ("bridge_client", CLIENT), ("server", SERVER)],
)
def test_openssl_accepts_a_valid_certificate(
    pki: LabPki, tmp_path: Path, name: str, purpose: str
) -> None:
    output = openssl_verify(pki, MAKERS[name](pki), tmp_path, purpose=purpose)
    assert is_ok(output), output


# The numbers are X509_V_ERR_*; their texts depend on the version of OpenSSL. The command continues
# after most errors, so a single error shows that the certificate has no other defect.
@needs_openssl
@pytest.mark.parametrize(
    ("name", "purpose", "errors"),
    [
        ("revoked_computer", CLIENT, ["error 23 at 0 depth"]),
        ("expired_computer", CLIENT, ["error 10 at 0 depth"]),
        ("wrong_purpose", CLIENT, ["error 26 at 0 depth"]),
        ("server", CLIENT, ["error 26 at 0 depth"]),
        ("computer", SERVER, ["error 26 at 0 depth"]),
        ("bridge_client", SERVER, ["error 26 at 0 depth"]),
        # There is no CRL for it.
        ("self_signed", CLIENT, ["error 18 at 0 depth", "error 3 at 0 depth"]),
        # Of the foreign issuing authority, whose root is unknown.
        ("foreign_computer", CLIENT, ["error 20 at 1 depth"]),
    ],
)
def test_openssl_refuses_each_invalid_certificate_for_its_defect(
    pki: LabPki, tmp_path: Path, name: str, purpose: str, errors: list[str]
) -> None:
    output = openssl_verify(pki, MAKERS[name](pki), tmp_path, purpose=purpose)
    assert re.findall(r"^(error \d+ at \d+ depth) lookup: ", output, re.MULTILINE) == errors


@needs_openssl
def test_openssl_accepts_a_certificate_without_purpose(pki: LabPki, tmp_path: Path) -> None:
    output = openssl_verify(pki, pki.without_purpose("pc1.corp.example"), tmp_path)
    assert is_ok(output), output


@needs_openssl
def test_the_expired_certificate_was_valid_before(pki: LabPki, tmp_path: Path) -> None:
    then = NOW - timedelta(days=30)
    crls = pki.crls(this_update=then - timedelta(hours=1), next_update=then + timedelta(hours=1))
    credential = pki.expired_computer("pc1.corp.example")
    output = openssl_verify(pki, credential, tmp_path, at=then, crls=crls)
    assert is_ok(output), output


@needs_openssl
def test_the_foreign_certificate_is_valid_with_its_own_root(pki: LabPki, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pki.foreign_computer("pc1.corp.example").chain_pem())
    root = tmp_path / "root.pem"
    root.write_bytes(pki.foreign_root.public_bytes(serialization.Encoding.PEM))
    output = run_openssl_verify(chain, root=root, crls=[], purpose=CLIENT, at=NOW)
    assert is_ok(output), output


@needs_openssl
def test_both_crls_are_required(pki: LabPki, tmp_path: Path) -> None:
    (root_crl, issuing_crl) = pki.crls()
    credential = pki.computer("pc1.corp.example")
    output = openssl_verify(pki, credential, tmp_path, crls=(root_crl,))
    assert "error 3 at 0 depth" in output
    output = openssl_verify(pki, credential, tmp_path, crls=(issuing_crl,))
    assert "error 3 at 1 depth" in output


@needs_openssl
def test_crls_can_be_expired_and_renewed(pki: LabPki, tmp_path: Path) -> None:
    credential = pki.computer("pc1.corp.example")
    stale = pki.crls(this_update=NOW - timedelta(days=9), next_update=NOW - timedelta(days=2))
    assert "error 12 at 0 depth" in openssl_verify(pki, credential, tmp_path, crls=stale)
    early = pki.crls(this_update=NOW + timedelta(days=1))
    assert "error 11 at 0 depth" in openssl_verify(pki, credential, tmp_path, crls=early)

    later = NOW + timedelta(days=10)
    assert "error 12" in openssl_verify(pki, credential, tmp_path, at=later)
    renewed = pki.crls(this_update=later, next_update=later + timedelta(days=7))
    output = openssl_verify(pki, credential, tmp_path, at=later, crls=renewed)
    assert is_ok(output), output


def test_cryptography_agrees(pki: LabPki) -> None:
    policy = PolicyBuilder().store(Store([pki.root])).time(NOW)
    good = pki.computer("pc1.corp.example")
    verified = policy.build_client_verifier().verify(good.certificate, list(good.issuers))
    assert verified.subjects == [x509.DNSName("pc1.corp.example")]
    server = pki.server("mp01.corp.example")
    policy.build_server_verifier(x509.DNSName("mp01.corp.example")).verify(
        server.certificate, list(server.issuers)
    )
    for bad in (
        pki.foreign_computer("pc1.corp.example"),
        pki.self_signed("pc1.corp.example"),
        pki.expired_computer("pc1.corp.example"),
        pki.wrong_purpose("pc1.corp.example"),
    ):
        with pytest.raises(VerificationError):
            policy.build_client_verifier().verify(bad.certificate, list(bad.issuers))


@every_maker
def test_each_certificate_is_marked_as_not_for_production(
    pki: LabPki, maker: Callable[[LabPki], LabCredential]
) -> None:
    credential = maker(pki)
    for certificate in (credential.certificate, *credential.issuers, pki.root, pki.foreign_root):
        (organization,) = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        assert organization.value == ORGANIZATION == "ibcm-bridge lab, not for production"


@every_maker
def test_each_certificate_has_the_extensions_for_strict_verification(
    pki: LabPki, maker: Callable[[LabPki], LabCredential]
) -> None:
    credential = maker(pki)
    certificate = credential.certificate
    assert certificate.public_key() == credential.key.public_key()
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical
    certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name == [x509.UniformResourceIdentifier(ISSUING_CRL_URL)]


def test_a_computer_certificate_has_an_rsa_key_its_name_and_one_purpose(pki: LabPki) -> None:
    credential = pki.computer("pc1.corp.example")
    extensions = credential.certificate.extensions
    assert isinstance(credential.key, rsa.RSAPrivateKey)
    assert credential.key.key_size == 2048
    assert common_name(credential) == "pc1.corp.example"
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.DNSName("pc1.corp.example")
    ]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not usage.key_cert_sign


def test_a_server_certificate_has_each_name_once_and_the_common_name_first(pki: LabPki) -> None:
    credential = pki.server("a.example", "b.example", "a.example")
    extensions = credential.certificate.extensions
    assert isinstance(credential.key, ec.EllipticCurvePrivateKey)
    assert common_name(credential) == "a.example"
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.DNSName("a.example"),
        x509.DNSName("b.example"),
    ]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_a_user_certificate_has_only_a_principal_name(pki: LabPki) -> None:
    credential = pki.user("alice@corp.example")
    (name,) = credential.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert isinstance(name, x509.OtherName)
    assert name.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert name.value == b"\x0c\x12alice@corp.example"


def test_a_long_principal_name_is_refused(pki: LabPki) -> None:
    with pytest.raises(ValueError, match="at most 127 octets, not 128"):
        pki.user("a" * 128)


def test_without_purpose_means_without_extended_key_usage(pki: LabPki) -> None:
    extensions = pki.without_purpose("pc1.corp.example").certificate.extensions
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_keys_and_serial_numbers_are_unique(pki: LabPki) -> None:
    (first, other) = (pki.server("a.example"), pki.server("a.example"))
    assert first.certificate.serial_number != other.certificate.serial_number
    assert first.certificate.public_key() != other.certificate.public_key()
    assert LabPki.make(now=NOW).root.public_key() != pki.root.public_key()


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        LabPki.make(now=NOW.replace(tzinfo=None))


def test_crls_are_current_and_their_numbers_increase(pki: LabPki) -> None:
    credential = pki.server("a.example")
    serial = credential.certificate.serial_number
    (root_before, issuing_before) = pki.crls()
    pki.revoke(credential)
    pki.revoke(credential)
    (root_after, issuing_after) = pki.crls()

    assert issuing_before.get_revoked_certificate_by_serial_number(serial) is None
    assert issuing_after.get_revoked_certificate_by_serial_number(serial) is not None
    assert len(issuing_after) == 1
    assert len(root_after) == 0
    for before, after in ((root_before, root_after), (issuing_before, issuing_after)):
        assert crl_number(before) < crl_number(after)
        assert before.last_update_utc == NOW - timedelta(hours=1)
        assert before.next_update_utc == NOW + timedelta(days=7)


@pytest.mark.parametrize("name", ["foreign_computer", "self_signed"])
def test_a_certificate_of_another_issuer_cannot_be_revoked(pki: LabPki, name: str) -> None:
    with pytest.raises(ValueError, match="was not issued by this PKI"):
        pki.revoke(MAKERS[name](pki))
    assert len(pki.crls()[1]) == 0


def test_a_certificate_of_another_pki_cannot_be_revoked(pki: LabPki) -> None:
    with pytest.raises(ValueError, match="was not issued by this PKI"):
        pki.revoke(LabPki.make(now=NOW).server("a.example"))


def test_a_credential_is_written_as_a_chain_without_root_and_a_key(
    pki: LabPki, tmp_path: Path
) -> None:
    credential = pki.server("a.example")
    credential.write(tmp_path, "a")
    chain = x509.load_pem_x509_certificates((tmp_path / "a.pem").read_bytes())
    key = serialization.load_pem_private_key((tmp_path / "a.key").read_bytes(), None)
    assert chain == [credential.certificate, pki.issuing]
    assert key.public_key() == credential.certificate.public_key()
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600


def test_a_credential_does_not_replace_a_file(pki: LabPki, tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("mine")
    with pytest.raises(FileExistsError):
        pki.server("a.example").write(tmp_path, "a")
    assert (tmp_path / "a.key").read_text() == "mine"
    assert not (tmp_path / "a.pem").exists()


@needs_openssl
def test_the_written_directory_is_complete_and_valid(pki: LabPki, tmp_path: Path) -> None:
    lab = tmp_path / "new" / "lab"
    pki.write(lab)

    pairs = ["bridge-server", "bridge-client", "mp01", "dp01", "sup01", "enroll01", "ndes01"]
    clients = ("computer", "user", "revoked", "expired", "wrong-purpose", "foreign")
    pairs += [f"clients/{name}" for name in clients]
    expected = {"README.txt", "root.pem", "issuing.pem", "root.crl", "issuing.crl"}
    expected |= {"clients/foreign-root.pem"}
    expected |= {f"{pair}.{suffix}" for pair in pairs for suffix in ("pem", "key")}
    assert {str(p.relative_to(lab)) for p in lab.rglob("*") if p.is_file()} == expected
    for path in lab.rglob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    readme = (lab / "README.txt").read_text()
    assert len(readme.splitlines()) == 2
    assert "worthless" in readme

    for name, purpose, result in [
        ("bridge-server", SERVER, ": OK"),
        ("mp01", SERVER, ": OK"),
        ("dp01", SERVER, ": OK"),
        ("bridge-client", CLIENT, ": OK"),
        ("clients/computer", CLIENT, ": OK"),
        ("clients/user", CLIENT, ": OK"),
        ("clients/revoked", CLIENT, "error 23 at 0 depth"),
        ("clients/expired", CLIENT, "error 10 at 0 depth"),
        ("clients/wrong-purpose", CLIENT, "error 26 at 0 depth"),
        ("clients/foreign", CLIENT, "error 20 at 1 depth"),
    ]:
        output = run_openssl_verify(
            lab / f"{name}.pem",
            root=lab / "root.pem",
            crls=[lab / "root.crl", lab / "issuing.crl"],
            purpose=purpose,
            at=NOW,
        )
        assert result in output

    mp01 = x509.load_pem_x509_certificate((lab / "mp01.pem").read_bytes())
    names = mp01.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "mp01.corp.example",
        "mp-tunnel.internet.example",
    ]


def test_an_empty_directory_is_accepted(pki: LabPki, tmp_path: Path) -> None:
    pki.write(tmp_path)
    assert (tmp_path / "root.pem").exists()


def test_a_directory_in_use_is_refused(pki: LabPki, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not an empty directory.*name a new directory"):
        pki.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_place_of_the_directory_is_refused(pki: LabPki, tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("mine")
    with pytest.raises(FileExistsError, match="is not an empty directory"):
        pki.write(tmp_path / "lab")
    assert (tmp_path / "lab").read_text() == "mine"


def common_name(credential: LabCredential) -> str | bytes:
    (name,) = credential.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return name.value


def crl_number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
