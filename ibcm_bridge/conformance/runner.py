"""Runs checks. Each starts and ends with a sanity exchange: a valid request that must arrive.

Checks of `Order.BESIDE` run in threads of their own, beside the others, which run one after the
other. The results come in the order of the checks.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from ibcm_bridge.conformance.collection import Check
from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import (
    Judgement,
    Outcome,
    Stop,
    arrival,
    is_cancellation,
    seen,
)
from ibcm_bridge.conformance.kit import Client, now
from ibcm_bridge.conformance.order import Order
from ibcm_bridge.conformance.results import ClientResult, Hang
from ibcm_bridge.conformance.subject import NotApplicable, Subject
from ibcm_bridge.lab.cases.requests import CONTENT, PACKAGE, MakeRequest, plain, scep, state_message
from ibcm_bridge.lab.protocol import wsus
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.site_systems.records import ReceivedRequest

IMPATIENT_AFTER = 2
IMPATIENT_SECONDS = 2.0
"""After so many valid requests in a row without a response, each further one waits so long.

A subject that never responds would otherwise take `seconds` for each check.
"""

THREADS = 16
"""Checks at the same time, beside the one that runs alone. They mostly wait."""


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
"""The first one that the subject publishes is used for all checks that run alone."""


def marked_sanity(subject: Subject) -> Sanity:
    """Return a valid request with the marker of a check that runs beside others."""
    target = f"/SMS_DP_SMSPKG$/{CONTENT}/sccm?/{subject.marker}/sanity.bin"
    return Sanity("distribution-point", plain("HEAD", target), Client.COMPUTER)


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


class Patience:
    """How long to wait for a valid request, after those before it. For any thread."""

    def __init__(self) -> None:
        self._hangs = 0

    @property
    def at_most(self) -> float:
        """Seconds."""
        return IMPATIENT_SECONDS if self._hangs >= IMPATIENT_AFTER else math.inf

    def note(self, result: ClientResult) -> None:
        """Count a result."""
        self._hangs = self._hangs + 1 if isinstance(result, Hang) else 0


type _Ran = tuple[Judgement, tuple[Exchange, ...], float]


def run_checks(
    checks: Sequence[Check], subject: Subject, known_gaps: dict[str, str]
) -> Iterator[Result]:
    """Yield the result of each check, in this order. LabError."""
    futures: dict[str, Future[_Ran]] = {check.id: Future() for check in checks}
    # The marker of a check is in the name of a file of a distribution point.
    can_be_beside = "distribution-point" in subject.places
    beside: deque[Callable[[], None]] = deque()
    alone: deque[Callable[[], None]] = deque()
    patience = Patience()
    for check in sorted(checks, key=lambda check: check.order is Order.LAST):
        future = futures[check.id]
        if check.order is Order.BESIDE and can_be_beside:
            beside.append(_job(check, subject.beside(), marked_sanity, patience, future))
            continue
        if check.order is Order.LAST:
            others = [futures[other.id] for other in checks if other.order is not Order.LAST]
            alone.append(_until_done(others))
        alone.append(_job(check, subject, _sanity, patience, future))
    # Daemons: an interrupted run does not wait for its slow checks.
    for jobs in (alone, *[beside] * min(THREADS, len(beside))):
        threading.Thread(target=_work, args=(jobs,), daemon=True).start()
    try:
        for check in checks:
            judgement, exchanges, seconds = futures[check.id].result()
            gap = known_gaps.get(check.id, "")
            yield Result(check, judgement, exchanges, seconds, gap)
    finally:
        alone.clear()
        beside.clear()


def _work(jobs: deque[Callable[[], None]]) -> None:
    while True:
        try:
            job = jobs.popleft()
        except IndexError:
            return
        job()


def _until_done(others: Sequence[Future[_Ran]]) -> Callable[[], None]:
    def until_done() -> None:
        wait(others)

    return until_done


def _job(
    check: Check,
    subject: Subject,
    sanity: Callable[[Subject], Sanity | None],
    patience: Patience,
    future: Future[_Ran],
) -> Callable[[], None]:
    def run() -> None:
        began = now()
        try:
            judgement, exchanges = _run(check, subject, sanity(subject), patience)
        except BaseException as error:  # the caller of `run_checks` gets it
            future.set_exception(error)
        else:
            future.set_result((judgement, exchanges, (now() - began).total_seconds()))

    return run


def _sanity(subject: Subject) -> Sanity | None:
    return next((row for row in SANITY if row.to in subject.places), None)


def _run(
    check: Check, subject: Subject, sanity: Sanity | None, patience: Patience
) -> tuple[Judgement, tuple[Exchange, ...]]:
    subject.begin()
    why, _ = _is_sane(subject, sanity, patience)
    if why:
        return _failed(f"before the check, {why}"), tuple(subject.exchanges)
    subject.begin()
    try:
        judgement = check.judge(subject)
    except NotApplicable as reason:
        return Judgement(Outcome.NOT_APPLICABLE, "", str(reason)), ()
    exchanges = tuple(subject.exchanges)
    why, late = _is_sane(subject, sanity, patience)
    if judgement.outcome is not Outcome.PASS:
        return judgement, exchanges
    if late:
        difference = f"after the response, {arrival(late[0])} arrived"
        stop = Stop.NOT_AT_ALL if any(request.complete for request in late) else Stop.INSIDE
        return Judgement(Outcome.FAIL, judgement.expected, difference, stop), exchanges
    return (_failed(f"after the check, {why}") if why else judgement), exchanges


def _is_sane(
    subject: Subject, sanity: Sanity | None, patience: Patience
) -> tuple[str, list[ReceivedRequest]]:
    """Return why the subject does not forward a valid request, and what arrived before it."""
    if sanity is None:
        return "the subject file has no publication for a valid request", []
    at_most = patience.at_most
    exchange = subject.send(sanity.make, to=sanity.to, client=sanity.client, at_most=at_most)
    patience.note(exchange.result)
    assert isinstance(exchange.sent, Request)
    last = next((request for request in reversed(exchange.received) if request.complete), None)
    late = [
        request
        for request in exchange.received
        if request is not last and not is_cancellation(request)
    ]
    good = isinstance(exchange.result, Response) and exchange.result.status in sanity.statuses
    if good and last is not None and last.target == exchange.sent.target:
        return "", late
    return f"a valid request was not forwarded: {seen(exchange.result)}", late


def _failed(difference: str) -> Judgement:
    return Judgement(Outcome.FAIL, "a valid request is forwarded", difference)
