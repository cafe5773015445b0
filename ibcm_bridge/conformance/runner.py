"""Runs checks. Each starts and ends with a sanity exchange: a valid request that must arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ibcm_bridge.conformance.collection import Check
from ibcm_bridge.conformance.judgement import (
    Judgement,
    Outcome,
    Stop,
    arrival,
    is_cancellation,
    seen,
)
from ibcm_bridge.conformance.kit import Client, now
from ibcm_bridge.conformance.subject import Exchange, NotApplicable, Subject
from ibcm_bridge.lab.cases.requests import PACKAGE, MakeRequest, plain, scep, state_message
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest


@dataclass(frozen=True)
class Sanity:
    """A valid request for a role."""

    to: str
    make: MakeRequest
    client: Client = Client.NONE
    statuses: tuple[int, ...] = (200,)


SANITY = (
    Sanity("management-point", plain("GET", "/SMS_MP/.sms_aut?MPLIST"), Client.COMPUTER),
    Sanity("distribution-point", plain("HEAD", PACKAGE), Client.COMPUTER),
    Sanity("software-update-point", lambda _who: wsus.configuration()),
    Sanity("policy-module", scep),
    Sanity("fallback-status-point", state_message),
    Sanity(
        "application-catalog-website-point",
        plain("GET", "/CMApplicationCatalog/"),
        statuses=(200, 401),
    ),
)
"""The first one that the subject publishes is used for all checks."""


@dataclass(frozen=True)
class Result:
    """A check that has run."""

    check: Check
    judgement: Judgement
    exchanges: tuple[Exchange, ...]
    seconds: float
    known_gap: str = ""
    """The reason in the subject file; empty if it does not list the check."""

    @property
    def is_failure(self) -> bool:
        """Whether the check failed, known or not."""
        return self.judgement.outcome in (Outcome.FAIL, Outcome.HANG)


def run_checks(
    checks: Sequence[Check], subject: Subject, known_gaps: dict[str, str]
) -> Iterator[Result]:
    """Yield the result of each check, in this order."""
    for check in checks:
        began = now()
        judgement, exchanges = _run(check, subject)
        seconds = (now() - began).total_seconds()
        yield Result(check, judgement, exchanges, seconds, known_gaps.get(check.id, ""))


def _run(check: Check, subject: Subject) -> tuple[Judgement, tuple[Exchange, ...]]:
    subject.begin()
    why, _ = _sanity(subject)
    if why:
        return _failed(f"before the check, {why}"), tuple(subject.exchanges)
    subject.begin()
    try:
        judgement = check.judge(subject)
    except NotApplicable as reason:
        return Judgement(Outcome.NOT_APPLICABLE, "", str(reason)), ()
    exchanges = tuple(subject.exchanges)
    why, late = _sanity(subject)
    if judgement.outcome is not Outcome.PASS:
        return judgement, exchanges
    if late:
        difference = f"after the response, {arrival(late[0])} arrived"
        return Judgement(Outcome.FAIL, judgement.expected, difference, Stop.NOT_AT_ALL), exchanges
    return (_failed(f"after the check, {why}") if why else judgement), exchanges


def _sanity(subject: Subject) -> tuple[str, list[ReceivedRequest]]:
    """Return why the subject does not forward a valid request, and what arrived before it."""
    sanity = next((row for row in SANITY if row.to in subject.places), None)
    if sanity is None:
        return "the subject file has no publication for a valid request", []
    exchange = subject.send(sanity.make, to=sanity.to, client=sanity.client)
    assert isinstance(exchange.sent, Request)
    *before, last = exchange.received or (None,)
    late = [request for request in before if request and not is_cancellation(request)]
    good = isinstance(exchange.result, Response) and exchange.result.status in sanity.statuses
    if good and last is not None and last.target == exchange.sent.target:
        return "", late
    return f"a valid request was not forwarded: {seen(exchange.result)}", late


def _failed(difference: str) -> Judgement:
    return Judgement(Outcome.FAIL, "a valid request is forwarded", difference)
