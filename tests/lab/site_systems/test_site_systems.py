"""The servers of the simulated site systems (TLS, certificates, records), and the lab's client."""

from __future__ import annotations

import hashlib
import socket
import ssl
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    plaintext_request,
)
from ibcm_bridge.lab.protocol.content import content
from ibcm_bridge.lab.site_systems.records import Handshake
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.lab.site_systems.running import (
    DP,
    ENROLLMENT,
    FILE,
    MP,
    MP_LIST,
    Lab,
)


def test_a_request_is_recorded_as_sent(lab: Lab) -> None:
    fields = [("Host", MP), ("user-AGENT", "ccmhttp"), ("X-Twice", "1"), ("X-Twice", "2")]
    with lab.client(credential=lab.computer) as client:
        client.request("CCM_POST", "/CCM_System/request", fields, b"abc")
    (received,) = lab.site.received()
    assert received.site_system == "management-point"
    assert (received.method, received.target) == ("CCM_POST", "/CCM_System/request")
    assert received.headers == (*fields, ("Content-Length", "3"))
    assert received.body == b"abc"
    subject = lab.computer.certificate.subject.rfc4514_string()
    assert received.certificate_subject == subject
    assert received.certificate_sha256 == lab.computer.certificate.fingerprint(SHA256()).hex()
    assert (received.status, received.user) == (200, "")
    assert (received.size, received.sha256) == (3, hashlib.sha256(b"abc").hexdigest())
    assert abs(datetime.now(UTC) - received.time) < timedelta(minutes=1)


def test_the_first_mebibyte_of_a_large_body_is_recorded(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        assert client.request("PUT", "/ccm_system/x", (), b"y" * 3_000_000).status == 200
    (received,) = lab.site.received()
    assert (len(received.body), received.size) == (1024 * 1024, 3_000_000)


def test_requests_on_one_connection_share_a_peer_port_and_a_handshake(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        client.request("GET", MP_LIST)
        client.request("HEAD", MP_LIST)
    with lab.client(credential=lab.computer) as client:
        client.request("GET", MP_LIST)
    first, second, third = (request.peer_port for request in lab.site.received())
    assert first == second != third
    assert lab.site.handshakes() == (Handshake("management-point", MP),) * 2


# Certificates


@pytest.mark.parametrize(
    ("name", "target"),
    [(MP, MP_LIST), (MP, "/ccm_system/request"), (DP, FILE), (DP, "/SMS_DP_SMSPKG$/Datalib")],
)
def test_a_protected_directory_returns_403_without_a_certificate(
    lab: Lab, name: str, target: str
) -> None:
    with lab.client(name) as client:
        response = client.request("GET", target)
    assert (response.status, response.body) == (403, b"Client certificate required")
    assert lab.site.received()[0].certificate_subject is None


@pytest.mark.parametrize(
    ("name", "method", "target"),
    [
        (MP, "CCM_POST", "/ccm_system_AltAuth/request"),
        (MP, "CCM_POST", "/ccm_system_tokenauth/request"),
        (MP, "CCM_POST", "/ccm_system/../ccm_system_altauth/request"),
        (MP, "CCM_POST", "/ccm_system%5Faltauth/request"),
        (MP, "GET", "/SMS_MP_AltAuth/.sms_pol?{LAB}.1_00"),
        (MP, "DELETE", "/SMS_MP_AltAuth/"),
        (DP, "GET", "/NOCERT_SMS_DP_SMSPKG$/Content_7.1/sccm?/setup.exe"),
        (DP, "GET", "/NOCERT_SMS_DP_SMSPKG$/Datalib"),
        (DP, "GET", "/CCMTOKENAUTH_SMS_DP_SMSPKG$/FileLib/ABCD/ABCDEF"),
    ],
)
def test_sibling_directories_respond_without_a_certificate(
    lab: Lab, name: str, method: str, target: str
) -> None:
    with lab.client(name) as client:
        assert client.request(method, target).status == 200
    assert lab.site.received()[0].target == target


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("wrong", ["revoked", "expired"])
def test_a_revoked_or_expired_certificate_gets_403_as_in_iis(
    lab: Lab, version: ssl.TLSVersion, wrong: str
) -> None:
    credential = lab.revoked if wrong == "revoked" else lab.pki.expired_computer("pc3.corp.example")
    with lab.client(credential=credential, maximum_version=version) as client:
        response = client.request("GET", MP_LIST)
        assert (response.status, wrong.encode() in response.body) == (403, True)
        assert client.request("GET", "/SMS_MP_AltAuth/.sms_aut?MPLIST").status == 200


def test_a_revoked_certificate_fails_a_handshake_that_requires_one(
    lab: Lab,
) -> None:
    with lab.client(ENROLLMENT, lab.revoked) as client, pytest.raises(HandshakeRefused) as refusal:
        client.request("POST", "/EnrollmentServer/Discovery.svc", (), b"")
    assert refusal.value.alert == "certificate revoked"
    assert lab.site.received() == ()
    assert lab.site.handshakes() == (Handshake("enrollment-proxy-point", ENROLLMENT),)


def test_a_foreign_or_wrong_purpose_certificate_fails_the_handshake(lab: Lab) -> None:
    strangers = {
        "unknown ca": lab.pki.foreign_computer("pc1.corp.example"),
        "unsupported certificate": lab.pki.wrong_purpose("pc1.corp.example"),
    }
    for alert, credential in strangers.items():
        with (
            lab.client(credential=credential) as client,
            pytest.raises(HandshakeRefused) as refusal,
        ):
            client.request("GET", MP_LIST)
        assert refusal.value.alert == alert


def test_a_certificate_without_a_purpose_gets_403(lab: Lab) -> None:
    with lab.client(credential=lab.pki.without_purpose("pc1.corp.example")) as client:
        assert client.request("GET", MP_LIST).status == 403


def test_both_names_of_a_site_system_are_in_its_certificate(lab: Lab) -> None:
    for name in ("mp-tunnel.internet.example", MP):
        with lab.client(name, lab.computer) as client:
            assert client.request("GET", MP_LIST).status == 200
    with lab.client("other.internet.example") as client, pytest.raises(ssl.SSLError):
        client.connect()


# The client


def test_plaintext_on_a_tls_port_gets_no_response(lab: Lab) -> None:
    data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert not plaintext_request(lab.site.management_point, data).startswith(b"HTTP/")
    assert lab.site.received() == ()


def test_a_closed_connection_is_not_reused(lab: Lab) -> None:
    with lab.client(credential=lab.computer) as client:
        assert client.request("GET", MP_LIST, {"Connection": "close"}).status == 200
        with pytest.raises(ConnectionEnded):
            client.request("GET", MP_LIST)


def test_a_connection_closed_in_the_handshake_is_a_refusal(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with (
            LabClient(listener.getsockname(), MP, trust=lab.pki.root, credential=None) as client,
            pytest.raises(HandshakeRefused) as refusal,
        ):
            client.connect()
        thread.join()
    assert refusal.value.alert is None


def test_a_stop_closes_connections_and_ends_the_thread(lab: Lab) -> None:
    before = set(threading.enumerate())
    with SiteSystems(lab.pki) as site:
        client = LabClient(site.management_point, MP, trust=lab.pki.root, credential=lab.computer)
        client.request("GET", MP_LIST)
    with client, pytest.raises(ConnectionEnded):
        client.request("GET", MP_LIST)
    assert set(threading.enumerate()) == before
    assert len(site.received()) == 1


@pytest.mark.needs("curl")
def test_curl_downloads_a_range_with_its_certificate(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(lab.pki.root.public_bytes(Encoding.PEM))
    (tmp_path / "pc1.pem").write_bytes(lab.computer.chain_pem() + lab.computer.key_pem())
    port = lab.site.distribution_point.port
    command: list[str | Path] = ["curl", "--silent", "--http1.1", "--noproxy", "*"]
    command += ["--cacert", tmp_path / "root.pem", "--cert", tmp_path / "pc1.pem"]
    command += ["--resolve", f"{DP}:{port}:127.0.0.1", "--range", "100-400000"]
    command += ["--output", tmp_path / "part", f"https://{DP}:{port}{FILE}"]
    subprocess.run(command, check=True, timeout=20)
    assert (tmp_path / "part").read_bytes() == content(100, 400_001)
