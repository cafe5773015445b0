"""`tls: modern`, `standard` and `compatible`: the cipher suites of both legs, with real OpenSSL."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from ibcm_bridge.addons.tls.current_trust import CurrentTrust
from ibcm_bridge.addons.tls.site_system_leg import expect_name, site_system_leg_context
from ibcm_bridge.commands.check.findings import Level
from ibcm_bridge.commands.check.site_systems import check_connections
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.certificates import LabCredential, PrivateKey
from ibcm_bridge.lab.protocol.client import Response
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import PublishedRole
from ibcm_bridge.policy.site_systems import SiteSystems
from ibcm_bridge.policy.tls_settings import (
    SUITES,
    TLS_1_3_SUITES,
    CipherSuites,
    TlsSettings,
    TlsVersion,
)
from ibcm_bridge.policy.trust import Credential
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import SOON, Running, outcome_of

pytestmark = pytest.mark.needs("openssl")

MODERN, STANDARD, COMPATIBLE = CipherSuites
SITE_SYSTEM = "mp01.corp.example"

ACCEPTED_BY: Mapping[str, tuple[CipherSuites, ...]] = {
    "ECDHE-RSA-AES128-GCM-SHA256": (MODERN, STANDARD, COMPATIBLE),
    "ECDHE-RSA-CHACHA20-POLY1305": (MODERN, STANDARD, COMPATIBLE),
    "ECDHE-RSA-AES256-SHA384": (STANDARD, COMPATIBLE),
    "ECDHE-RSA-AES128-SHA256": (STANDARD, COMPATIBLE),
    "AES256-GCM-SHA384": (COMPATIBLE,),
    "AES128-SHA256": (COMPATIBLE,),
    "ECDHE-RSA-AES128-SHA": (),
    "DHE-RSA-AES256-GCM-SHA384": (),
    "DHE-RSA-AES128-SHA256": (),
    "AES128-SHA": (),
}
"""Cipher suites of TLS 1.2 for RSA certificates, each with the settings that accept it."""

WINDOWS_2012_R2 = (
    "ECDHE-RSA-AES256-SHA384:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA:"
    "DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA:DHE-RSA-AES128-SHA:"
    "AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256"
)
"""The default cipher suites of Schannel (Microsoft, "TLS Cipher Suites in Windows 8.1")."""
WINDOWS_2022 = (
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES256-SHA384:"
    "ECDHE-RSA-AES128-SHA256:AES256-GCM-SHA384:AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256"
)


def server_certificate(lab: Lab, name: str, key: PrivateKey) -> LabCredential:
    return certificates.issue(
        lab.pki._issuing,
        key,
        name,
        [x509.DNSName(name)],
        valid=certificates.current(datetime.now(UTC)),
        purposes=certificates.SERVER,
    )


# The table


@pytest.mark.parametrize("suites", CipherSuites)
def test_a_context_has_the_suites_of_the_table_in_their_order(
    lab: Lab, suites: CipherSuites
) -> None:
    publication = bridged_publication(lab.policy)
    trust = CurrentTrust(publication.site_system_trust)
    context = site_system_leg_context(
        publication.site_system_credential, trust, TlsSettings(suites=suites)
    )
    names = SSL.Connection(context, None).get_cipher_list()
    assert [name for name in names if name.startswith("TLS_")] == [*TLS_1_3_SUITES.values()]
    rest = [name for name in names if not name.startswith("TLS_")]
    assert rest == [suite.openssl for suite in SUITES[suites]]


def test_forward_secrecy_comes_first_and_then_authenticated_encryption() -> None:
    names = [suite.name for suite in SUITES[COMPATIBLE]]
    assert names == sorted(names, key=lambda name: ("_ECDHE_" not in name, "_CBC_" in name))
    assert all("SHA256" in name or "SHA384" in name for name in names)
    assert not any("_DHE_" in name or "3DES" in name for name in names)


# The client leg


@dataclasses.dataclass(frozen=True)
class Client:
    """The result of `openssl s_client`."""

    served: bool
    cipher: str | None
    alert: str | None


def s_client(running: Running, directory: Path, *options: str) -> Client:
    """Send a request with `openssl s_client`."""
    root, chain, key = (directory / name for name in ("root.pem", "client.pem", "client.key"))
    root.write_bytes(running.lab.pki.root.public_bytes(Encoding.PEM))
    chain.write_bytes(running.lab.computer.chain_pem())
    key.write_bytes(running.lab.computer.key_pem())
    host, port = running.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", BRIDGED]
    command += ["-CAfile", str(root), "-cert", str(chain), "-key", str(key)]
    command += ["-cert_chain", str(chain), "-ign_eof", *options]
    method, target = GOOD
    request = f"{method} {target} HTTP/1.1\r\nHost: {BRIDGED}\r\nConnection: close\r\n\r\n"
    done = subprocess.run(
        command, input=request, capture_output=True, text=True, timeout=20, check=False
    )
    cipher = re.search(r"^New, .*, Cipher is (\S+)$", done.stdout, re.MULTILINE)
    alert = re.search(r"SSL alert number (\d+)", done.stderr)
    return Client(
        "HTTP/1.1 200 " in done.stdout,
        cipher[1] if cipher and cipher[1] != "(NONE)" else None,
        alert[1] if alert else None,
    )


@contextlib.contextmanager
def bridge(
    lab: Lab, directory: Path, settings: TlsSettings, *, rsa: bool = True
) -> Iterator[Running]:
    key = certificates.rsa_key() if rsa else certificates.ec_key()
    made = server_certificate(lab, BRIDGED, key)
    credential = Credential(made.chain_pem(), made.key_pem())
    policy = changed(
        lab.policy, directory / "audit.jsonl", client_tls=settings, credential=credential
    )
    with Running(lab, policy) as running:
        yield running


@pytest.mark.parametrize("suites", CipherSuites)
def test_a_client_is_served_with_the_suites_of_the_setting_only(
    lab: Lab, tmp_path: Path, suites: CipherSuites
) -> None:
    with bridge(lab, tmp_path, TlsSettings(suites=suites)) as running:
        for cipher, settings in ACCEPTED_BY.items():
            found = s_client(running, tmp_path, "-tls1_2", "-cipher", cipher)
            if suites in settings:
                assert found == Client(True, cipher, None), cipher
            else:
                assert found == Client(False, None, "40"), cipher
        assert s_client(running, tmp_path).cipher == "TLS_AES_128_GCM_SHA256"


def test_the_bridge_prefers_authenticated_encryption(lab: Lab, tmp_path: Path) -> None:
    order = "AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
    with bridge(lab, tmp_path, TlsSettings(suites=COMPATIBLE)) as running:
        found = s_client(running, tmp_path, "-tls1_2", "-cipher", order)
    assert found == Client(True, "ECDHE-RSA-AES128-GCM-SHA256", None)


@pytest.mark.parametrize(
    ("windows", "suites", "rsa", "cipher"),
    [
        (WINDOWS_2012_R2, STANDARD, True, "ECDHE-RSA-AES256-SHA384"),
        (WINDOWS_2012_R2, MODERN, True, None),
        (WINDOWS_2012_R2, MODERN, False, "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (WINDOWS_2022, MODERN, True, "ECDHE-RSA-AES256-GCM-SHA384"),
    ],
)
def test_clients_on_windows(
    lab: Lab, tmp_path: Path, windows: str, suites: CipherSuites, rsa: bool, cipher: str | None
) -> None:
    signatures = "RSA+SHA256:RSA+SHA384:RSA+SHA1:ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA1"
    options = ("-tls1_2", "-cipher", f"{windows}:@SECLEVEL=0", "-sigalgs", signatures)
    with bridge(lab, tmp_path, TlsSettings(suites=suites), rsa=rsa) as running:
        found = s_client(running, tmp_path, *options)
        assert found == Client(cipher is not None, cipher, None if cipher else "40")
        if cipher is None:
            detail = running.wait_for_reason("handshake-failed")["detail"]
            # It has the common suites of ECDSA, but the certificate is RSA.
            assert "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" in detail
            assert "bridge's certificate" in detail


FAILURES: Mapping[str, tuple[TlsSettings, tuple[str, ...], str]] = {
    "suite": (
        TlsSettings(),
        ("-tls1_2", "-cipher", "AES128-GCM-SHA256:DHE-RSA-AES128-SHA"),
        "no shared cipher: the client offers only TLS_RSA_WITH_AES_128_GCM_SHA256, "
        "TLS_DHE_RSA_WITH_AES_128_CBC_SHA; clients.tls: compatible adds "
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
    ),
    "suite-of-no-setting": (
        TlsSettings(),
        ("-tls1_2", "-cipher", "DHE-RSA-AES128-SHA"),
        "no shared cipher: the client offers only TLS_DHE_RSA_WITH_AES_128_CBC_SHA",
    ),
    "suite-of-standard": (
        TlsSettings(suites=MODERN),
        ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"),
        "no shared cipher: the client offers only TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256; "
        "clients.tls: standard adds TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    ),
    "signature-in-tls-1.2": (
        TlsSettings(),
        ("-tls1_2", "-cipher", "ECDHE+AES128+AESGCM", "-sigalgs", "ECDSA+SHA256"),
        "no shared cipher: the client offers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "
        "but no signature algorithm or group for the bridge's certificate; its signature "
        "algorithms: ecdsa_secp256r1_sha256",
    ),
    "signature-in-tls-1.3": (
        TlsSettings(),
        ("-sigalgs", "RSA+SHA256:ECDSA+SHA256"),
        "no suitable signature algorithm: the client offers rsa_pkcs1_sha256, "
        "ecdsa_secp256r1_sha256; TLS 1.3 requires rsa_pss of RSA keys (clients.highest_tls)",
    ),
    "version": (
        TlsSettings(TlsVersion.TLS_1_2),
        ("-tls1_3",),
        "unsupported protocol: the client offers only TLS 1.3; the bridge accepts TLS 1.2",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_the_audit_names_what_a_failed_handshake_lacks(lab: Lab, tmp_path: Path, case: str) -> None:
    settings, options, detail = FAILURES[case]
    with bridge(lab, tmp_path, settings) as running:
        assert not s_client(running, tmp_path, *options).served
        assert running.wait_for_reason("handshake-failed")["detail"] == detail


# The site-system leg


@contextlib.contextmanager
def s_server(lab: Lab, directory: Path, *options: str) -> Iterator[tuple[str, int]]:
    """A site system: `openssl s_server`, which responds to each request with a page."""
    made = server_certificate(lab, SITE_SYSTEM, certificates.rsa_key())
    chain, key = directory / "site.pem", directory / "site.key"
    chain.write_bytes(made.chain_pem())
    key.write_bytes(made.key_pem())
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-naccept", "100"]
    command += ["-cert", str(chain), "-key", str(key), "-cert_chain", str(chain), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("ACCEPT "))
            yield "127.0.0.1", int(line.rpartition(":")[2])
        finally:
            process.terminate()


def dialled(lab: Lab, address: tuple[str, int], settings: TlsSettings) -> str:
    """The cipher suite of a handshake on the site-system leg, or the text of its error."""
    publication = bridged_publication(lab.policy)
    context = site_system_leg_context(
        publication.site_system_credential, CurrentTrust(publication.site_system_trust), settings
    )
    with socket.create_connection(address, SOON) as plain:
        plain.settimeout(None)
        leg = SSL.Connection(context, plain)
        expect_name(leg, SITE_SYSTEM, SITE_SYSTEM)
        leg.set_connect_state()
        try:
            leg.do_handshake()
        except SSL.Error as error:
            return str(error.args[0][-1][-1])
        return str(leg.get_cipher_name())


@pytest.mark.parametrize("cipher", ACCEPTED_BY)
def test_a_site_system_is_reached_with_the_suites_of_the_setting_only(
    lab: Lab, tmp_path: Path, cipher: str
) -> None:
    with s_server(lab, tmp_path, "-tls1_2", "-cipher", cipher) as address:
        for suites in CipherSuites:
            found = dialled(lab, address, TlsSettings(suites=suites))
            refused = "alert handshake failure" in found
            assert (found == cipher, refused) == (
                suites in ACCEPTED_BY[cipher],
                suites not in ACCEPTED_BY[cipher],
            ), (suites, found)


def with_management_point(
    policy: Policy, audit: Path, address: tuple[str, int], settings: TlsSettings
) -> Policy:
    """The policy with another management point."""

    def moved(role: PublishedRole) -> PublishedRole:
        if role.profile.name != "management-point":
            return role
        site_system = dataclasses.replace(role.site_systems.first, address=address, tls=settings)
        return dataclasses.replace(role, site_systems=SiteSystems((site_system,)))

    directories = bridged_publication(policy).directories
    return changed(
        policy, audit, directories={name: moved(role) for name, role in directories.items()}
    )


OFFERED = {
    CipherSuites.STANDARD: "cipher suites with ECDHE and AES-GCM, ChaCha20, or AES-CBC with SHA-2",
    CipherSuites.MODERN: "cipher suites with ECDHE and AES-GCM or ChaCha20",
}


@pytest.mark.parametrize("suites", OFFERED)
def test_the_audit_and_check_name_what_a_site_system_does_not_accept(
    lab: Lab, tmp_path: Path, suites: CipherSuites
) -> None:
    with s_server(lab, tmp_path, "-tls1_2", "-cipher", "AES128-GCM-SHA256") as address:
        for settings, reached in ((suites, False), (COMPATIBLE, True)):
            policy = with_management_point(
                lab.policy, tmp_path / f"{settings}.jsonl", address, TlsSettings(suites=settings)
            )
            with Running(lab, policy) as running, running.client() as client:
                response = outcome_of(client, *GOOD)
                assert isinstance(response, Response), response
                if reached:
                    continue
                assert response.status == 502
                detail = running.wait_for_reason("site-system-unverified")["detail"]
            text = (
                "sent the TLS alert handshake_failure; the bridge offers "
                f"{OFFERED[suites]} (tls: {suites}) in TLS 1.2 and TLS 1.3, with SHA-2 signatures"
            )
            assert detail == f"{SITE_SYSTEM}: {text}"
            found = [finding for finding in check_connections(policy) if "mp01" in finding.where]
            assert [(finding.level, finding.text) for finding in found] == [(Level.PROBLEM, text)]


def test_the_audit_names_the_versions_that_a_site_system_does_not_accept(
    lab: Lab, tmp_path: Path
) -> None:
    with s_server(lab, tmp_path, "-tls1_3") as address:
        policy = with_management_point(
            lab.policy, tmp_path / "audit.jsonl", address, TlsSettings(TlsVersion.TLS_1_2)
        )
        with Running(lab, policy) as running, running.client() as client:
            response = outcome_of(client, *GOOD)
            assert isinstance(response, Response), response
            detail = running.wait_for_reason("site-system-unverified")["detail"]
    assert detail.endswith("sent the TLS alert protocol_version; the bridge offers TLS 1.2")
