"""Who gets in: real handshakes with openssl, curl and the ssl module (BRIDGE-AUTH-COMPUTER)."""

from __future__ import annotations

import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.protocol.reply_documents import authority
from tests.integration.lab import Lab

VERSIONS = {"-tls1_2": "TLSv1.2", "-tls1_3": "TLSv1.3"}
TRUST, POLICY = "clients.trust", "bridge.internet.example.clients"
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70

REFUSED = {
    "none": (Reason.CERTIFICATE_MISSING, POLICY, 116),
    "foreign": (Reason.CERTIFICATE_UNTRUSTED, TRUST, 48),
    "self_signed": (Reason.CERTIFICATE_UNTRUSTED, TRUST, 48),
    "expired": (Reason.CERTIFICATE_EXPIRED, TRUST, 45),
    "revoked": (Reason.CERTIFICATE_REVOKED, TRUST, 44),
    "wrong_purpose": (Reason.CERTIFICATE_PURPOSE, TRUST, 43),
    "without_purpose": (Reason.CERTIFICATE_PURPOSE, POLICY, 43),
    "user": (Reason.CERTIFICATE_NAME, POLICY, 42),
}


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any]) -> None:
    """Let clients resume TLS sessions."""
    policy["publications"][0]["clients"]["resumption"] = "allow"


def alert_of(run: subprocess.CompletedProcess[str]) -> int | None:
    found = re.search(r"SSL alert number (\d+)", run.stderr)
    return int(found[1]) if found else None


# A good client, the twin of all that follow


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_with_a_computer_certificate_is_accepted(lab: Lab, version: str) -> None:
    run = lab.s_client(version, credential=lab.credentials.computer)
    assert (run.returncode, alert_of(run)) == (0, None)
    assert "HTTP/1.1 200 OK" in run.stdout
    assert '<MPList Query="MPLIST">' in run.stdout
    record = lab.record()
    assert (record["verdict"], record["status"]) == ("allow", 200)
    assert record["tls_version"] == VERSIONS[version]
    assert record["client_name"] == "pc1.corp.example"
    good = lab.credentials.computer.certificate
    assert record["client_certificate"]["sha256"] == good.fingerprint(SHA256()).hex()
    assert lab.received().certificate_subject == (
        "CN=bridge.perimeter.example,O=ibcm-bridge lab\\, not for production"
    )


@pytest.mark.parametrize("version", [("--tls-max", "1.2"), ("--tlsv1.3",)])
def test_curl_with_a_computer_certificate_is_accepted(lab: Lab, version: tuple[str, ...]) -> None:
    run = lab.curl(*version, credential=lab.credentials.computer)
    assert (run.returncode, run.stderr) == (0, b"")
    body = run.stdout.partition(b"\r\n\r\n")[2]
    assert body == authority("MPLIST")
    assert lab.record()["verdict"] == "allow"
    assert lab.received().status == 200


# Clients that are refused


@pytest.mark.parametrize("who", REFUSED)
@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_gets_the_alert_of_the_refusal(lab: Lab, version: str, who: str) -> None:
    credential = None if who == "none" else getattr(lab.credentials, who)
    reason, rule, alert = REFUSED[who]
    run = lab.s_client(version, credential=credential)
    assert "HTTP/1.1" not in run.stdout
    if (who, version) == ("none", "-tls1_2"):
        alert = HANDSHAKE_FAILURE  # TLS 1.2 has no certificate_required (RFC 5246 §7.4.6)
    assert alert_of(run) == alert
    record = lab.check_refused_connection(reason, rule, alert=alert)
    assert "client_name" not in record
    if credential:
        seen = credential.certificate.fingerprint(SHA256()).hex()
        assert record["client_certificate"]["sha256"] == seen
    else:
        assert "client_certificate" not in record


@pytest.mark.parametrize("who", REFUSED)
def test_curl_is_refused(lab: Lab, who: str) -> None:
    credential = None if who == "none" else getattr(lab.credentials, who)
    reason, rule, alert = REFUSED[who]
    run = lab.curl(credential=credential)
    assert run.returncode == 56  # the connection failed while it was read
    assert run.stdout == b""
    assert b"alert" in run.stderr
    lab.check_refused_connection(reason, rule, alert=alert)


def test_a_request_in_the_handshake_of_a_refused_client_reaches_no_site_system(lab: Lab) -> None:
    # TLS 1.3 lets a client speak before its certificate has been judged.
    with lab.connect(lab.credentials.revoked) as connection:
        for _ in range(3):
            try:
                connection.sendall(lab.request())
            except OSError:
                break
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REVOKED"):
            lab.read_to_end(connection)
    lab.check_refused_connection(Reason.CERTIFICATE_REVOKED, TRUST, alert=44)


def test_refused_clients_do_not_affect_others(lab: Lab) -> None:
    with lab.client() as good:
        assert good.request("GET", "/SMS_MP/.sms_aut?MPLIST").status == 200
        lab.s_client(credential=lab.credentials.foreign)
        assert good.request("GET", "/SMS_MP/.sms_aut?MPLIST").status == 200
    assert [record["verdict"] for record in lab.records(3)] == ["allow", "deny", "allow"]


def test_a_user_certificate_with_the_name_of_a_computer_is_refused(lab: Lab) -> None:
    # One word can look like a computer's name; the principal name beside it says whose it is.
    run = lab.s_client(credential=lab.pki.user("alice"))
    assert alert_of(run) == 42
    lab.check_refused_connection(Reason.CERTIFICATE_NAME, POLICY, alert=42)


# The TLS that is spoken


def test_tls_1_1_is_refused(lab: Lab) -> None:
    old = ("-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
    run = lab.s_client(*old, credential=lab.credentials.computer)
    assert alert_of(run) == PROTOCOL_VERSION
    record = lab.check_refused_connection(
        Reason.HANDSHAKE_FAILED, "listener.tls", alert=PROTOCOL_VERSION
    )
    assert "unsupported protocol" in record["detail"]
    assert "mitmproxy" not in record["detail"]


@pytest.mark.parametrize(
    ("offered", "negotiated"),
    [
        ("h2,http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.1", "ALPN protocol: http/1.1"),
    ],
)
def test_only_http_1_1_is_negotiated(lab: Lab, offered: str, negotiated: str) -> None:
    run = lab.s_client("-alpn", offered, credential=lab.credentials.computer)
    assert negotiated in run.stdout
    assert "HTTP/1.1 200 OK" in run.stdout
    assert lab.record()["verdict"] == "allow"


def test_a_client_that_offers_only_another_protocol_is_refused(lab: Lab) -> None:
    run = lab.s_client("-alpn", "h2", credential=lab.credentials.computer)
    assert alert_of(run) == 120
    lab.check_refused_connection(Reason.HANDSHAKE_FAILED, "listener.tls", alert=120)


def test_a_client_that_offers_no_protocol_uses_http_1_1(lab: Lab) -> None:
    run = lab.s_client(credential=lab.credentials.computer)
    assert "No ALPN negotiated" in run.stdout
    assert "HTTP/1.1 200 OK" in run.stdout
    assert lab.record()["verdict"] == "allow"


def test_curl_falls_back_from_http_2(lab: Lab) -> None:
    run = lab.curl("--http2", credential=lab.credentials.computer)
    assert run.stdout.startswith(b"HTTP/1.1 200 OK\r\n")
    assert lab.record()["verdict"] == "allow"


@pytest.mark.parametrize("version", VERSIONS)
def test_openssl_resumes_a_saved_session(lab: Lab, version: str, tmp_path: Path) -> None:
    saved = str(tmp_path / "session.pem")
    good = lab.credentials.computer
    first = lab.s_client(version, "-sess_out", saved, credential=good)
    assert f"New, {VERSIONS[version]}" in first.stdout
    again = lab.s_client(version, "-sess_in", saved, credential=good)
    assert f"Reused, {VERSIONS[version]}" in again.stdout
    assert "HTTP/1.1 200 OK" in again.stdout
    full, resumed = lab.records(2)
    assert (full["verdict"], resumed["verdict"]) == ("allow", "allow")
    assert ("tls_resumed" in full, resumed["tls_resumed"]) == (False, True)
    assert resumed["client_name"] == full["client_name"] == "pc1.corp.example"


def test_no_session_allows_early_data(lab: Lab, tmp_path: Path) -> None:
    # RFC 8446 §8: early data can be replayed, and nobody is verified before it.
    saved = str(tmp_path / "session.pem")
    lab.s_client("-tls1_3", "-sess_out", saved, credential=lab.credentials.computer)
    shown = subprocess.run(
        ["openssl", "sess_id", "-in", saved, "-noout", "-text"],
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert "Max Early Data: 0" in shown.stdout
    lab.record()


def test_renegotiation_is_refused(lab: Lab) -> None:
    host, port = lab.bridge.address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_2"]
    command += ["-servername", "bridge.internet.example", "-CAfile", lab.root_file]
    command += ["-cert", lab.pem(lab.credentials.computer)]
    run = subprocess.run(
        command, input="R\n", capture_output=True, text=True, timeout=10, check=False
    )
    assert "RENEGOTIATING" in run.stdout + run.stderr
    assert "no renegotiation" in run.stderr
    lab.check_nothing_arrived()
