"""Two bridges with one PostgreSQL database, as on two machines, one after the other."""

from __future__ import annotations

import dataclasses
import http.client
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from tests.addons.stand_ins.lab import Lab
from tests.addons.stand_ins.running import Running
from tests.addons.upload_samples import GOOD_DATA, senders
from tests.postgresql_server import PostgresqlServer

pytestmark = pytest.mark.needs("postgresql")

ENFORCE = MessagePolicy(identity=Enforcement.ENFORCE)


class Machines:
    """Starts bridges with the same database."""

    def __init__(
        self, lab: Lab, postgresql: PostgresqlServer, folder: Path, stack: ExitStack
    ) -> None:
        self.lab = lab
        self._state = postgresql.new_database()
        self._folder = folder
        self._stack = stack
        self._count = 0

    def start(self, messages: MessagePolicy = ENFORCE) -> Running:
        """Start another bridge."""
        self._count += 1
        policy = dataclasses.replace(
            self.lab.policy,
            audit_file=self._folder / f"audit{self._count}.jsonl",
            messages=messages,
            state=self._state,
        )
        return self._stack.enter_context(Running(self.lab, policy))


@pytest.fixture
def machines(lab: Lab, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Machines]:
    with ExitStack() as stack:
        yield Machines(lab, postgresql, tmp_path, stack)


def post(credential: LabCredential, xml: str, endpoint: str, guid: str = "") -> Request:
    assert isinstance(credential.key, RSAPrivateKey)
    body = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=guid, key=credential.key)
    fields = (("Content-Type", ccm.CONTENT_TYPE),)
    return Request("CCM_POST", "/ccm_system/request", fields, body)


def send(running: Running, credential: LabCredential, request: Request) -> Response:
    with running.client(credential=credential) as client:
        return client.send(request)


def register(running: Running, credential: LabCredential, name: str) -> str:
    """Register a client, and return the client GUID that it got."""
    assert isinstance(credential.key, RSAPrivateKey)
    xml = documents.registration_request(credential.certificate, credential.key, fqdn=name)
    reply = send(running, credential, post(credential, xml, "MP_ClientRegistration"))
    assert reply.status == http.client.OK
    (stored,) = [
        binding
        for binding in running.bridge.shared.bindings._registry.all()  # type: ignore[attr-defined]
        if binding.name == name
    ]
    return str(stored.guid)


def report(credential: LabCredential, guid: str) -> Request:
    return post(credential, documents.inventory_report(guid, rows=1), "MP_HinvEndpoint", guid)


def test_a_client_that_registers_at_one_machine_is_known_at_the_other(machines: Machines) -> None:
    first = machines.start()
    mine, others = machines.lab.computer, machines.lab.pki.computer("pc2.corp.example")
    guid = register(first, mine, "pc1.corp.example")
    first.stop()
    assert first.stops()
    second = machines.start()
    for _ in range(2):
        assert send(second, mine, report(mine, guid)).status == http.client.OK
        assert send(second, others, report(others, guid)).status == http.client.FORBIDDEN
    second.wait_for_reason("identity-of-another")
    statuses = {
        record["client_guid_binding"] for record in second.audit() if "client_guid" in record
    }
    assert "bound" in statuses


@pytest.mark.parametrize("identity", Enforcement)
def test_a_request_does_not_wait_for_a_frozen_database(
    machines: Machines, postgresql: PostgresqlServer, identity: Enforcement
) -> None:
    running = machines.start(MessagePolicy(identity=identity))
    known, other = machines.lab.computer, machines.lab.pki.computer("pc2.corp.example")
    guid = register(running, known, "pc1.corp.example")
    unknown = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
    assert send(running, known, report(known, guid)).status == http.client.OK
    with postgresql.frozen():
        # Its binding was read before.
        assert send(running, known, report(known, guid)).status == http.client.OK
        began = time.monotonic()
        reply = send(running, other, report(other, unknown))
        assert time.monotonic() - began < 8.0
        refused = identity is Enforcement.ENFORCE
        assert reply.status == (503 if refused else 200)
        with senders(running) as sender:
            client = sender(GOOD_DATA)
            created = client.send(client.upload.create())
            assert created is not None
            assert created.status == 503
    running.wait_for_reason("upload-unavailable")
    (record,) = [
        record
        for record in running.audit()
        if record.get("client_guid") == unknown or record.get("reason") == "identity-unavailable"
    ]
    if not refused:
        (text,) = record["observed"]
        assert text.startswith("identity-unavailable: ")


def test_an_upload_continues_at_another_machine(machines: Machines) -> None:
    first = machines.start()
    site = machines.lab.site
    with senders(first) as sender:
        upload = sender(GOOD_DATA)
        upload.begin()
    first.stop()
    assert first.stops()
    with machines.start().client() as client:
        upload.client = client
        for packet in (upload.upload.fragments(2)[1], upload.upload.close()):
            reply = upload.send(packet)
            assert reply is not None
            assert reply.status == http.client.OK
    assert [*site.uploads.files.values()] == [GOOD_DATA]
