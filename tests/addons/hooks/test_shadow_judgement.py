"""The shadow judges by the bindings before the request, whatever the request then changes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ibcm_bridge.addons.hooks.bindings import LocalBindings
from ibcm_bridge.addons.hooks.client_identification import ClientIdentification
from ibcm_bridge.addons.hooks.shadow_judgement import ShadowJudgement
from ibcm_bridge.audit.shadow import Outcome
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.bindings import Binding
from ibcm_bridge.policy.message_policy import CertificateRenewal, Enforcement, MessagePolicy
from ibcm_bridge.storage.binding_registry import Registry, RegistryError
from tests.addons.hooks.test_client_identification import (
    NOW,
    anothers,
    client_of,
    report,
    waited,
)
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import Lab

STRICT = MessagePolicy(identity=Enforcement.ENFORCE)
RENEWING = dataclasses.replace(STRICT, renewal=CertificateRenewal.SAME_NAME)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

Judge = Callable[[MessagePolicy, MessagePolicy], Outcome | None]


@pytest.fixture(params=["memory", "file"])
def bindings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalBindings]:
    path = tmp_path / "bindings.sqlite" if request.param == "file" else None
    with contextlib.closing(LocalBindings(path)) as made:
        yield made


@pytest.fixture
def judge(exchange: ExchangeDriver, bindings: LocalBindings, running_lab: Lab) -> Judge:
    """A function that sends a report, by the terms in use and those of the shadow.

    Its client GUID is bound to an earlier key of the client.
    """

    def by(used: MessagePolicy, shadow: MessagePolicy) -> Outcome | None:
        policy = dataclasses.replace(running_lab.policy, messages=used)
        other = dataclasses.replace(policy, messages=shadow)
        # The listener has another port each time it is opened.
        record = exchange.record
        listener = dataclasses.replace(policy.listeners[0], address=record.listener.address)
        other = dataclasses.replace(other, listeners=(listener,))
        policy = dataclasses.replace(policy, shadow=other)
        record.shadow = ShadowJudgement.of(policy, bindings, lambda: NOW)
        identity = ClientIdentification(bindings, used, lambda: NOW)
        exchange.hooks["body_inspected"] = waited(identity.body_inspected)
        exchange.receive(report(running_lab))
        if exchange.dialled:
            exchange.receive(OK, exchange.server)
        return exchange.ended[-1].shadow

    bindings.registry.add(anothers(exchange, name=client_of(exchange).name))
    return by


def test_a_binding_that_the_request_renews_is_judged_as_it_was(
    exchange: ExchangeDriver, bindings: LocalBindings, judge: Judge
) -> None:
    outcome = judge(RENEWING, STRICT)
    stored = bindings.registry.find(anothers(exchange).guid)
    assert stored is not None
    assert stored.key == client_of(exchange).certificate.key_sha256
    assert outcome is not None
    assert outcome.enforced
    assert outcome.denial is not None
    assert outcome.denial.reason.value == "identity-of-another"


def test_the_shadow_renews_no_binding(
    exchange: ExchangeDriver, bindings: LocalBindings, judge: Judge
) -> None:
    outcome = judge(STRICT, RENEWING)
    assert exchange.reason() == "identity-of-another"
    assert outcome == Outcome()
    assert bindings.registry.find(anothers(exchange).guid) == anothers(
        exchange, name=client_of(exchange).name
    )


def test_a_client_that_is_bound_in_between_is_judged_by_that_binding(
    exchange: ExchangeDriver, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Registry.replace

    def slower(self: Registry, old: Binding, new: Binding) -> Binding | None:
        replace(self, old, dataclasses.replace(old, key="1" * 64, name="pc9.corp.example"))
        return replace(self, old, new)

    monkeypatch.setattr(Registry, "replace", slower)
    # Other terms, so that the shadow decides for itself.
    signed = dataclasses.replace(RENEWING, signatures=Enforcement.ENFORCE)
    assert judge(RENEWING, signed) is None
    assert exchange.reason() == "identity-of-another"


def test_a_binding_that_cannot_be_changed_is_unavailable_for_both_policies(
    exchange: ExchangeDriver, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise RegistryError("database is locked")

    monkeypatch.setattr(Registry, "replace", locked)
    signed = dataclasses.replace(RENEWING, signatures=Enforcement.ENFORCE)
    assert judge(RENEWING, signed) is None
    assert exchange.reason() == "identity-unavailable"


def test_without_bindings_the_shadow_of_an_observing_policy_is_unavailable(
    exchange: ExchangeDriver, bindings: LocalBindings, judge: Judge
) -> None:
    bindings.registry.close()
    outcome = judge(MessagePolicy(), STRICT)
    assert not isinstance(exchange.ended[-1].decision, Deny)
    assert outcome is not None
    assert outcome.denial is not None
    assert (outcome.enforced, outcome.denial.reason.value) == (True, "identity-unavailable")


def test_a_binding_that_cannot_be_read_is_not_at_hand(bindings: LocalBindings) -> None:
    guid = "GUID:5E2B7C1A-94D0-4B6E-8F3A-0C1D2E3F4A5B"
    assert bindings.at_hand(guid) == {guid: None}
    bindings.registry.close()
    assert bindings.at_hand(guid) == {}
