"""Client GUIDs, as a connection's requests and answers go: who is let speak, and what is learnt."""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ibcm_bridge.addons.audit.trail import exchange_record
from ibcm_bridge.addons.hooks.client_identity import ClientIdentity
from ibcm_bridge.addons.hooks.response_inspection import ReplyInspection
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.policy.message_rules import (
    CertificateRenewal,
    Enforcement,
    MessageRules,
    UnknownGuids,
)
from ibcm_bridge.storage.binding_registry import Registry
from tests.addons.conftest import ExchangeDriver, Lab

GUID = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
ENFORCE = MessageRules(identity=Enforcement.ENFORCE, signatures=Enforcement.ENFORCE)
REGISTERED = f'<ClientRegistrationResponse Status="0" SMSID="{GUID}" ApprovalStatus="1"/>'
ASSIGNED = "<ReplyAssignments/>"
STRANGER = "0" * 64

Rule = Callable[[MessageRules], None]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(None) as made:
        yield made


@pytest.fixture
def rule(exchange: ExchangeDriver, registry: Registry) -> Rule:
    """Have the exchange go by these rules."""

    def by(rules: MessageRules) -> None:
        identity = ClientIdentity(registry, rules, lambda: NOW)
        exchange.hooks["body_inspected"] = identity.body_inspected
        exchange.hooks["reply_collected"] = ReplyInspection(rules).reply_collected
        exchange.hooks["reply_judged"] = identity.reply_judged

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


def answered(xml: str) -> bytes:
    header = f"<Msg><Hooks>{ccm.ZLIB_HOOK}</Hooks></Msg>"
    body = ccm.raw_message(header, zlib.compress(xml.encode("utf-16-le")))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {ccm.CONTENT_TYPE}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def passes(exchange: ExchangeDriver, request: bytes, answer: str = "") -> None:
    """Byte for byte, both ways."""
    exchange.receive(request)
    assert exchange.to(exchange.server).endswith(request)
    given = answered(answer) if answer else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    exchange.receive(given, exchange.server)
    assert exchange.to_client().endswith(given)


def client_of(exchange: ExchangeDriver) -> AuthenticatedClient:
    client = exchange.record.authenticated
    assert isinstance(client, AuthenticatedClient)
    return client


def anothers(exchange: ExchangeDriver, **more: str) -> Binding:
    fields: dict[str, str] = {"key": STRANGER, "name": "pc9.corp.example", **more}
    return Binding(GUID, Source.REGISTRATION, NOW, **fields)  # type: ignore[arg-type]


def test_who_registers_is_bound_and_speaks_for_itself(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    passes(exchange, registration(running_lab), REGISTERED)
    binding = registry.find(GUID)
    assert binding is not None
    facts = client_of(exchange).certificate
    assert (binding.key, binding.signing_key) == (facts.key_sha256, facts.public_key)
    assert binding.since == NOW
    passes(exchange, report(running_lab))
    record = exchange_record(exchange.ended[-1])
    assert (record["client_guid"], record["client_guid_binding"]) == (GUID, "bound")
    assert record["signed_with"] == "registered-key"
    assert record["message_types"] == ("Report",)
    assert "observed" not in record or record["observed"] == ()


def test_one_client_does_not_speak_for_another(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    registry.add(anothers(exchange))
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-of-another"
    assert exchange.to_client().startswith(b"HTTP/1.1 403 ")
    assert not exchange.dialled


def test_under_observation_it_passes_and_is_written_down(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessageRules())
    registry.add(anothers(exchange))
    passes(exchange, report(running_lab))
    record = exchange_record(exchange.ended[-1])
    assert record["client_guid_binding"] == "another-client"
    (observed,) = record["observed"]  # type: ignore[misc]
    assert observed.startswith("identity-of-another: ")


@pytest.mark.parametrize(
    "answer",
    [
        "",
        REGISTERED.replace('Status="0"', 'Status="1"'),
        REGISTERED.replace('Status="0"', 'Status="3"'),
        REGISTERED.replace(GUID, "GUID:x"),
        REGISTERED.replace("ClientRegistrationResponse", "Other"),
    ],
)
def test_nothing_is_learnt_from_an_answer_that_registers_nobody(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab, answer: str
) -> None:
    passes(exchange, registration(running_lab), answer)
    assert not list(registry.all())


def test_nobody_is_bound_anew_by_a_registration(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    before = registry.add(anothers(exchange))
    exchange.receive(registration(running_lab))
    exchange.to(exchange.server)
    exchange.receive(answered(REGISTERED), exchange.server)
    assert exchange.reason() == "identity-of-another"
    assert GUID.encode("utf-16-le") not in exchange.to_client()
    assert registry.find(GUID) == before


def test_under_observation_a_second_registration_passes_and_changes_nothing(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessageRules())
    before = registry.add(anothers(exchange))
    passes(exchange, registration(running_lab), REGISTERED)
    assert registry.find(GUID) == before
    assert exchange.ended[-1].observed[0].startswith("identity-of-another: ")


def test_who_gets_policy_is_bound_though_it_registered_before(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    passes(exchange, policy_request(running_lab))  # an empty answer: not known (protocol.md §1.7)
    assert registry.find(GUID) is None
    passes(exchange, policy_request(running_lab), ASSIGNED)
    binding = registry.find(GUID)
    assert binding is not None
    assert binding.source is Source.POLICY


def test_an_unknown_client_guid_may_be_refused(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    rule(MessageRules(identity=Enforcement.ENFORCE, unknown_guids=UnknownGuids.REFUSE))
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-unknown"
    assert not exchange.dialled


def test_an_import_is_bound_to_the_key_that_comes_with_its_name(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    client = client_of(exchange)
    registry.add(Binding(GUID, Source.IMPORT, NOW, name=client.name.partition(".")[0]))
    passes(exchange, report(running_lab))
    binding = registry.find(GUID)
    assert binding is not None
    assert (binding.key, binding.name) == (client.certificate.key_sha256, client.name)
    # Written down is what it was when it came.
    assert exchange_record(exchange.ended[-1])["client_guid_binding"] == "newly-bound"
    passes(exchange, report(running_lab))
    assert exchange_record(exchange.ended[-1])["client_guid_binding"] == "bound"


def test_a_renewed_certificate_is_taken_where_the_policy_says_so(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    client = client_of(exchange)
    registry.add(anothers(exchange, name=client.name))
    rule(MessageRules(identity=Enforcement.ENFORCE, renewal=CertificateRenewal.SAME_NAME))
    passes(exchange, report(running_lab))
    binding = registry.find(GUID)
    assert binding is not None
    assert (binding.key, binding.source) == (client.certificate.key_sha256, Source.RENEWAL)


def test_without_the_registry_nobody_is_let_speak(
    exchange: ExchangeDriver, rule: Rule, registry: Registry, running_lab: Lab
) -> None:
    registry.close()
    exchange.receive(report(running_lab))
    assert exchange.reason() == "identity-unavailable"
    assert exchange.to_client().startswith(b"HTTP/1.1 503 ")
    assert not exchange.dialled


def test_an_answer_passes_though_nothing_can_be_learnt_from_it(
    exchange: ExchangeDriver,
    rule: Rule,
    registry: Registry,
    running_lab: Lab,
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = registration(running_lab)
    exchange.receive(request)
    assert exchange.to(exchange.server) == request
    registry.close()
    exchange.receive(answered(REGISTERED), exchange.server)
    assert exchange.to_client() == answered(REGISTERED)
    assert "cannot record a client GUID binding" in caplog.text
