"""Enforced client GUIDs in a publication with `observe`: an observed request changes no binding."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from ibcm_bridge.addons.audit.trail import exchange_record
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.identity.bindings import Binding, Source
from ibcm_bridge.inspection.verdict import inspect
from ibcm_bridge.policy.message_policy import CertificateRenewal, Enforcement, MessagePolicy
from ibcm_bridge.policy.publications import BridgePublication
from ibcm_bridge.storage.binding_registry import Registry
from tests.addons.hooks.test_client_identification import (  # noqa: F401 - fixtures
    ASSIGNED,
    GUID,
    NOW,
    REGISTERED,
    Rule,
    anothers,
    bindings,
    client_of,
    passes,
    policy_request,
    registration,
    registry,
    report,
    rule,
)
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import Lab


@pytest.fixture
def pilot(exchange: ExchangeDriver, rule: Rule) -> ExchangeDriver:  # noqa: F811
    """An exchange in a publication with `observe`; `rule` enforces client GUIDs and signatures."""
    publication = exchange.record.publication
    assert isinstance(publication, BridgePublication)
    exchange.record.publication = dataclasses.replace(publication, observe_because="a pilot")
    # The bridge inspects an unlisted media type in another process.
    exchange.hooks["body_read"] = lambda read: inspect(read.authorized, read.body, ())
    return exchange


def found(pilot: ExchangeDriver) -> list[str]:
    """The reasons that the record of the last request lists as observed."""
    record = exchange_record(pilot.ended[-1], utc_now())
    assert record["verdict"] == ("observed" if "would_refuse" in record else "allow")
    listed = record.get("would_refuse", [])
    assert isinstance(listed, list)
    return [each["reason"] for each in listed]


def of_another_type(request: bytes) -> bytes:
    """The request with a finding that has nothing to do with its sender: an unlisted media type."""
    changed = request.replace(b"multipart/mixed", b"multipart/related", 1)
    assert changed != request
    return changed


def unchanged(request: bytes) -> bytes:
    return request


with_and_without_a_finding = pytest.mark.parametrize(
    ("sent", "reasons"), [(unchanged, []), (of_another_type, ["media-type"])]
)


def test_the_guid_of_another_client_is_forwarded_and_remains_bound(
    pilot: ExchangeDriver,
    registry: Registry,  # noqa: F811
    running_lab: Lab,
) -> None:
    before = registry.add(anothers(pilot))
    passes(pilot, report(running_lab))
    assert found(pilot) == ["identity-of-another"]
    # Neither does a reply with policy change it.
    passes(pilot, policy_request(running_lab), ASSIGNED)
    assert found(pilot) == ["identity-of-another"]
    assert list(registry.all()) == [before]


def test_a_registration_of_another_clients_guid_is_forwarded_and_binds_nothing(
    pilot: ExchangeDriver,
    registry: Registry,  # noqa: F811
    running_lab: Lab,
) -> None:
    """Only the reply has the client GUID."""
    before = registry.add(anothers(pilot))
    passes(pilot, registration(running_lab), REGISTERED)
    assert found(pilot) == ["identity-of-another"]
    assert list(registry.all()) == [before]


@with_and_without_a_finding
@pytest.mark.parametrize(
    ("request_of", "reply"), [(registration, REGISTERED), (policy_request, ASSIGNED)]
)
def test_a_reply_to_a_request_with_a_finding_binds_nothing(
    pilot: ExchangeDriver,
    registry: Registry,  # noqa: F811
    running_lab: Lab,
    sent: Callable[[bytes], bytes],
    reasons: list[str],
    request_of: Callable[[Lab], bytes],
    reply: str,
) -> None:
    passes(pilot, sent(request_of(running_lab)), reply)
    assert found(pilot) == reasons
    assert [binding.guid for binding in registry.all()] == ([] if reasons else [GUID])


@with_and_without_a_finding
def test_an_import_is_not_bound_by_a_request_with_a_finding(
    pilot: ExchangeDriver,
    registry: Registry,  # noqa: F811
    running_lab: Lab,
    sent: Callable[[bytes], bytes],
    reasons: list[str],
) -> None:
    before = registry.add(Binding(GUID, Source.IMPORT, NOW, name=client_of(pilot).name))
    passes(pilot, sent(report(running_lab)))
    assert found(pilot) == reasons
    (after,) = registry.all()
    assert after == before if reasons else after.key


@with_and_without_a_finding
def test_a_renewal_is_not_bound_by_a_request_with_a_finding(
    pilot: ExchangeDriver,
    rule: Rule,  # noqa: F811
    registry: Registry,  # noqa: F811
    running_lab: Lab,
    sent: Callable[[bytes], bytes],
    reasons: list[str],
) -> None:
    rule(MessagePolicy(identity=Enforcement.ENFORCE, renewal=CertificateRenewal.SAME_NAME))
    before = registry.add(anothers(pilot, name=client_of(pilot).name))
    passes(pilot, sent(report(running_lab)))
    assert found(pilot) == reasons
    (after,) = registry.all()
    assert (after.source is Source.RENEWAL) is not bool(reasons)
    assert after == before if reasons else after.key != before.key
