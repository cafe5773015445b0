"""The certificate that a site system asks for only after it has read the request head.

IIS does so for a directory that wants one (protocol.md §9): by renegotiation in TLS 1.2, by
post-handshake authentication in 1.3. Apache does the same for a location.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.bridge.process import free_port
from tests.integration.lab import Lab
from tests.integration.late.conftest import Apache

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
CASES = [(version, trust) for version in ("1.2", "1.3") for trust in ("lab", "foreign")]
PORTS: dict[tuple[str, str], int] = {}
"""Of each case; chosen as the bridge starts, before somebody else has them."""
LARGE = 6_400_000
"""Characters. About 3.7 MB are sent; the role allows messages of up to 4 MB."""


@pytest.fixture(scope="module")
def change_policy(policy: dict[str, Any], apache: Apache) -> None:
    (bridge, *_) = policy["publications"]
    policy["publications"] = []
    for case in CASES:
        port = PORTS[case] = free_port()
        roles = bridge["roles"]
        point = {**roles["management-point"], "connect": f"127.0.0.1:{apache.ports[case]}"}
        policy["publications"].append(
            {
                **bridge,
                "listen": f"127.0.0.1:{port}",
                "roles": {**roles, "management-point": point},
            }
        )


@pytest.fixture(autouse=True)
def clear(apache: Apache) -> None:
    apache.seen.clear()


def bridge_fingerprint(lab: Lab) -> str:
    pem = (lab.bridge.directory / "pki" / "bridge-client.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).fingerprint(SHA256()).hex()


def message(lab: Lab, characters: int) -> bytes:
    """A message whose payload hardly compresses."""
    noise = hashlib.shake_256(b"large").hexdigest(characters // 2)
    return lab.message(xml=f"<Report><A>{noise}</A></Report>")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_certificate_is_sent_late_for_a_get(lab: Lab, apache: Apache, version: str) -> None:
    with lab.client(address=("127.0.0.1", PORTS[version, "lab"])) as client:
        for _ in range(3):
            assert client.request("GET", MP_LIST).status == 200
    assert [received.method for received in apache.seen] == ["GET"] * 3
    assert {received.certificate for received in apache.seen} == {bridge_fingerprint(lab)}
    lab.records(3)


@pytest.mark.parametrize("size", [1_000, 400_000, LARGE])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_certificate_is_sent_late_for_a_message_which_arrives_complete(
    lab: Lab, apache: Apache, version: str, size: int
) -> None:
    body = message(lab, size)
    with lab.client(address=("127.0.0.1", PORTS[version, "lab"])) as client:
        replies = [lab.ccm_post(client, body) for _ in range(3)]
    assert size != LARGE or len(body) > 3_500_000
    digest = hashlib.sha256(body).hexdigest()
    assert [(response.status, response.body) for response in replies] == [
        (200, digest.encode())
    ] * 3
    for seen in apache.seen:
        assert (seen.method, seen.length, seen.sha256) == ("CCM_POST", len(body), digest)
        assert seen.certificate == bridge_fingerprint(lab)
    assert len(apache.seen) == 3
    lab.records(3)


@pytest.mark.parametrize("method", ["GET", "CCM_POST"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_untrusted_late_certificate_is_a_502_that_names_it(
    lab: Lab, apache: Apache, version: str, method: str
) -> None:
    with lab.client(address=("127.0.0.1", PORTS[version, "foreign"])) as client:
        if method == "GET":
            reply = client.request("GET", MP_LIST)
        else:
            reply = lab.ccm_post(client, message(lab, 400_000))
    record = lab.check_refused(reply, Reason.SITE_SYSTEM_RESPONSE, "site_system.certificate")
    assert (
        record["detail"] == "mp01.corp.example rejected the bridge's client certificate: unknown_ca"
    )
    assert apache.seen == []


def test_without_a_certificate_request_the_site_system_gets_no_certificate(
    lab: Lab, apache: Apache
) -> None:
    # Else the tests above would prove nothing: outside those locations nobody asks.
    context = lab.context()
    context.load_cert_chain(lab.pem(lab.credentials.computer))
    address = ("127.0.0.1", apache.ports["1.2", "lab"])
    with lab.connect(name="mp01.corp.example", address=address, context=context) as connection:
        connection.sendall(lab.request("GET", "/elsewhere", {"Connection": "close"}))
        (reply,) = lab.read_responses(lab.read_to_end(connection), ["GET"])
    assert reply.status == 200
    assert [received.certificate for received in apache.seen] == [None]
