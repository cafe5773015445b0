"""The findings of `check` on a policy."""

import dataclasses
import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.addons.tls.verification import verify_authority
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.policy import check_policy
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import make_pki
from ibcm_bridge.policy.addresses import Address, address_text
from ibcm_bridge.policy.policy import ClamAv, Policy
from ibcm_bridge.policy.publications import Listener, PublishedRole, TunnelPublication
from ibcm_bridge.policy.site_systems import SiteSystem, SiteSystems
from ibcm_bridge.policy.tls_settings import CipherSuites, TlsSettings, TlsVersion
from ibcm_bridge.policy.trust import Credential, Trust
from ibcm_bridge.policy_file import load_policy
from tests.commands.check.policies import DAY, bad_findings, change, credential_of, with_


def test_the_shipped_policy_has_no_problems(policy: Policy, now: datetime.datetime) -> None:
    findings = list(check_policy(policy, now, verify_authority))
    lists = [finding for finding in findings if "the revocation list of" in finding.text]
    assert {finding.where for finding in lists} == {
        "127.0.0.1:8443: bridge.internet.example: clients.trust",
        "127.0.0.1:8443: bridge.internet.example: site_systems.trust",
        "127.0.0.1:8531: bridge.internet.example: site_systems.trust",
    }
    assert all("expires on" in finding.text for finding in lists)
    findings = [finding for finding in findings if finding not in lists]
    assert [finding.level for finding in findings] == [Level.FACT] * 7 + [
        Level.WARNING,
        Level.FACT,
        Level.FACT,
        Level.FACT,
    ]
    assert "is bridged: management-point at mp01.corp.example" in findings[0].text
    assert all("the content cannot be inspected" in finding.text for finding in findings[1:5])
    assert (
        "software-update-point at sup01.corp.example; client certificates are not requested"
        in findings[5].text
    )
    assert "is published over plain HTTP on both legs" in findings[6].text
    assert findings[7].requirement == "BRIDGE-HTTPS-ONLY"


@pytest.mark.parametrize(
    ("kind", "text", "requirement"),
    [
        ("server-elsewhere", "not for bridge.internet.example", "DNS-INTERNET-FQDN"),
        ("client", "extKeyUsage lacks serverAuth", "PKI-BOTH-ENDS"),
        ("expired", "expired on", "PKI-BOTH-ENDS"),
    ],
)
def test_a_certificate_that_clients_would_refuse_is_a_problem(
    policy: Policy, pki: LabPki, now: datetime.datetime, kind: str, text: str, requirement: str
) -> None:
    made = {
        "server-elsewhere": lambda: pki.server("other.internet.example"),
        "client": lambda: pki.computer("bridge.internet.example"),
        "expired": lambda: pki.expired_computer("bridge.internet.example"),
    }[kind]()
    found = bad_findings(with_(policy, credential=credential_of(made)), now)
    assert any(
        finding.level is Level.PROBLEM
        and text in finding.text
        and finding.requirement == requirement
        for finding in found
    )


def test_a_bridge_without_client_authentication_is_a_problem(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    made = pki.server("bridge.perimeter.example")
    (found,) = bad_findings(with_(policy, site_system_credential=credential_of(made)), now)
    assert (found.level, found.requirement) == (Level.PROBLEM, "PKI-BOTH-ENDS")
    assert "clientAuth" in found.text


def test_a_list_that_expires_soon_is_a_warning_and_an_expired_one_a_problem(
    policy: Policy, now: datetime.datetime
) -> None:
    soon = bad_findings(policy, now + 6.5 * DAY)
    assert {finding.level for finding in soon} == {Level.WARNING}
    assert any("renew it" in finding.text for finding in soon)
    late = bad_findings(policy, now + 8 * DAY)
    assert any(
        finding.level is Level.PROBLEM and "every certificate is refused" in finding.text
        for finding in late
    )


def test_an_end_entity_certificate_is_not_an_authority(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    certificate = pki.computer("pc1.corp.example").certificate
    trust = Trust((certificate,), (), ())
    found = [finding.text for finding in bad_findings(with_(policy, client_trust=trust), now)]
    assert any("is not a CA" in text for text in found)
    assert any("is not self-signed" in text for text in found)


def _root_with(
    pki: LabPki, now: datetime.datetime, *extensions: certificates.Extension
) -> x509.Certificate:
    """The lab's root with other extensions, and the same key."""
    authority = pki._root
    builder = x509.CertificateBuilder(
        authority.certificate.subject,
        authority.certificate.subject,
        authority.key.public_key(),
        x509.random_serial_number(),
        now - DAY,
        now + 90 * DAY,
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(authority.key, hashes.SHA256())


AN_AUTHORITY = (x509.BasicConstraints(ca=True, path_length=None), False)


def test_an_authority_that_will_be_refused_is_reported(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    root_like_version_1 = _root_with(pki, now)
    trust = Trust((root_like_version_1,), (pki.issuing,), pki.crls())
    (found,) = bad_findings(with_(policy, client_trust=trust), now)
    assert (found.level, found.requirement) == (Level.PROBLEM, "PKI-BOTH-ENDS")
    assert found.text == (
        f"{pki.root.subject.rfc4514_string()} is not a CA according to its "
        "basicConstraints (RFC 5280 section 6.1.4 (k)): every path through it is refused"
    )


def test_an_older_root_without_key_identifier_and_usage_is_accepted(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    older = _root_with(pki, now, AN_AUTHORITY)
    trust = Trust((older,), (pki.issuing,), pki.crls())
    assert bad_findings(with_(policy, client_trust=trust), now) == []


def test_a_maximum_tls_version_of_clients_is_reported(
    policy: Policy, now: datetime.datetime
) -> None:
    def facts(policy: Policy) -> str:
        return " ".join(finding.text for finding in check_policy(policy, now, verify_authority))

    cap = "; client leg limited to TLS 1.2"
    assert cap not in facts(policy)
    assert cap in facts(with_(policy, client_tls=TlsSettings(TlsVersion.TLS_1_2)))


def test_tls_settings_of_a_role_are_reported(policy: Policy, now: datetime.datetime) -> None:
    def facts(policy: Policy) -> list[tuple[str, str]]:
        found = check_policy(policy, now, verify_authority)
        return [(f.where.rpartition(": ")[2], f.text) for f in found if "site-system leg" in f.text]

    def moved(role: PublishedRole) -> PublishedRole:
        if role.profile.name != "management-point":
            return role
        settings = TlsSettings(TlsVersion.TLS_1_2, CipherSuites.COMPATIBLE)
        site_system = dataclasses.replace(role.site_systems.first, tls=settings)
        return dataclasses.replace(role, site_systems=SiteSystems((site_system,)))

    assert facts(policy) == []
    publication = next(publication for _, publication in policy.bridged())
    roles = {name: moved(role) for name, role in publication.directories.items()}
    compatible = "static RSA cipher suites too, which have no forward secrecy (tls: compatible)"
    assert facts(with_(policy, directories=roles)) == [
        ("roles.management-point", "site-system leg limited to TLS 1.2"),
        ("roles.management-point", f"site-system leg with {compatible}"),
    ]


def test_a_chain_out_of_order_is_a_problem(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    made = pki.server("bridge.internet.example")
    root = pki.root.public_bytes(Encoding.PEM)
    leaf = made.certificate.public_bytes(Encoding.PEM)
    changed = with_(policy, credential=Credential(leaf + root, made.key_pem()))
    assert any(
        "the chain is out of order" in finding.text for finding in bad_findings(changed, now)
    )


@pytest.mark.parametrize(
    ("url", "reachable"),
    [
        ("http://pki.internet.example/issuing.crl", True),
        ("http://192.0.2.1/issuing.crl", False),  # documentation range, not public
        ("http://8.8.8.8/issuing.crl", True),
        ("http://10.0.0.5/issuing.crl", False),
        ("http://pki01/issuing.crl", False),
        ("http://pki.corp.local/issuing.crl", False),
        ("ldap:///CN=Issuing", False),
        ("file://pki01/issuing.crl", False),
    ],
)
def test_a_distribution_point_must_be_reachable_from_the_internet(
    url: str, reachable: bool
) -> None:
    from ibcm_bridge.commands.check.certificates import _reachable_from_the_internet  # noqa: PLC0415

    assert _reachable_from_the_internet(url) is reachable


def test_an_issuing_authority_without_its_root_is_a_problem(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    other = LabPki.make(now=now)
    trust = Trust((other.root,), (pki.issuing,), (*pki.crls(), *other.crls()))
    found = bad_findings(with_(policy, client_trust=trust), now)
    assert any("not signed by a configured CA" in finding.text for finding in found)
    corrected = Trust((other.root,), (pki.issuing,), (other.crls()[0], pki.crls()[1]))
    (unverified,) = bad_findings(with_(policy, client_trust=corrected), now)
    assert "Lab Issuing CA" in unverified.text
    assert "cannot be verified" in unverified.text


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 443), "192.0.2.1:443"),
        (("2001:db8::1", 443), "[2001:db8::1]:443"),
        (("fe80::1%eth0", 443), "[fe80::1%eth0]:443"),
    ],
)
def test_findings_have_brackets_around_ipv6(
    policy: Policy, now: datetime.datetime, address: Address, text: str
) -> None:
    tunnel = TunnelPublication("t.example", 443, (address,), ())
    listener = Listener(address, {tunnel.name: tunnel}, without_sni=tunnel.name)
    clamav = dataclasses.replace(policy, listeners=(listener,), clamav=ClamAv(address))
    found = [*check_policy(clamav, now, verify_authority)]
    assert [finding.where for finding in found[:2]] == [text, text]
    assert f"tunneled to {text}" in found[1].text
    assert f"clamd at {text}" in [
        finding.text for finding in found if finding.where == "engines.clamav"
    ]


def test_addresses_are_shown_as_in_the_policy_file() -> None:
    assert address_text(("192.0.2.1", 443)) == "192.0.2.1:443"
    assert address_text(("::", 443)) == "[::]:443"


def test_problems_of_shared_files_are_reported_once(tmp_path: Path, now: datetime.datetime) -> None:
    make_pki(tmp_path)
    (tmp_path / "crls").mkdir()
    fetch = "fetch: {urls: [http://pki.internet.example/root.crl], folder: crls}"
    change(tmp_path, ("crls: [pki/root.crl, pki/issuing.crl]", fetch))
    bad = bad_findings(load_policy(tmp_path / "bridge.yaml"), now)
    (folder,) = [finding for finding in bad if "is a folder without" in finding.text]
    assert folder.where.split(", ") == [
        "127.0.0.1:8443: bridge.internet.example: clients.trust",
        "127.0.0.1:8443: bridge.internet.example: site_systems.trust",
        "127.0.0.1:8531: bridge.internet.example: site_systems.trust",
    ]
    assert all(name in folder.text for name in ("Lab Root CA", "Lab Issuing CA"))


def test_an_incomplete_chain_is_a_warning_that_names_the_missing_issuer(
    policy: Policy, pki: LabPki, now: datetime.datetime
) -> None:
    made = pki.server("bridge.internet.example")
    alone = Credential(made.certificate.public_bytes(Encoding.PEM), made.key_pem())
    root = Trust((pki.root,), (), pki.crls()[:1])
    whole = Trust((pki.root,), (pki.issuing,), pki.crls())

    def missing(credential: Credential, client_trust: Trust | None) -> list[str]:
        trusts = {"client_trust": client_trust, "site_system_trust": root}
        found = bad_findings(with_(policy, credential=credential, **trusts), now)
        assert all(finding.level is Level.WARNING for finding in found)
        return [finding.text for finding in found if finding.where.endswith(": certificate")]

    for client_trust in (root, None):
        (text,) = missing(alone, client_trust)
        assert "was issued by CN=Lab Issuing CA" in text
        assert missing(credential_of(made), client_trust) == []
    # OpenSSL completes a chain of one certificate with the authorities of the client trust.
    assert missing(alone, whole) == []
    # An unknown root cannot be distinguished from an intermediate authority.
    foreign = credential_of(pki.foreign_server("bridge.internet.example"))
    (text,) = missing(foreign, whole)
    assert "was issued by CN=" in text


@pytest.mark.parametrize(
    ("site_system", "verify_name", "level"),
    [
        ("192.0.2.9", "192.0.2.9", Level.PROBLEM),
        ("mp01.corp.example", "192.0.2.9", Level.PROBLEM),
        ("192.0.2.9", "mp01.corp.example", Level.WARNING),
    ],
)
def test_a_site_system_with_an_ip_address_is_not_verified(
    policy: Policy, now: datetime.datetime, site_system: str, verify_name: str, level: Level
) -> None:
    publication = policy.listeners[0].publications["bridge.internet.example"]
    changed = SiteSystem(("192.0.2.9", 443), site_system, verify_name)
    directories = {
        name: dataclasses.replace(role, site_systems=SiteSystems((changed,)))
        for name, role in publication.directories.items()
        if role.profile.name == "management-point"
    }
    (found,) = bad_findings(with_(policy, directories=directories), now)
    assert found.level is level
    assert found.where.endswith(": roles.management-point")
    assert "192.0.2.9" in found.text


def test_settings_that_are_not_the_default_are_reported(
    tmp_path: Path, policy: Policy, now: datetime.datetime
) -> None:
    def facts(policy: Policy) -> list[str]:
        found = check_policy(policy, now, verify_authority)
        return [
            f"{finding.where}: {finding.text}" for finding in found if finding.level is Level.FACT
        ]

    assert not any("default" in text or "clients connect" in text for text in facts(policy))
    make_pki(tmp_path)
    change(
        tmp_path,
        ("  file: ../audit.jsonl", "  when_unwritable: continue"),
        ("unlisted_headers: drop", "unlisted_headers: refuse\n    public_port: 443"),
        ("listen: 127.0.0.1:8080", "listen: 127.0.0.1:8080\n    public_port: 80"),
        (
            "  - name: mp-tunnel.internet.example",
            "  - public_port: 443\n    name: mp-tunnel.example",
        ),
        (
            "publications:\n",
            "limits: {connections: 10, idle_seconds: 12.5, site_system_idle_seconds: 30, "
            "request_head: 131072, per_site_system: {failures: 5, probe_seconds: 2.5}}\n"
            "publications:\n",
        ),
        ("        crls: [", "        grace: 12h\n        crls: ["),
    )
    reported = facts(load_policy(tmp_path / "bridge.yaml"))
    assert (
        "audit: requests continue while the audit cannot be written (when_unwritable: continue)"
        in reported
    )
    assert (
        "limits: request_head 128 KiB (default 64 KiB), idle_seconds 12.5 (default 120), "
        "connections 10 (default 1000), site_system_idle_seconds 30 (default 100)" in reported
    )
    assert (
        "limits.per_site_system: a site system is tried last after 5 failed attempts in a row "
        "within 60 s, and probed after 2.5 s" in reported
    )
    assert any("accepted for 12 h after they expire" in text for text in reported)
    ports = [text for text in reported if "clients connect to port" in text]
    assert ports[0].endswith("clients connect to port 443; unlisted header fields are refused")
    assert [text.rpartition("; ")[2] for text in ports[1:]] == [
        "clients connect to port 443",
        "clients connect to port 80",
    ]


@pytest.mark.parametrize("opted_in", [False, True])
def test_a_role_that_needs_windows_authentication_is_unusable_without_it(
    tmp_path: Path, now: datetime.datetime, opted_in: bool
) -> None:
    make_pki(tmp_path)
    because = "\n        windows_authentication: {because: IIS authenticates users}"
    site_system = "site_system: https://sup01.corp.example"
    change(
        tmp_path,
        ("software-update-point:", "application-catalog-website-point:"),
        (site_system, site_system + (because if opted_in else "")),
    )
    bad = bad_findings(load_policy(tmp_path / "bridge.yaml"), now)
    found = [finding for finding in bad if "windows_authentication" in finding.text]
    assert [(finding.level, finding.requirement) for finding in found] == (
        [] if opted_in else [(Level.WARNING, "USER-WINDOWS-AUTH")]
    )


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such permissions")
@pytest.mark.parametrize(
    ("mode", "warned"),
    [(0o600, False), (0o640, False), (0o644, True), (0o660, True), (0o602, True)],
)
def test_an_audit_file_that_others_can_read_is_a_warning(
    tmp_path: Path, policy: Policy, now: datetime.datetime, mode: int, warned: bool
) -> None:
    path = tmp_path / "audit.jsonl"
    path.touch()
    path.chmod(mode)
    found = check_policy(dataclasses.replace(policy, audit_file=path), now, verify_authority)
    warnings = [finding for finding in found if finding.where == "audit.file"]
    assert [finding.level for finding in warnings] == [Level.WARNING] * warned
    assert not warned or f"permissions {mode:04o}" in warnings[0].text
    path.unlink()
    found = check_policy(dataclasses.replace(policy, audit_file=path), now, verify_authority)
    assert not [finding for finding in found if finding.where == "audit.file"]
