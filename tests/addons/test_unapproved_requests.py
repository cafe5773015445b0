"""A request without its own approval does not reach a site system.

An approval is for one head and one body. Here the decision on a request is an approval that the
bridge has made for another request. The last gate refuses it, on each request of a connection.
"""

from __future__ import annotations

from typing import Any

import pytest

from ibcm_bridge.addons.stages import BodyInspected, Identified
from ibcm_bridge.lab.protocol.client import LabClient, Request, Response
from tests.addons.stand_ins.lab import FROM_DP, GOOD, message
from tests.addons.stand_ins.running import Running, outcome_of, wait_for


def listing(name: str) -> Request:
    """Return a PROPFIND whose head does not depend on the name, if it has twelve letters."""
    body = f'<propfind xmlns="DAV:"><prop><{name}/></prop></propfind>'.encode()
    fields = (("Depth", "1"), ("Content-Type", "text/xml"))
    return Request("PROPFIND", "/SMS_DP_SMSPKG$/LAB00001", fields, body)


LIST = Request(*GOOD)
INVENTORY = message()
REPORT = Request(
    "CCM_POST", "/ccm_system/request", tuple(INVENTORY["headers"].items()), INVENTORY["body"]
)

PAIRS = {
    "another target": (LIST, Request("GET", "/SMS_MP/.sms_aut?MPCERT")),
    "another method": (LIST, Request("HEAD", GOOD[1])),
    "another site system": (LIST, Request(*FROM_DP)),
    "a field less": (Request(*GOOD, (("Accept", "*/*"),)), LIST),
    "another body": (listing("iscollection"), listing("resourcetype")),
    "a message": (LIST, REPORT),
    "no message": (REPORT, LIST),
}


def send(client: LabClient, request: Request) -> Response:
    outcome = outcome_of(
        client, request.method, request.target, headers=request.headers, body=request.body
    )
    assert isinstance(outcome, Response), outcome
    return outcome


def received(running: Running) -> list[tuple[str, str, bytes]]:
    """Return the requests that a site system got."""
    return [(got.method, got.target, got.body) for got in running.lab.site.received()]


def line(request: Request) -> tuple[str, str, bytes]:
    return request.method, request.target, request.body or b""


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_request_with_the_approval_of_another_one_is_not_sent(
    running: Running, pair: str, before: int
) -> None:
    """`before`: how many requests the connection has already served."""
    approved, request = PAIRS[pair]
    approvals: list[Identified] = []
    swapping = False

    def swap(known: Any) -> Any:
        # After the addon that decides: its result, or the one for another request.
        approvals.append(known)
        return approvals[0] if swapping else known

    running.add_hook(BodyInspected.hook, swap)
    with running.client() as client:
        assert send(client, approved).status < 300
    with running.client() as client:
        for _ in range(before):
            assert send(client, request).status < 300
        swapping = True
        refused = send(client, request)
    assert refused.status == 500
    assert received(running) == [line(approved)] + [line(request)] * before
    assert wait_for(lambda: len(running.audit()) == before + 2)
    assert running.audit()[-1]["rule"] == "gate"


@pytest.mark.parametrize("pair", PAIRS)
def test_the_same_requests_with_their_own_approvals_are_sent(running: Running, pair: str) -> None:
    requests = PAIRS[pair]
    with running.client() as client:
        for request in requests:
            assert send(client, request).status < 300
    assert received(running) == [line(request) for request in requests]
