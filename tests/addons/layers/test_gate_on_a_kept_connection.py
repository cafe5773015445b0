"""The second request on an open connection: decisions for the first request do not apply to it.

mitmproxy's `server_connect` runs only once per connection, so a check there would not cover later
requests. Here addons fail between two requests of one connection, and the site system must receive
only approved requests.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.http import Headers, HTTPFlow, Response

from ibcm_bridge.addons.connections import ExchangeEnded
from ibcm_bridge.addons.stages import BodyRead, HeadRead, Identified
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.protocol.client import Response as ClientResponse
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.request.target import sent_target
from tests.addons.stand_ins.lab import DENIED, GOOD, message
from tests.addons.stand_ins.running import Running, outcome_of, wait_for

OTHER = ("GET", "/SMS_MP/.sms_aut?MPCERT")


def send_first(client: LabClient) -> None:
    reply = outcome_of(client, *GOOD)
    assert isinstance(reply, ClientResponse)
    assert reply.status == 200


def assert_second_is_refused(running: Running, method: str, target: str, **more: Any) -> None:
    """Send an allowed request and then this one; only the first may arrive."""
    with running.client() as client:
        send_first(client)
        outcome = outcome_of(client, method, target, **more)
        assert isinstance(outcome, ClientResponse), outcome
        assert outcome.status in (405, 500)
        assert outcome.header("Connection") == "close"
    assert wait_for(lambda: not running.bridge.connections._records)
    assert [(request.method, request.target) for request in running.lab.site.received()] == [GOOD]
    assert len(running.lab.site.handshakes()) == 1
    assert wait_for(lambda: len(running.audit()) == 2)


@pytest.fixture
def previous(running: Running) -> list[ExchangeEnded]:
    """The ended exchanges, with their decisions."""
    found: list[ExchangeEnded] = []
    running.add_hook("exchange_ended", found.append)
    return found


def test_a_denied_second_request_is_not_sent(running: Running) -> None:
    assert_second_is_refused(running, *DENIED)
    assert running.reasons() == [None, "verb"]


Decider = Callable[[Any], Any]


def unchanged(known: Any) -> Any:
    return known


def only_second(then: Decider, first: Decider = unchanged) -> Decider:
    """Return a decider that misbehaves from the second request on."""
    seen = []

    def decide(known: Any) -> Any:
        seen.append(known)
        return first(known) if len(seen) == 1 else then(known)

    return decide


@pytest.mark.parametrize("request_line", [GOOD, OTHER, DENIED])
def test_a_second_request_without_a_decision_on_its_head_is_not_sent(
    running: Running, request_line: tuple[str, str]
) -> None:
    decide = running.bridge.generation.hooks.of("head_read")[1]
    running.hook("head_read", 1, only_second(unchanged, decide))
    assert_second_is_refused(running, *request_line)
    assert running.reasons()[1] == "bridge-defect"


@pytest.mark.parametrize("stage", ["body_read", "body_inspected"])
@pytest.mark.parametrize("request_line", [GOOD, OTHER])
def test_a_second_request_without_a_decision_on_its_body_is_not_sent(
    running: Running, request_line: tuple[str, str], stage: str
) -> None:
    (decide,) = running.bridge.generation.hooks.of(stage)
    running.hook(stage, 0, only_second(unchanged, decide))
    assert_second_is_refused(running, *request_line)
    assert running.reasons()[1] == "bridge-defect"


@pytest.mark.parametrize("request_line", [GOOD, OTHER, DENIED])
def test_the_approval_of_the_previous_request_is_not_a_decision_on_a_head(
    running: Running, previous: list[ExchangeEnded], request_line: tuple[str, str]
) -> None:
    decide = running.bridge.generation.hooks.of("head_read")[1]
    running.hook("head_read", 1, only_second(lambda _: previous[0].decision, decide))
    assert_second_is_refused(running, *request_line)


@pytest.mark.parametrize("request_line", [OTHER, DENIED])
def test_the_gate_refuses_the_authorization_of_the_previous_request(
    running: Running, previous: list[ExchangeEnded], request_line: tuple[str, str]
) -> None:
    decide = running.bridge.generation.hooks.of("head_read")[1]
    running.hook("head_read", 1, only_second(lambda _: previous[0].authorized, decide))
    assert_second_is_refused(running, *request_line)
    assert running.audit()[1]["rule"] == "gate"


def test_the_gate_refuses_the_approval_of_the_previous_request(
    running: Running, previous: list[ExchangeEnded]
) -> None:
    running.add_hook("body_inspected", only_second(lambda _: Identified(previous[0].decision, {})))
    assert_second_is_refused(running, *OTHER)
    assert running.audit()[1]["rule"] == "gate"


def test_the_gate_refuses_a_decision_on_the_previous_head(
    running: Running, previous: list[ExchangeEnded]
) -> None:
    """The layer uses its own copy of the head."""

    def confuse(read: HeadRead) -> HeadRead:
        head = previous[0].head
        assert head is not None
        return dataclasses.replace(read, head=head)

    running.add_hook("head_read", only_second(confuse), first=True)
    assert_second_is_refused(running, *OTHER)
    assert running.audit()[1]["rule"] == "gate"


def change_fields(head: RequestHead, *, add: bytes = b"", drop_host: bool = False) -> RequestHead:
    fields = (*head.fields, (b"CCMClientID", add)) if add else head.fields
    return dataclasses.replace(head, fields=fields[1:] if drop_host else fields)


CHANGED_APPROVALS: dict[str, Callable[[Authorized], RequestHead]] = {
    "another method": lambda approved: dataclasses.replace(approved.head, method=b"DELETE"),
    "a method in lower case": lambda approved: dataclasses.replace(approved.head, method=b"get"),
    "another target": lambda approved: dataclasses.replace(
        approved.head, target=sent_target(b"/SMS_MP_AltAuth/")
    ),
    "another length": lambda approved: dataclasses.replace(approved.head, length=10),
    "a field more": lambda approved: change_fields(approved.head, add=b"GUID:1"),
    "a field changed": lambda approved: change_fields(approved.head, add=b"GUID:1", drop_host=True),
    "a field of another case": lambda approved: dataclasses.replace(
        approved.head, fields=tuple((name.lower(), value) for name, value in approved.head.fields)
    ),
    "a field twice": lambda approved: dataclasses.replace(
        approved.head, fields=approved.head.fields * 2
    ),
    "fields in another order": lambda approved: dataclasses.replace(
        approved.head, fields=approved.head.fields[::-1]
    ),
}


@pytest.mark.parametrize("change", CHANGED_APPROVALS)
def test_the_gate_refuses_the_approval_of_another_head(running: Running, change: str) -> None:
    def swap(identified: Identified) -> Identified:
        approved = identified.decision
        assert isinstance(approved, Approved)
        head = CHANGED_APPROVALS[change](approved.authorized)
        authorized = dataclasses.replace(approved.authorized, head=head)
        inspected = dataclasses.replace(approved.inspected, authorized=authorized)
        changed = dataclasses.replace(approved, inspected=inspected)
        return dataclasses.replace(identified, decision=changed)

    running.add_hook("body_inspected", only_second(swap))
    assert_second_is_refused(running, *GOOD, headers={"Accept": "*/*"})
    assert running.audit()[1]["rule"] == "gate"


def test_the_gate_refuses_the_approval_of_another_body(running: Running) -> None:
    def swap(identified: Identified) -> Identified:
        approved = identified.decision
        assert isinstance(approved, Approved)
        inspected = dataclasses.replace(approved.inspected, body=b"another")
        changed = dataclasses.replace(approved, inspected=inspected)
        return dataclasses.replace(identified, decision=changed)

    running.add_hook("body_inspected", only_second(swap))
    assert_second_is_refused(running, "CCM_POST", "/ccm_system/request", **message())
    assert running.audit()[1]["rule"] == "gate"


def test_a_body_changed_before_inspection_is_not_sent_in_either_form(
    running: Running,
) -> None:
    sent = message()

    def change(read: BodyRead) -> BodyRead:
        return dataclasses.replace(read, body=sent["body"])

    running.add_hook("body_read", only_second(change), first=True)
    harmful = b"x" * len(sent["body"])
    assert_second_is_refused(
        running, "CCM_POST", "/ccm_system/request", headers=sent["headers"], body=harmful
    )
    assert running.audit()[1]["rule"] == "gate"


def test_a_head_swapped_before_its_decision_is_not_sent_in_either_form(
    running: Running,
) -> None:
    def swap(read: HeadRead) -> HeadRead:
        head = read_request_head(
            b"GET /SMS_MP/.sms_aut?MPCERT HTTP/1.1\r\nHost: bridge.internet.example\r\n\r\n"
        )
        assert isinstance(head, RequestHead)
        return dataclasses.replace(read, head=head)

    running.add_hook("head_read", only_second(swap), first=True)
    assert_second_is_refused(running, *DENIED)
    assert running.audit()[1]["rule"] == "gate"


def change_everything(flow: HTTPFlow) -> None:
    flow.request = flow.request.copy()
    flow.request.method = "DELETE"
    flow.request.path = "/SMS_MP_AltAuth/"
    flow.request.host = "elsewhere.example"
    flow.request.headers = Headers([(b"Host", b"elsewhere.example"), (b"Evil", b"1")])
    flow.request.content = b"another body"
    flow.response = Response.make(200, b"made by an addon")


@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response"])
def test_changes_of_an_addon_to_a_flow_are_not_sent(running: Running, hook: str) -> None:
    if hook == "requestheaders":
        # The content is not changed: it would be inspected.
        def change(flow: HTTPFlow) -> None:
            change_everything(flow)
            flow.request.content = b""

        running.add_hook(hook, change)
    else:
        running.bridge.generation.hooks._by_name[hook].append(change_everything)
    with running.client() as client:
        for _ in range(2):
            outcome = outcome_of(client, *GOOD)
            assert isinstance(outcome, ClientResponse)
            assert outcome.status == 200
            assert b"made by an addon" not in outcome.body
    received = running.lab.site.received()
    assert [(request.method, request.target, request.body) for request in received] == [
        (*GOOD, b"")
    ] * 2
    assert all(request.headers == (("Host", "bridge.internet.example"),) for request in received)


def test_a_client_that_is_no_longer_authenticated_is_not_served(running: Running) -> None:
    def forget(read: HeadRead) -> HeadRead:
        return dataclasses.replace(read, client=None)  # type: ignore[arg-type]

    running.add_hook("head_read", only_second(forget), first=True)
    assert_second_is_refused(running, *GOOD)
    assert running.reasons()[1] == "bridge-defect"


def test_a_client_authenticated_for_another_publication_is_not_served(running: Running) -> None:
    def elsewhere(read: HeadRead) -> HeadRead:
        client = dataclasses.replace(read.client, publication="other.internet.example")
        return dataclasses.replace(read, client=client)

    running.add_hook("head_read", only_second(elsewhere), first=True)
    assert_second_is_refused(running, *GOOD)


def test_requests_after_a_refusal_are_not_served(running: Running) -> None:
    with running.client() as client:
        send_first(client)
        connection = client.connect()
        head = "{} {} HTTP/1.1\r\nHost: bridge.internet.example\r\n\r\n"
        connection.sendall((head.format(*DENIED) + head.format(*GOOD)).encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
        assert received.count(b"HTTP/1.1 ") == 1
        assert received.startswith(b"HTTP/1.1 405 ")
    assert len(running.lab.site.received()) == 1
