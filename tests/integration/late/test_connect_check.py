"""`check --connect`: its findings for good and bad site systems."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.site_systems import check_connections
from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.policy.addresses import address_text
from ibcm_bridge.policy_file import load_policy
from tests.integration.lab import Lab
from tests.integration.late.conftest import Apache
from tests.integration.raw_site_system import RawSiteSystem

MP_NAME = "mp01.corp.example"


def policy_file(lab: Lab, address: tuple[str, int], **role: Any) -> Path:
    """Write the lab's policy with one publication, and one role at this address."""
    policy = yaml.safe_load(lab.bridge.policy_file.read_text("utf-8"))
    bridge = next(entry for entry in policy["publications"] if entry["mode"] == "bridge")
    point = bridge["roles"]["management-point"]
    point = {**point, "connect": f"{address[0]}:{address[1]}", **role}
    policy["publications"] = [{**bridge, "roles": {"management-point": point}}]
    path = lab.bridge.directory / "connect.yaml"
    path.write_text(yaml.safe_dump(policy), "utf-8")
    return path


def findings(
    lab: Lab, address: tuple[str, int], seconds: float = 10.0, **role: Any
) -> list[Finding]:
    found = list(check_connections(load_policy(policy_file(lab, address, **role)), seconds))
    host, port = address
    for finding in found:
        assert finding.where.endswith(f"management-point: {MP_NAME} ({host}:{port})")
    return found


def problem(lab: Lab, address: tuple[str, int], seconds: float = 10.0, **role: Any) -> str:
    """The only problem; it ends the check of the site system."""
    (*_, last) = found = findings(lab, address, seconds, **role)
    assert [finding for finding in found if finding.level is not Level.FACT] == [last]
    assert (last.level, last.requirement) == (Level.PROBLEM, "BRIDGE-TERMINATE")
    return last.text


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_late_certificate_request_is_reported(lab: Lab, apache: Apache, version: str) -> None:
    first, *others = findings(lab, ("127.0.0.1", apache.ports[version, "lab"]))
    assert first.text.startswith(f"verified as {MP_NAME} over TLSv{version}: ")
    assert len(others) >= 3
    for finding in others:
        assert finding.level is Level.FACT
        assert (
            "accepted the bridge's client certificate; certificate requested after the request"
            in finding.text
        )
    assert {request.method for request in apache.seen} == {"HEAD"}


def test_a_directory_without_a_certificate_request_is_a_warning(lab: Lab, apache: Apache) -> None:
    # This Apache requests a certificate only in directories for computers.
    because = {"windows_authentication": {"because": "users get their own policy"}}
    found = findings(lab, ("127.0.0.1", apache.ports["1.3", "lab"]), **because)
    warned = [finding.text for finding in found if finding.level is Level.WARNING]
    assert len(warned) == 2
    for text in warned:
        assert "_windowsauth: requested no client certificate" in text


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_late_refusal_of_the_certificate_is_a_problem(
    lab: Lab, apache: Apache, version: str
) -> None:
    apache.seen.clear()
    text = problem(lab, ("127.0.0.1", apache.ports[version, "foreign"]))
    assert text == f"{MP_NAME} rejected the bridge's client certificate: unknown_ca"
    assert apache.seen == []


def test_the_maximum_tls_version_is_that_of_the_policy(lab: Lab) -> None:
    first, *_ = findings(lab, lab.site.management_point, highest_tls="1.2")
    assert "over TLSv1.2" in first.text
    first, *_ = findings(lab, lab.site.management_point)
    assert "over TLSv1.3" in first.text


def test_a_certificate_request_in_the_handshake_is_reported(lab: Lab) -> None:
    _, *others = findings(lab, lab.site.management_point)
    for finding in others:
        assert (
            "accepted the bridge's client certificate; certificate requested in the handshake"
            in finding.text
        )
    assert {request.method for request in lab.site.received()} == {"HEAD"}


def test_a_site_system_is_verified_by_verify_name(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server("cluster.corp.example"))
    assert problem(lab, raw.address) == f"cannot be verified as {MP_NAME}: hostname mismatch"
    first, *_ = findings(lab, raw.address, 0.5, verify_name="cluster.corp.example")
    assert first.text.startswith("verified as cluster.corp.example")


def impostors(lab: Lab) -> dict[str, Any]:
    return {
        "hostname mismatch": lab.pki.server("other.corp.example"),
        "unable to get local issuer certificate": LabPki.make(now=datetime.now(UTC)).server(
            MP_NAME
        ),
        "certificate revoked": lab.credentials.mp_revoked,
        "certificate has expired": lab.credentials.mp_expired,
    }


@pytest.mark.parametrize(
    "why",
    [
        "hostname mismatch",
        "unable to get local issuer certificate",
        "certificate revoked",
        "certificate has expired",
    ],
)
def test_an_impostor_is_a_problem(lab: Lab, raw: RawSiteSystem, why: str) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), impostors(lab)[why])
    assert problem(lab, raw.address) == f"cannot be verified as {MP_NAME}: {why}"
    assert all(peer.received == b"" for peer in raw.peers)


def server_with(lab: Lab, *extensions: certificates.Extension) -> certificates.LabCredential:
    """A site system's certificate with the right common name and, beside these, its purpose."""
    authority, key = lab.pki._issuing, certificates.ec_key()
    purpose: certificates.Extension = (x509.ExtendedKeyUsage(certificates.SERVER), False)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MP_NAME)])
    valid = certificates.current(datetime.now(UTC))
    made = certificates.sign(key, subject, authority, valid, [purpose, *extensions])
    return certificates.LabCredential(made, key, (authority.certificate,))


SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
DNS_NAME = x509.SubjectAlternativeName([x509.DNSName(MP_NAME)])
ADDRESS = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
NO_DNS_NAME = (
    "the certificate has no DNS name in its subjectAltName; its common name is not used (RFC 9525 "
    "section 2)"
)


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ([], NO_DNS_NAME),
        ([(ADDRESS, False)], NO_DNS_NAME),
        (
            [(DNS_NAME, False), (SIGNS_CERTIFICATES, True)],
            "may sign certificates according to its keyUsage but is not a CA "
            "(RFC 5280 section 4.2.1.9)",
        ),
    ],
    ids=["common-name-only", "address-only", "malformed"],
)
def test_a_defect_of_the_certificate_is_reported(
    lab: Lab, raw: RawSiteSystem, extensions: list[certificates.Extension], why: str
) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), server_with(lab, *extensions))
    text = f"cannot be verified as {MP_NAME}: {why}"
    assert problem(lab, raw.address) == text
    assert all(peer.received == b"" for peer in raw.peers)


def test_the_same_certificate_with_a_dns_name_is_verified(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), server_with(lab, (DNS_NAME, False)))
    first, *_ = findings(lab, raw.address, 0.5)
    assert first.text.startswith(f"verified as {MP_NAME}")


def test_a_refusal_in_the_handshake_is_a_problem(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    raw.trust = LabPki.make(now=datetime.now(UTC)).root
    try:
        text = problem(lab, raw.address)
        assert text == f"{MP_NAME} rejected the bridge's client certificate: unknown_ca"
        text = problem(lab, raw.address, highest_tls="1.2")
        assert text == f"{MP_NAME} rejected the bridge's client certificate: unknown_ca"
    finally:
        raw.trust = lab.pki.root


def test_a_refused_connection_is_a_problem(lab: Lab) -> None:
    port = free_port()
    assert problem(lab, ("127.0.0.1", port)) == f"connection refused by 127.0.0.1:{port}"


@pytest.mark.parametrize(("mode", "requirement"), [("tunnel", "TUNNEL-PASS"), ("plaintext", "")])
def test_an_unreachable_site_system_without_bridging_cites_the_requirement_of_its_mode(
    lab: Lab, mode: str, requirement: str
) -> None:
    closed = f"127.0.0.1:{free_port()}"
    policy = yaml.safe_load(lab.bridge.policy_file.read_text("utf-8"))
    publication = next(entry for entry in policy["publications"] if entry["mode"] == mode)
    if mode == "tunnel":
        publication["site_system"] = closed
    else:
        publication["roles"]["fallback-status-point"]["connect"] = closed
    path = lab.bridge.directory / f"connect-{mode}.yaml"
    path.write_text(yaml.safe_dump({**policy, "publications": [publication]}), "utf-8")
    (found,) = check_connections(load_policy(path))
    assert (found.level, found.requirement) == (Level.PROBLEM, requirement)
    assert found.text == f"connection refused by {closed}"


def test_no_response_in_the_handshake_is_a_problem(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end())
    assert problem(lab, raw.address, 0.5) == "did not respond in time (in the handshake)"


def test_no_response_after_the_handshake_is_a_problem(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    assert problem(lab, raw.address, 0.5) == "did not respond in time"


def test_a_server_without_tls_is_a_problem(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    assert problem(lab, raw.address).startswith("TLS error: ")


def test_a_connection_closed_in_the_handshake_is_a_problem(lab: Lab, raw: RawSiteSystem) -> None:
    raw.behave(lambda peer: peer.close_and_wait())
    text = problem(lab, raw.address)
    assert text == "closed the connection without a response (in the handshake)"


def responding(head: bytes) -> Callable[[Any], None]:
    def script(peer: Any) -> None:
        peer.read_head()
        peer.send(head)

    return script


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        (403, Level.PROBLEM, "refused the bridge's client certificate"),
        (401, Level.FACT, "requires Windows authentication"),
        (500, Level.WARNING, "returned a server error"),
        (
            404,
            Level.FACT,
            "accepted the bridge's client certificate; certificate requested in the handshake",
        ),
    ],
)
def test_the_status_of_the_response_decides(
    lab: Lab, raw: RawSiteSystem, status: int, level: Level, text: str
) -> None:
    script = responding(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
    raw.behave(script, lab.pki.server(MP_NAME))
    _, *others = findings(lab, raw.address)
    assert {finding.level for finding in others} == {level}
    assert all(text in finding.text for finding in others)


def test_the_command_exits_with_1_for_a_problem_and_0_without(
    lab: Lab, run_command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    good = policy_file(lab, lab.site.management_point)
    done = run_command("check", "--connect", "--config", str(good))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{MP_NAME} (127.0.0.1:{lab.site.management_point.port}): verified" in done.stdout
    assert len(lab.site.handshakes()) > 1
    lab.site.clear()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    bad = policy_file(lab, address)
    done = run_command("check", "--connect", "--config", str(bad))
    assert done.returncode == 1
    assert f"connection refused by {address_text(address)}" in done.stdout
    # Nothing is connected to unless asked for.
    done = run_command("check", "--config", str(bad))
    assert done.returncode == 0
    assert lab.site.handshakes() == ()
