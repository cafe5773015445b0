"""`explain` gives the same result for a request as the audit of a bridge that received it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ibcm_bridge.audit import record as audit
from ibcm_bridge.commands.explain.described_request import Url, describe_request
from ibcm_bridge.commands.explain.environment import environment
from ibcm_bridge.commands.explain.explain import explain
from ibcm_bridge.lab.cases.requests import eicar
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, plaintext_request
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.roles import CertificatePolicy
from ibcm_bridge.policy.trust import Trust
from tests.addons.stand_ins.lab import BRIDGED, GOOD, Lab, bridged_publication, changed
from tests.addons.stand_ins.running import Running, wait_for

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
COMPARED = (
    *(audit.VERDICT, audit.REASON, audit.RULE, audit.DETAIL),
    *(audit.ROLE, audit.SITE_SYSTEM, audit.DROPPED_HEADERS, audit.INSPECTED),
)
COMPARED_IN_REFUSALS = (audit.REQUIREMENT, audit.STATUS, audit.TLS_ALERT)
"""Compared only in refusals: the status of an allowed request comes from the site system."""


@dataclasses.dataclass(frozen=True)
class SampleRequest:
    """A request, for the bridge and for `explain`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    name: str = BRIDGED
    version: str = "HTTP/1.1"
    presented: Callable[[LabPki], LabCredential | None] | None = None
    """Makes the client certificate; None for that of the lab's computer."""


def message(text: str, endpoint: str = "MP_HinvEndpoint") -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=text, client_guid=GUID)


def post(
    body: bytes | None, content_type: str = ccm.CONTENT_TYPE, *more: tuple[str, str]
) -> SampleRequest:
    fields = (("Content-Type", content_type), *more)
    return SampleRequest("CCM_POST", "/ccm_system/request", fields, body)


def propfind(body: bytes, content_type: str = "text/xml") -> SampleRequest:
    fields = (("Content-Type", content_type), ("Depth", "1"))
    return SampleRequest("PROPFIND", "/SMS_DP_SMSPKG$/LAB00001", fields, body)


def list_with(*headers: tuple[str, str], **changes: Any) -> SampleRequest:
    return SampleRequest(*GOOD, headers, **changes)


def shown(make: Callable[[LabPki], LabCredential | None]) -> SampleRequest:
    return list_with(presented=make)


REFUSED = {
    "verb": SampleRequest("DELETE", GOOD[1]),
    "verb of a resource": SampleRequest("CCM_POST", GOOD[1], (("Content-Type", "a/b"),), b"x"),
    "resource": SampleRequest("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
    "unknown resource": SampleRequest("GET", "/SMS_MP/x"),
    "directory": SampleRequest("GET", "/other/x"),
    "bypass-directory": SampleRequest("GET", "/NOCERT_SMS_DP_SMSPKG$/x"),
    "never below": SampleRequest("GET", "/SMS_DP_SMSPKG$/Datalib/x"),
    "target-unsafe": SampleRequest("GET", "/SMS_MP/../ccm_system/request"),
    "target-form": SampleRequest("OPTIONS", "*"),
    "malformed-head": SampleRequest("G@T", "/"),
    "head-too-large": list_with(("X-Long", "x" * 70_000)),
    "http-version": list_with(version="HTTP/1.0"),
    "framing": list_with(("Transfer-Encoding", "chunked")),
    "two lengths": list_with(("Content-Length", "0"), ("Content-Length", "1")),
    "length-required": post(b"", ccm.CONTENT_TYPE),
    "host-mismatch": list_with(("Host", "other.example")),
    "expectation": list_with(("Expect", "more")),
    "connection": list_with(("Connection", "Upgrade, Host"), ("Upgrade", "h2c")),
    "range": list_with(("Range", "lines=1-2")),
    "media-type": post(b"x", "text/plain"),
    "content-encoding": post(b"x", ccm.CONTENT_TYPE, ("Content-Encoding", "gzip")),
    "body-not-allowed": list_with(body=b"x"),
    "body-too-large": propfind(bytes(65_537)),
    "upload-packet": SampleRequest("BITS_POST", "/CCM_Incoming/x", (("Content-Length", "0"),)),
    "multipart": post(b"x"),
    "message": post(message("<Report/>", "MP_TokenManager")),
    "malicious": post(message(f"<Report>{eicar()}</Report>"), ccm.CONTENT_TYPE, ("X-A", "b")),
    "xml": post(message("<Report>")),
    "xml-dtd": post(message('<!DOCTYPE a SYSTEM "x"><Report/>')),
    "webdav xml": propfind(b"<propfind"),
    "webdav dtd": propfind(b"<!DOCTYPE a><propfind/>"),
    "webdav encoding": propfind(b"<a>\xff</a>"),
    "webdav propfind": propfind(b"<propfind xmlns='DAV:'/>"),
    "webdav depth": SampleRequest("PROPFIND", "/SMS_DP_SMSPKG$/LAB00001", (("Depth", "2"),)),
    "webdav charset": propfind(b"<a/>", "text/xml; charset=latin1"),
    "unknown-name": list_with(name="other.example"),
    "expired": shown(lambda pki: pki.expired_computer("pc3.corp.example")),
    "untrusted": shown(lambda pki: pki.foreign_computer("pc5.corp.example")),
    "self-signed": shown(lambda pki: pki.self_signed("pc5.corp.example")),
    "purpose": shown(lambda pki: pki.wrong_purpose("pc4.corp.example")),
    "without purpose": shown(lambda pki: pki.without_purpose("pc4.corp.example")),
    "user": shown(lambda pki: pki.user("jdoe@corp.example")),
    "missing": shown(lambda _: None),
}
ALLOWED = {
    "list": list_with(("X-Forwarded-For", "192.0.2.1")),
    "many unlisted fields": list_with(*((f"X-{number}", "a") for number in range(40))),
    "upgrade": list_with(("Connection", "Upgrade"), ("Upgrade", "h2c")),
    "packet without length": SampleRequest(
        "BITS_POST", "/CCM_Incoming/x", (("BITS-Packet-Type", "Ping"),)
    ),
    "message": post(message("<Report/>")),
    "webdav": propfind(b"<propfind xmlns='DAV:'><allprop/></propfind>"),
    "file": SampleRequest("GET", "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe"),
}


@pytest.fixture(scope="module")
def revoked(running_lab: Lab) -> LabCredential:
    return running_lab.pki.revoked_computer("pc2.corp.example")


@pytest.fixture(scope="module")
def running(
    running_lab: Lab, revoked: LabCredential, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    trust = bridged_publication(running_lab.policy).client_trust
    assert trust is not None
    assert revoked  # revoked before the lists are made
    current = Trust(trust.anchors, trust.intermediates, tuple(running_lab.pki.crls()))
    file = tmp_path_factory.mktemp("explained") / "audit.jsonl"
    with Running(running_lab, changed(running_lab.policy, file, client_trust=current)) as one:
        yield one


def audit_record(
    running: Running, request: SampleRequest, presented: LabCredential | None
) -> dict[str, Any]:
    """Send a request to the bridge, and return its audit record."""
    before = len(running.audit())
    made = running.client(request.name, presented) if presented else running.anonymous(request.name)
    ended = (ConnectionEnded, HandshakeRefused, ssl.SSLError)
    with made as client, contextlib.suppress(*ended):
        client.request(
            request.method, request.target, request.headers, request.body, request.version
        )
    record, *_ = wait_for(lambda: running.audit()[before:])
    return record


def explained(
    policy: Policy, request: SampleRequest, presented: LabCredential | None
) -> dict[str, Any]:
    certificates = (presented.certificate, *presented.issuers) if presented else ()
    # None: the port of the bridge does not matter.
    url = Url("https", request.name, None, request.target)
    question = describe_request(
        request.method, url, request.headers, certificates, request.body, version=request.version
    )
    record = explain(policy, question, environment(policy)).record()
    read_again: dict[str, Any] = json.loads(json.dumps(record))
    return read_again


def compare(
    running: Running, request: SampleRequest, presented: LabCredential | None
) -> dict[str, Any]:
    record = audit_record(running, request, presented)
    explained_record = explained(running.policy, request, presented)
    keys = (*COMPARED, *(COMPARED_IN_REFUSALS if record["verdict"] == "deny" else ()))
    assert {key: explained_record.get(key) for key in keys} == {
        key: record.get(key) for key in keys
    }
    return explained_record


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_explained_as_it_is_audited(running: Running, case: str) -> None:
    request = REFUSED[case]
    presented = request.presented(running.lab.pki) if request.presented else running.lab.computer
    assert compare(running, request, presented)["verdict"] == "deny"


def test_a_revoked_certificate_is_explained_as_it_is_audited(
    running: Running, revoked: LabCredential
) -> None:
    explained_record = compare(running, list_with(), revoked)
    assert explained_record["reason"] == "certificate-revoked"


@pytest.mark.parametrize("case", ALLOWED)
def test_a_forwarded_request_is_explained_as_it_is_audited(running: Running, case: str) -> None:
    assert compare(running, ALLOWED[case], running.lab.computer)["verdict"] == "allow"


def test_plaintext_is_explained_as_it_is_audited(running: Running) -> None:
    before = len(running.audit())
    plaintext_request(running.address, b"GET / HTTP/1.1\r\n\r\n")
    record, *_ = wait_for(lambda: running.audit()[before:])
    question = describe_request("GET", Url("http", BRIDGED, None, "/"), (), (), None)
    explained_record = explain(running.policy, question, environment(running.policy)).record()
    keys = (*COMPARED, audit.REQUIREMENT, audit.TLS_ALERT)
    assert {key: explained_record.get(key) for key in keys} == {
        key: record.get(key) for key in keys
    }


def test_bridge_and_explain_accept_users_if_the_policy_requires_them(
    running_lab: Lab, tmp_path: Path
) -> None:
    users = changed(
        running_lab.policy, tmp_path / "audit.jsonl", certificate_policy=CertificatePolicy.USER
    )
    with Running(running_lab, users) as running:
        user = running_lab.pki.user("jdoe@corp.example")
        assert compare(running, list_with(), user)["verdict"] == "allow"
        assert compare(running, list_with(), running_lab.computer)["verdict"] == "deny"
