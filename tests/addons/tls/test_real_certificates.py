"""Certificates as real authorities make them, and malformed twins: what a handshake comes to, what
`explain` says of the same.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ibcm_bridge.commands.explain.described_request import describe_request, read_url
from ibcm_bridge.commands.explain.environment import environment
from ibcm_bridge.commands.explain.explain import explain
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import load_credential
from ibcm_bridge.policy.trust import Trust
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, changed
from tests.addons.stand_ins.running import SOON, Running, wait_for
from tests.addons.tls.made_certificates import (
    EC,
    GOOD_ONE,
    NAME,
    PKIS,
    VERSION_2,
    Made,
    of,
    signed_again,
)
from tests.addons.tls.real_certificates import ACCEPTED, INVALID, NOT_READ, REFUSED


@pytest.fixture(scope="module")
def bridge(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A bridge that trusts all test authorities."""
    trust = Trust(
        tuple(pki.root.certificate for pki in PKIS.values()),
        tuple(pki.issuing.certificate for pki in PKIS.values() if pki.known),
        tuple(
            crl
            for pki in PKIS.values()
            for crl in (pki.crl(pki.root), pki.crl(pki.issuing, *pki.lists))
        ),
    )
    audit = tmp_path_factory.mktemp("bridge") / "audit.jsonl"
    with Running(running_lab, changed(running_lab.policy, audit, client_trust=trust)) as one:
        yield one


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def shown(kind: str, made: Made) -> LabCredential:
    """Return what a client presents for a certificate."""
    sent = () if PKIS[kind].known else (PKIS[kind].issuing.certificate,)
    return LabCredential(made.certificate, made.key, sent)


def shake_hands(
    bridge: Running, credential: LabCredential, version: ssl.TLSVersion
) -> dict[str, object]:
    """Send a request, and return its audit record."""
    before = len(bridge.audit())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bridge.lab.pki.root.public_bytes(Encoding.DER))
    context.minimum_version = context.maximum_version = version
    load_credential(context, credential)
    request = f"{GOOD[0]} {GOOD[1]} HTTP/1.1\r\nHost: {BRIDGED}\r\nConnection: close\r\n\r\n"
    with (
        contextlib.suppress(ssl.SSLError, ConnectionError),
        socket.create_connection(bridge.address, SOON) as plain,
        context.wrap_socket(plain, server_hostname=BRIDGED) as tls,
    ):
        tls.sendall(request.encode())
        while tls.recv(65_536):
            pass
    (record,) = wait_for(lambda: bridge.audit()[before:])
    return record


def explained(bridge: Running, credential: LabCredential) -> dict[str, object]:
    question = describe_request(
        GOOD[0],
        read_url(f"https://{BRIDGED}{GOOD[1]}"),
        (),
        (credential.certificate, *credential.issuers),
        None,
    )
    return explain(bridge.policy, question, environment(bridge.policy)).record()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ACCEPTED)
def test_certificates_of_real_authorities_are_accepted_and_explained(
    bridge: Running, case: str, version: ssl.TLSVersion
) -> None:
    credential = shown(*ACCEPTED[case])
    record = shake_hands(bridge, credential, version)
    assert record["verdict"] == "allow", record
    assert explained(bridge, credential)["verdict"] == "allow"
    subject = ACCEPTED[case][1].certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert record["client_name"] == (str(subject[0].value).lower() if subject else NAME)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_explained_with_the_same_reason(
    bridge: Running, case: str, version: ssl.TLSVersion
) -> None:
    kind, made, reason, detail = REFUSED[case]
    credential = shown(kind, made)
    record = shake_hands(bridge, credential, version)
    assert record["reason"] == reason.value, record
    assert detail in str(record["detail"])
    outcome = explained(bridge, credential)
    keys = ("verdict", "reason", "rule", "requirement", "detail", "alert")
    assert {key: outcome.get(key) for key in keys} == {key: record.get(key) for key in keys}


def test_a_certificate_of_version_2_is_refused_and_is_not_a_defect(
    bridge: Running, tmp_path: Path
) -> None:
    der = signed_again(of("good"), GOOD_ONE, version=VERSION_2)

    class Raw(LabCredential):
        def chain_pem(self) -> bytes:
            return ssl.DER_cert_to_PEM_cert(der).encode()

    credential = Raw(of("good").certificate, EC, ())
    for version in VERSIONS:
        record = shake_hands(bridge, credential, version)
        assert (record["reason"], record["detail"]) == (INVALID.value, NOT_READ)
