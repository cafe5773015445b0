"""The decisions on a head and a body as functions from one stage to the next value."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from ibcm_bridge.addons.hooks.body_inspection import BodyInspection
from ibcm_bridge.addons.hooks.request_authorization import RequestAuthorization
from ibcm_bridge.addons.stages import BodyRead, HeadRead
from ibcm_bridge.authentication.certificate import certificate_facts
from ibcm_bridge.authentication.client import AuthenticatedClient, authenticate
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.inspection.reports import Report
from ibcm_bridge.inspection.subject import Subject
from ibcm_bridge.inspection.verdict import SMALL, Inspected
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.shares import Holder
from tests.addons.stand_ins.lab import Lab, bridged_publication, message

FULL = Deny(Reason.OVERLOADED, rules.LIMITS_INSPECTION_WORKERS)


def head_of(lab: Lab, body: bytes, method: str = "CCM_POST") -> HeadRead:
    content_type = message()["headers"]["Content-Type"]
    head = read_request_head(
        f"{method} /ccm_system/request HTTP/1.1\r\nHost: bridge.internet.example\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    )
    assert isinstance(head, RequestHead)
    publication = bridged_publication(lab.policy)
    client = authenticate(publication, certificate_facts(lab.computer.certificate))
    assert isinstance(client, AuthenticatedClient)
    return HeadRead(client, publication, head)


def body_of(lab: Lab, body: bytes) -> BodyRead:
    authorized = RequestAuthorization(lab.policy.never).head_read(head_of(lab, body))
    assert isinstance(authorized, Authorized)
    return BodyRead(authorized, body, None, "client")


async def never_large(_: Subject, holder: Holder) -> Report | Deny:
    raise AssertionError("a small body")


def test_a_head_is_authorized_or_refused(lab: Lab) -> None:
    decide = RequestAuthorization(lab.policy.never).head_read
    body: bytes = message()["body"]
    assert isinstance(decide(head_of(lab, body)), Authorized)
    refused = decide(head_of(lab, body, "POST"))
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.VERB


def test_a_small_body_is_decided_on_at_once(lab: Lab) -> None:
    inspection = BodyInspection([], never_large)
    body: bytes = message()["body"]
    decided = inspection.body_read(body_of(lab, body))
    assert isinstance(decided, Inspected)
    assert decided.body == body
    assert isinstance(inspection.body_read(body_of(lab, b"x" * len(body))), Deny)


def test_a_large_body_is_awaited(lab: Lab) -> None:
    async def full(_: Subject, holder: Holder) -> Report | Deny:
        assert holder == "client"
        return FULL

    waiting = BodyInspection([], full).body_read(body_of(lab, b"x" * (SMALL + 1)))
    assert asyncio.iscoroutine(waiting)
    assert asyncio.run(waiting) is FULL


@pytest.mark.parametrize("renewals", [1, 2])
def test_a_body_is_inspected_again_if_the_rules_changed_meanwhile(lab: Lab, renewals: int) -> None:
    used: list[Sequence[object]] = []

    async def renewing(_: Subject, holder: Holder) -> Report | Deny:
        used.append(inspection.engines)
        if len(used) <= renewals:
            inspection.engines = []
        return FULL

    inspection = BodyInspection([], renewing)
    waiting = inspection.body_read(body_of(lab, b"x" * (SMALL + 1)))
    assert asyncio.iscoroutine(waiting)
    assert asyncio.run(waiting) is FULL
    assert len(used) == renewals + 1
    assert used[-1] is inspection.engines
