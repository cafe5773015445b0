"""Ways to call `explain`: with a policy, as a command, and with saved flows."""

import dataclasses
from pathlib import Path

from mitmproxy import http
from mitmproxy.io import FlowWriter
from mitmproxy.test import tflow

from ibcm_bridge.commands.explain.described_request import describe_request, read_url
from ibcm_bridge.commands.explain.environment import environment
from ibcm_bridge.commands.explain.explain import explain
from ibcm_bridge.commands.explain.explanation import Explanation
from ibcm_bridge.commands.main import main
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.policy.policy import Policy
from ibcm_bridge.policy.publications import (
    BridgePublication,
    Listener,
)
from ibcm_bridge.policy.trust import Trust

MP = "https://bridge.internet.example"

LIST = "/SMS_MP/.sms_aut?MPLIST"

NAMED = "bridge.internet.example"

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
"""Bound to the computer in the policy `pilot`."""

ANOTHERS = "GUID:11111111-2222-4333-8444-555555555555"
"""Bound to another client."""

UNBOUND = "GUID:66666666-7777-4888-8999-AAAAAAAAAAAA"


def trusting(policy: Policy, pki: LabPki) -> Policy:
    """The policy with the lab's authorities and their current revocation lists as client trust."""
    listener = policy.listeners[0]
    trust = Trust((pki.root,), (pki.issuing,), pki.crls())
    publications = {
        name: dataclasses.replace(publication, client_trust=trust)
        if isinstance(publication, BridgePublication)
        else publication
        for name, publication in listener.publications.items()
    }
    return dataclasses.replace(policy, listeners=(Listener(listener.address, publications),))


def bridged(policy: Policy) -> BridgePublication:
    listener = policy.listeners[0]
    assert isinstance(listener, Listener)
    publication = listener.publications["bridge.internet.example"]
    assert isinstance(publication, BridgePublication)
    return publication


def ask(
    policy: Policy,
    method: str,
    url: str,
    presented: LabCredential | None,
    body: bytes | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Explanation:
    certificates = (presented.certificate, *presented.issuers) if presented else ()
    question = describe_request(method, read_url(url), headers, certificates, body)
    return explain(policy, question, environment(policy))


def reason(explanation: Explanation) -> Reason | None:
    return None if explanation.denial is None else explanation.denial.reason


def command(directory: Path, *arguments: str) -> int:
    certificate = directory / "pki" / "clients" / "computer.pem"
    given = ("--config", str(directory / "bridge.yaml"), "--certificate", str(certificate))
    return main(["explain", *given, *arguments])


def sent(
    method: str,
    target: str,
    body: bytes | None = b"",
    fields: tuple[tuple[bytes, bytes], ...] = ((b"Host", b"bridge.internet.example"),),
    version: bytes = b"HTTP/1.1",
) -> http.Request:
    """A request as mitmproxy saves it. `http.Request.make` would correct some of its parts."""
    length = ((b"Content-Length", b"%d" % len(body)),) if body else ()
    return http.Request(
        host="bridge.internet.example",
        port=443,
        method=method.encode(),
        scheme=b"https",
        authority=b"",
        path=target.encode("utf-8", "surrogateescape"),
        http_version=version,
        headers=http.Headers((*fields, *length)),
        content=body,
        trailers=None,
        timestamp_start=1,
        timestamp_end=2,
    )


def saved(path: Path, *requests: http.Request, sni: str | None = "bridge.internet.example") -> Path:
    with path.open("wb") as file:
        for request in requests:
            flow = tflow.tflow(req=request)
            flow.client_conn.sni = sni
            flow.client_conn.tls = sni is not None
            FlowWriter(file).add(flow)
    return path
