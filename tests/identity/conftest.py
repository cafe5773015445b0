"""Inspected requests with client GUIDs, for the tests of the approval."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.verdict import Inspected, inspect
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
OTHER = "GUID:11111111-2222-4333-8444-555555555555"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
POLICY = "/SMS_MP/.sms_pol?{LAB00001}.1_00"

Message = Callable[..., Inspected]
Get = Callable[..., Inspected]


@dataclass(frozen=True)
class Computer:
    """An authenticated computer and its certificate."""

    credential: LabCredential
    client: AuthenticatedClient

    @property
    def key(self) -> RSAPrivateKey:
        assert isinstance(self.credential.key, RSAPrivateKey)
        return self.credential.key


@pytest.fixture(scope="session")
def computer(pki: LabPki, publication: BridgePublication) -> Computer:
    return _computer(pki, publication, "pc1.corp.example")


@pytest.fixture(scope="session")
def stranger(pki: LabPki, publication: BridgePublication) -> Computer:
    return _computer(pki, publication, "pc9.corp.example")


def _computer(pki: LabPki, publication: BridgePublication, name: str) -> Computer:
    credential = pki.computer(name)
    client = authenticate(publication, certificate_facts(credential.certificate))
    assert isinstance(client, AuthenticatedClient)
    return Computer(credential, client)


@pytest.fixture(scope="session")
def send(
    decide: Callable[[RequestHead], Authorized | Deny], request_head: Callable[..., RequestHead]
) -> Callable[..., Inspected]:
    """Send a body to /ccm_system/request, with additional header fields."""

    def run(body: bytes, *fields: str) -> Inspected:
        lines = (f"Content-Length: {len(body)}", f"Content-Type: {ccm.CONTENT_TYPE}", *fields)
        authorized = decide(request_head("CCM_POST", "/ccm_system/request", *lines))
        assert isinstance(authorized, Authorized)
        inspected = inspect(authorized, body, ())
        assert isinstance(inspected, Inspected), inspected
        return inspected

    return run


@pytest.fixture(scope="session")
def message(send: Callable[..., Inspected]) -> Message:
    """Send a message to an endpoint."""

    def run(
        xml: str,
        endpoint: str = "MP_HinvEndpoint",
        *,
        guid: str = GUID,
        key: RSAPrivateKey | None = None,
        fields: tuple[str, ...] = (),
    ) -> Inspected:
        body = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=guid, key=key)
        return send(body, *fields)

    return run


@pytest.fixture(scope="session")
def get(
    decide: Callable[[RequestHead], Authorized | Deny], request_head: Callable[..., RequestHead]
) -> Get:
    """Send a GET for a policy, with header fields."""

    def run(*fields: str) -> Inspected:
        authorized = decide(request_head("GET", POLICY, *fields))
        assert isinstance(authorized, Authorized), authorized
        inspected = inspect(authorized, b"", ())
        assert isinstance(inspected, Inspected)
        return inspected

    return run
