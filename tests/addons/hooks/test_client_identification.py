"""Client GUIDs in requests and replies of a connection: what is allowed, and what is learned."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.addons.audit.trail import exchange_record
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.hooks.bindings import LocalBindings
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.policy.message_policy import (
    CertificateRenewal,
    Enforcement,
    MessagePolicy,
    UnknownGuids,
)
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import Lab

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ENFORCE = MessagePolicy(identity=Enforcement.ENFORCE, signatures=Enforcement.ENFORCE)
REGISTERED = f'<ClientRegistrationResponse Status="0" SMSID="{GUID}" ApprovalStatus="1"/>'
ASSIGNED = "<ReplyAssignments/>"
STRANGER = "0" * 64

Rule = Callable[[MessagePolicy], None]


@pytest.fixture(params=["memory", "file"])
def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalBindings]:
    path = tmp_path / "bindings.sqlite" if request.param == "file" else None
    with contextlib.closing(LocalBindings(path)) as made:
        yield made


@pytest.fixture
def registry(bindings: LocalBindings) -> Registry:
    return bindings.registry


def waited(decide: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A decision, after the wait for it."""

    def decided(known: Any) -> Any:
        found = decide(known)
        return asyncio.run(found) if asyncio.iscoroutine(found) else found

    return decided


@pytest.fixture
def rule(exchange: ExchangeDriver, bindings: LocalBindings) -> Rule:
    """A function that sets the rules of the exchange."""

    def by(rules: MessagePolicy) -> None:
        identity = ClientIdentification(bindings, rules, lambda: NOW)
        exchange.hooks["body_inspected"] = waited(identity.body_inspected)
        exchange.hooks["reply_collected"] = ReplyInspection(rules).reply_collected
        exchange.hooks["reply_allowed"] = waited(identity.reply_allowed)

    by(ENFORCE)
    return by


def post(lab: Lab, xml: str, endpoint: str, guid: str = GUID) -> bytes:
    key = lab.computer.key
    assert isinstance(key, RSAPrivateKey)
    body = ccm.ccm_post_body(endpoint=endpoint, body_xml=xml, client_guid=guid, key=key)
    return (
        b"CCM_POST /ccm_system/request HTTP/1.1\r\nHost: bridge.internet.example\r\n"
        b"Content-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (ccm.CONTENT_TYPE.encode(), len(body), body)
    )


def registration(lab: Lab) -> bytes:
    key = lab.computer.key
    assert isinstance(key, RSAPrivateKey)
    xml = documents.registration_request(lab.computer.certificate, key, fqdn="pc1.corp.example")
    return post(lab, xml, "MP_ClientRegistration", guid="")


def report(lab: Lab) -> bytes:
    return post(lab, documents.inventory_report(GUID, rows=1), "MP_HinvEndpoint")


def policy_request(lab: Lab) -> bytes:
    return post(lab, documents.policy_request(GUID), "MP_PolicyManager")


def reply_bytes(xml: str) -> bytes:
    header = f"<Msg><Hooks>{ccm.ZLIB_HOOK}</Hooks></Msg>"
    body = ccm.raw_message(header, zlib.compress(xml.encode("utf-16-le")))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {ccm.CONTENT_TYPE}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def passes(exchange: ExchangeDriver, request: bytes, reply: str = "") -> None:
    """Assert that request and reply are forwarded unchanged."""
    exchange.receive(request)
    assert exchange.to(exchange.server).endswith(request)
    given = reply_bytes(reply) if reply else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    exchange.receive(given, exchange.server)
    assert exchange.to_client().endswith(given)


def client_of(exchange: ExchangeDriver) -> AuthenticatedClient:
    client = exchange.record.authenticated
    assert isinstance(client, AuthenticatedClient)
    return client


def anothers(exchange: ExchangeDriver, **more: str) -> Binding:
    fields: dict[str, str] = {"key": STRANGER, "name": "pc9.corp.example", **more}
    return Binding(GUID, Source.REGISTRATION, NOW, **fields)  # type: ignore[arg-type]


def test_a_client_that_registers_is_bound_and_may_use_its_guid(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    passes(exchange, registration(running_lab), REGISTERED)
    binding = registry.find(GUID)
    assert binding is not None
    facts = client_of(exchange).certificate
    assert (binding.key, binding.signing_key) == (facts.key_sha256, facts.public_key)
    assert binding.since == NOW
    passes(exchange, report(running_lab))
    record = exchange_record(exchange.ended[-1], utc_now())
    assert (record["client_guid"], record["client_guid_binding"]) == (GUID, "bound")
    assert record["signed_with"] == "registered-key"
    assert record["message_types"] == ("Report",)
    assert "observed" not in record or record["observed"] == ()


def test_a_client_may_not_use_the_guid_of_another(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    registry.add(anothers(exchange))
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-of-another"
    assert exchange.to_client().startswith(b"HTTP/1.1 403 ")
    assert not exchange.dialled


def test_with_observe_it_is_forwarded_and_recorded(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessagePolicy())
    registry.add(anothers(exchange))
    passes(exchange, report(running_lab))
    record = exchange_record(exchange.ended[-1], utc_now())
    assert record["client_guid_binding"] == "another-client"
    (observed,) = record["observed"]  # type: ignore[misc]
    assert observed.startswith("identity-of-another: ")


@pytest.mark.parametrize(
    "reply",
    [
        "",
        REGISTERED.replace('Status="0"', 'Status="1"'),
        REGISTERED.replace('Status="0"', 'Status="3"'),
        REGISTERED.replace(GUID, "GUID:x"),
        REGISTERED.replace("ClientRegistrationResponse", "Other"),
    ],
)
def test_nothing_is_learned_from_a_reply_without_a_registration(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab, reply: str
) -> None:
    passes(exchange, registration(running_lab), reply)
    assert not list(registry.all())


def test_a_registration_does_not_replace_a_binding(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    before = registry.add(anothers(exchange))
    exchange.receive(registration(running_lab))
    exchange.to(exchange.server)
    exchange.receive(reply_bytes(REGISTERED), exchange.server)
    assert exchange.reason() == "identity-of-another"
    assert GUID.encode("utf-16-le") not in exchange.to_client()
    assert registry.find(GUID) == before


def test_with_observe_a_second_registration_is_forwarded_and_changes_nothing(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessagePolicy())
    before = registry.add(anothers(exchange))
    passes(exchange, registration(running_lab), REGISTERED)
    assert registry.find(GUID) == before
    assert exchange.ended[-1].observed[0].startswith("identity-of-another: ")


def test_a_client_that_gets_policy_is_bound_even_if_it_registered_before(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    passes(
        exchange, policy_request(running_lab)
    )  # an empty reply: the client is unknown (protocol.md §1.7)
    assert registry.find(GUID) is None
    passes(exchange, policy_request(running_lab), ASSIGNED)
    binding = registry.find(GUID)
    assert binding is not None
    assert binding.source is Source.POLICY


def test_an_unknown_client_guid_may_be_refused(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessagePolicy(identity=Enforcement.ENFORCE, unknown_guids=UnknownGuids.REFUSE))
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-unknown"
    assert not exchange.dialled


def test_an_import_is_bound_to_the_first_key_with_its_name(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    client = client_of(exchange)
    registry.add(Binding(GUID, Source.IMPORT, NOW, name=client.name.partition(".")[0]))
    passes(exchange, report(running_lab))
    binding = registry.find(GUID)
    assert binding is not None
    assert (binding.key, binding.name) == (client.certificate.key_sha256, client.name)
    # The record shows the binding as of the arrival of the request.
    assert exchange_record(exchange.ended[-1], utc_now())["client_guid_binding"] == "newly-bound"
    passes(exchange, report(running_lab))
    assert exchange_record(exchange.ended[-1], utc_now())["client_guid_binding"] == "bound"


def test_a_renewed_certificate_is_accepted_if_the_policy_allows_it(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    client = client_of(exchange)
    registry.add(anothers(exchange, name=client.name))
    rule(MessagePolicy(identity=Enforcement.ENFORCE, renewal=CertificateRenewal.SAME_NAME))
    passes(exchange, report(running_lab))
    binding = registry.find(GUID)
    assert binding is not None
    assert (binding.key, binding.source) == (client.certificate.key_sha256, Source.RENEWAL)


def test_without_the_registry_all_messages_are_refused(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    registry.close()
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-unavailable"
    assert exchange.to_client().startswith(b"HTTP/1.1 503 ")
    assert not exchange.dialled


@pytest.fixture(params=["unreadable", "locked"])
def fail(
    request: pytest.FixtureRequest, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Makes the registry fail: at all, or only when something is stored."""

    def locked(_registry: Registry, _binding: Binding) -> Binding:
        raise RegistryError("database is locked")

    failures = {
        "unreadable": registry.close,
        "locked": lambda: monkeypatch.setattr(Registry, "add", locked),
    }
    return failures[request.param]


@pytest.mark.parametrize(
    ("request_of", "reply"), [(registration, REGISTERED), (policy_request, ASSIGNED)]
)
def test_a_reply_whose_binding_cannot_be_stored_is_refused(
    exchange: ExchangeDriver,
    rule: Rule,
    running_lab: Lab,
    fail: Callable[[], None],
    request_of: Callable[[Lab], bytes],
    reply: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exchange.receive(request_of(running_lab))
    exchange.to(exchange.server)
    fail()
    exchange.receive(reply_bytes(reply), exchange.server)
    assert exchange.reason() == "identity-unavailable"
    sent = exchange.to_client()
    assert sent.startswith(b"HTTP/1.1 503 ")
    assert reply_bytes(reply) not in sent
    assert "cannot record a client GUID binding" in caplog.text


def test_with_observe_it_is_forwarded_and_the_record_says_so(
    exchange: ExchangeDriver, rule: Rule, running_lab: Lab, fail: Callable[[], None]
) -> None:
    rule(MessagePolicy())
    exchange.receive(registration(running_lab))
    exchange.to(exchange.server)
    fail()
    exchange.receive(reply_bytes(REGISTERED), exchange.server)
    assert exchange.to_client() == reply_bytes(REGISTERED)
    (observed,) = exchange.ended[-1].observed
    assert observed.startswith("identity-unavailable: ")


def test_a_reply_that_confirms_no_binding_needs_no_registry(
    exchange: ExchangeDriver, rule: Rule, running_lab: Lab, fail: Callable[[], None]
) -> None:
    exchange.receive(report(running_lab))
    exchange.to(exchange.server)
    fail()
    reply = reply_bytes("<ReportReply/>")
    exchange.receive(reply, exchange.server)
    assert exchange.to_client() == reply


def test_a_client_that_is_bound_in_between_keeps_its_guid(
    exchange: ExchangeDriver,
    rule: Rule,
    registry: Registry,
    running_lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another process learns the client GUID after this one has looked."""
    other, add = anothers(exchange), Registry.add

    def slower(self: Registry, binding: Binding) -> Binding:
        add(self, other)
        return add(self, binding)

    monkeypatch.setattr(Registry, "add", slower)
    exchange.receive(registration(running_lab))
    exchange.receive(reply_bytes(REGISTERED), exchange.server)
    assert exchange.reason() == "identity-of-another"
    assert registry.find(GUID) == other


@pytest.mark.parametrize("times", [1, 100])
def test_a_binding_that_is_removed_in_between_is_stored_or_the_reply_is_refused(
    exchange: ExchangeDriver,
    rule: Rule,
    registry: Registry,
    running_lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """The client registers again with another key, and `identity forget` comes in between."""
    passes(exchange, registration(running_lab), REGISTERED)
    stored = registry.find(GUID)
    assert stored is not None
    earlier = dataclasses.replace(stored, signing_key=b"earlier")
    registry.replace(stored, earlier)
    replace, add, left = Registry.replace, Registry.add, [times]

    def slower_replace(self: Registry, old: Binding, new: Binding) -> Binding | None:
        if left[0]:
            left[0] -= 1
            self.forget(GUID)
        return replace(self, old, new)

    def slower_add(self: Registry, binding: Binding) -> Binding:
        if left[0]:
            left[0] -= 1
            add(self, earlier)
        return add(self, binding)

    monkeypatch.setattr(Registry, "replace", slower_replace)
    monkeypatch.setattr(Registry, "add", slower_add)
    exchange.receive(registration(running_lab))
    exchange.to(exchange.server)
    exchange.receive(reply_bytes(REGISTERED), exchange.server)
    if times == 1:
        assert exchange.to_client().endswith(reply_bytes(REGISTERED))
        assert registry.find(GUID) == stored
    else:
        assert exchange.reason() == "identity-unavailable"
        assert reply_bytes(REGISTERED) not in exchange.to_client()
