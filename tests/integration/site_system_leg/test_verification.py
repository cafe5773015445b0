"""The bridge sends requests only to the verified site system (BRIDGE-TERMINATE)."""

from __future__ import annotations

import contextlib
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki import certificates
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from tests.integration.lab import Lab
from tests.integration.raw_site_system import Peer, RawSiteSystem
from tests.integration.site_system_leg.publications import (
    FILE,
    MP_LIST,
    MP_NAME,
    NAME,
    OK,
    address,
    check_refused,
)


def other_pki(lab: Lab) -> LabPki:
    return LabPki.make(now=datetime.now(UTC))


def impostors(lab: Lab) -> dict[str, LabCredential]:
    return {
        "wrong-name": lab.pki.server("other.corp.example"),
        "internet-name": lab.pki.server(NAME),
        "wildcard-above": lab.pki.server("*.example"),
        "partial-wildcard": lab.pki.server("mp*.corp.example"),
        "foreign": other_pki(lab).server(MP_NAME),
        "self-signed": lab.pki.self_signed(MP_NAME),
        "expired": lab.credentials.mp_expired,
        "revoked": lab.credentials.mp_revoked,
        "a-computer-of-that-name": lab.pki.computer(MP_NAME),
    }


IMPOSTORS = (
    "wrong-name",
    "internet-name",
    "wildcard-above",
    "partial-wildcard",
    "foreign",
    "self-signed",
    "expired",
    "revoked",
    "a-computer-of-that-name",
)


@pytest.mark.parametrize("who", IMPOSTORS)
def test_an_impostor_gets_no_request(lab: Lab, raw: RawSiteSystem, who: str) -> None:
    raw.behave(lambda peer: peer.wait_for_end(), impostors(lab)[who])
    data = lab.request("CCM_POST", "/ccm_system/request", lab.message_fields, lab.message())
    reply = lab.send_one(data, address=address("raw"))
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_UNVERIFIED)
    assert MP_NAME in record["detail"]
    (peer,) = raw.peers
    lab.until(peer.ended.is_set)
    assert peer.received == b""


def test_a_site_system_named_only_in_its_subject_is_refused_with_the_reason(
    lab: Lab, raw: RawSiteSystem
) -> None:
    authority, key = lab.pki._issuing, certificates.ec_key()
    purpose = (x509.ExtendedKeyUsage(certificates.SERVER), False)
    valid = certificates.current(datetime.now(UTC))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MP_NAME)])
    made = certificates.sign(key, subject, authority, valid, [purpose])
    credential = certificates.LabCredential(made, key, (authority.certificate,))
    raw.behave(lambda peer: peer.wait_for_end(), credential)
    record = check_refused(
        lab, lab.send_one(lab.request(), address=address("raw")), Reason.SITE_SYSTEM_UNVERIFIED
    )
    assert record["detail"] == (
        f"{MP_NAME}: cannot be verified as {MP_NAME}: the certificate has no DNS name in its "
        "subjectAltName; its common name is not used (RFC 9525 section 2)"
    )


@pytest.mark.parametrize("names", [(MP_NAME,), ("x.corp.example", MP_NAME), ("*.corp.example",)])
def test_the_verified_site_system_gets_the_request(
    lab: Lab, raw: RawSiteSystem, names: tuple[str, ...]
) -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(OK)
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(*names))
    request = lab.request(fields={"Connection": "close"} | lab.identification)
    reply = lab.send_one(request, address=address("raw"))
    assert (reply.status, reply.body) == (200, b"ok")
    assert lab.record()["verdict"] == "allow"
    (peer,) = raw.peers
    # A new head: the fields of the client, without those of its own leg, and nothing added.
    expected = lab.request(fields=lab.identification)
    assert bytes(peer.received) == expected


def test_the_site_system_gets_the_certificate_of_the_bridge_and_not_of_the_client(lab: Lab) -> None:
    with lab.client(address=address("good")) as client:
        assert client.request("GET", MP_LIST).status == 200
        assert client.request("GET", FILE, {"Range": "bytes=0-0"}).status == 206
    pem = (lab.bridge.directory / "pki" / "bridge-client.pem").read_bytes()
    presented = x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()
    for received in lab.site.received():
        assert received.certificate_sha256 == presented
    names = [(handshake.site_system, handshake.sni) for handshake in lab.site.handshakes()]
    assert names == [
        ("management-point", "mp01.corp.example"),
        ("distribution-point", "dp01.corp.example"),
    ]
    assert [record["client_name"] for record in lab.records(2)] == ["pc1.corp.example"] * 2


def test_a_site_system_that_rejects_the_certificate_of_the_bridge_is_a_502(
    lab: Lab, raw: RawSiteSystem
) -> None:
    # Its trust is another's: it refuses the bridge, which the bridge must not hide.
    raw.behave(lambda peer: peer.wait_for_end(), lab.pki.server(MP_NAME))
    raw.trust = other_pki(lab).root
    try:
        reply = lab.send_one(lab.request(), address=address("raw"))
    finally:
        raw.trust = lab.pki.root
    # In TLS 1.3 the alert follows the handshake. The reason is not a timeout.
    rule = "site_system.certificate"
    record = check_refused(lab, reply, Reason.SITE_SYSTEM_RESPONSE, rule)
    assert record["detail"] == f"{MP_NAME} rejected the bridge's client certificate: unknown_ca"


# Certificates requested late, as IIS does (protocol.md §0, 9)


def test_a_certificate_requested_after_the_handshake_is_sent(lab: Lab, raw: RawSiteSystem) -> None:
    shown: list[bytes | None] = []

    def script(peer: Peer) -> None:
        assert isinstance(peer.connection, ssl.SSLSocket)
        peer.read_head()
        shown.append(peer.connection.getpeercert(binary_form=True))
        peer.connection.verify_client_post_handshake()
        peer.send(OK[:10])  # asks for it, and begins to answer
        with contextlib.suppress(ssl.SSLWantReadError, TimeoutError):
            peer.connection.settimeout(0.2)
            peer.connection.recv(1)
        peer.connection.settimeout(10)
        shown.append(peer.connection.getpeercert(binary_form=True))
        peer.send(OK[10:])
        peer.wait_for_end()

    raw.behave(script, lab.pki.server(MP_NAME))
    raw.asks_late = True
    try:
        request = lab.request(fields={"Connection": "close"})
        reply = lab.send_one(request, address=address("raw"))
    finally:
        raw.asks_late = False
    assert reply.body == b"ok"
    pem = (lab.bridge.directory / "pki" / "bridge-client.pem").read_bytes()
    presented = x509.load_pem_x509_certificate(pem).fingerprint(SHA256())
    assert shown[0] is None
    assert shown[1] is not None
    assert x509.load_der_x509_certificate(shown[1]).fingerprint(SHA256()) == presented
    lab.records(1)
