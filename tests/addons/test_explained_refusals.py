"""What `explain` says of a request is what the audit of a bridge says that was sent it."""

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

from .conftest import BRIDGED, GOOD, Lab, Running, bridged_publication, changed, wait_for

GUID = "5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
COMPARED = (
    *(audit.VERDICT, audit.REASON, audit.RULE, audit.DETAIL),
    *(audit.ROLE, audit.SITE_SYSTEM, audit.DROPPED_HEADERS, audit.INSPECTED),
)
OF_A_REFUSAL = (audit.REQUIREMENT, audit.STATUS, audit.TLS_ALERT)
"""Of what is allowed, the status is the site system's."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request, for the bridge and for `explain`."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    name: str = BRIDGED
    version: str = "HTTP/1.1"
    presented: Callable[[LabPki], LabCredential | None] | None = None
    """None: the lab's computer."""


def message(text: str, endpoint: str = "MP_HinvEndpoint") -> bytes:
    return ccm.ccm_post_body(endpoint=endpoint, body_xml=text, client_guid=GUID)


def post(body: bytes | None, content_type: str = ccm.CONTENT_TYPE, *more: tuple[str, str]) -> Asked:
    fields = (("Content-Type", content_type), *more)
    return Asked("CCM_POST", "/ccm_system/request", fields, body)


def propfind(body: bytes, content_type: str = "text/xml") -> Asked:
    fields = (("Content-Type", content_type), ("Depth", "1"))
    return Asked("PROPFIND", "/SMS_DP_SMSPKG$/LAB00001", fields, body)


def list_with(*headers: tuple[str, str], **changes: Any) -> Asked:
    return Asked(*GOOD, headers, **changes)


def shown(make: Callable[[LabPki], LabCredential | None]) -> Asked:
    return list_with(presented=make)


REFUSED = {
    "verb": Asked("DELETE", GOOD[1]),
    "verb of a resource": Asked("CCM_POST", GOOD[1], (("Content-Type", "a/b"),), b"x"),
    "resource": Asked("GET", "/SMS_MP/.sms_aut?MPKEYINFORMATIONMEDIA"),
    "unknown resource": Asked("GET", "/SMS_MP/x"),
    "directory": Asked("GET", "/other/x"),
    "bypass-directory": Asked("GET", "/NOCERT_SMS_DP_SMSPKG$/x"),
    "never below": Asked("GET", "/SMS_DP_SMSPKG$/Datalib/x"),
    "target-unsafe": Asked("GET", "/SMS_MP/../ccm_system/request"),
    "target-form": Asked("OPTIONS", "*"),
    "malformed-head": Asked("G@T", "/"),
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
    "body-too-large": list_with(body=b"x"),
    "upload-packet": Asked("BITS_POST", "/CCM_Incoming/x", (("Content-Length", "0"),)),
    "multipart": post(b"x"),
    "message": post(message("<Report/>", "MP_TokenManager")),
    "malicious": post(message(f"<Report>{eicar()}</Report>"), ccm.CONTENT_TYPE, ("X-A", "b")),
    "xml": post(message("<Report>")),
    "xml-dtd": post(message('<!DOCTYPE a SYSTEM "x"><Report/>')),
    "webdav xml": propfind(b"<propfind"),
    "webdav dtd": propfind(b"<!DOCTYPE a><propfind/>"),
    "webdav encoding": propfind(b"<a>\xff</a>"),
    "webdav propfind": propfind(b"<propfind xmlns='DAV:'/>"),
    "webdav depth": Asked("PROPFIND", "/SMS_DP_SMSPKG$/LAB00001", (("Depth", "2"),)),
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
    "packet without length": Asked("BITS_POST", "/CCM_Incoming/x", (("BITS-Packet-Type", "Ping"),)),
    "message": post(message("<Report/>")),
    "webdav": propfind(b"<propfind xmlns='DAV:'><allprop/></propfind>"),
    "file": Asked("GET", "/SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe"),
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
    assert revoked  # made before the lists are
    current = Trust(trust.anchors, trust.intermediates, tuple(running_lab.pki.crls()))
    file = tmp_path_factory.mktemp("explained") / "audit.jsonl"
    with Running(running_lab, changed(running_lab.policy, file, client_trust=current)) as one:
        yield one


def audited(running: Running, asked: Asked, presented: LabCredential | None) -> dict[str, Any]:
    """What a bridge that was sent it has written down."""
    before = len(running.audit())
    made = running.client(asked.name, presented) if presented else running.anonymous(asked.name)
    ended = (ConnectionEnded, HandshakeRefused, ssl.SSLError)
    with made as client, contextlib.suppress(*ended):
        client.request(asked.method, asked.target, asked.headers, asked.body, asked.version)
    record, *_ = wait_for(lambda: running.audit()[before:])
    return record


def explained(policy: Policy, asked: Asked, presented: LabCredential | None) -> dict[str, Any]:
    certificates = (presented.certificate, *presented.issuers) if presented else ()
    # On whatever port the bridge was started.
    url = Url("https", asked.name, None, asked.target)
    question = describe_request(
        asked.method, url, asked.headers, certificates, asked.body, version=asked.version
    )
    record = explain(policy, question, environment(policy)).record()
    read_again: dict[str, Any] = json.loads(json.dumps(record))
    return read_again


def compare(running: Running, asked: Asked, presented: LabCredential | None) -> dict[str, Any]:
    record = audited(running, asked, presented)
    said = explained(running.policy, asked, presented)
    keys = (*COMPARED, *(OF_A_REFUSAL if record["verdict"] == "deny" else ()))
    assert {key: said.get(key) for key in keys} == {key: record.get(key) for key in keys}
    return said


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_explained_as_it_is_audited(running: Running, case: str) -> None:
    asked = REFUSED[case]
    presented = asked.presented(running.lab.pki) if asked.presented else running.lab.computer
    assert compare(running, asked, presented)["verdict"] == "deny"


def test_a_revoked_certificate_is_explained_as_it_is_audited(
    running: Running, revoked: LabCredential
) -> None:
    said = compare(running, list_with(), revoked)
    assert said["reason"] == "certificate-revoked"


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_sent_on_is_explained_as_it_is_audited(running: Running, case: str) -> None:
    assert compare(running, ALLOWED[case], running.lab.computer)["verdict"] == "allow"


def test_plaintext_is_explained_as_it_is_audited(running: Running) -> None:
    before = len(running.audit())
    plaintext_request(running.address, b"GET / HTTP/1.1\r\n\r\n")
    record, *_ = wait_for(lambda: running.audit()[before:])
    question = describe_request("GET", Url("http", BRIDGED, None, "/"), (), (), None)
    said = explain(running.policy, question, environment(running.policy)).record()
    keys = (*COMPARED, audit.REQUIREMENT, audit.TLS_ALERT)
    assert {key: said.get(key) for key in keys} == {key: record.get(key) for key in keys}


def test_a_user_is_let_in_where_users_are_asked_for_by_both(
    running_lab: Lab, tmp_path: Path
) -> None:
    users = changed(
        running_lab.policy, tmp_path / "audit.jsonl", certificate_policy=CertificatePolicy.USER
    )
    with Running(running_lab, users) as running:
        user = running_lab.pki.user("jdoe@corp.example")
        assert compare(running, list_with(), user)["verdict"] == "allow"
        assert compare(running, list_with(), running_lab.computer)["verdict"] == "deny"
