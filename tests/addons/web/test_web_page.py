"""The traffic on the page: readable, without secrets, limited, and without effect on traffic."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import binary, lists, sampled_from, tuples
from mitmproxy.flow import Flow
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowWriter
from mitmproxy.tcp import TCPFlow
from mitmproxy.test import tflow
from mitmproxy.tools.web import app

from ibcm_bridge.addons.connections import Origin
from ibcm_bridge.addons.events import EndedTunnel
from ibcm_bridge.addons.layers.shown_flow import shown_request
from ibcm_bridge.addons.web import redacted_flows, web_page
from ibcm_bridge.addons.web.web_page import FlowStore, WebPage
from ibcm_bridge.audit.redacted_heads import redacted
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.lab.protocol import ccm, documents
from ibcm_bridge.lab.protocol.client import HandshakeRefused, Response
from ibcm_bridge.lab.protocol.signing import identification_headers
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.target import sent_target
from tests.addons.stand_ins.lab import DENIED, FROM_DP, GOOD, GUID, TUNNELED, Lab, message
from tests.addons.stand_ins.running import Panic, Running, wait_for

TOKEN = "c2VjcmV0LXRva2VuLW9mLWEtdXNlcg"
SECRETS = {
    "Authorization": f"Negotiate {TOKEN}",
    "Cookie": f"session={TOKEN}",
    "ClientToken": f"GUID:{GUID};2026-01-01T00:00:00Z;2;{TOKEN}",
    "X-Whatever": TOKEN,
}


@pytest.fixture
def page() -> WebPage:
    return WebPage(0)


@pytest.fixture
def shown(lab: Lab, tmp_path: Path, page: WebPage) -> Iterator[Running]:
    """A bridge with a page that watches. `test_web_server` tests what the page serves."""
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with Running(lab, policy, observers=[page]) as running:
        yield running
    assert page._responses == {}, "no response is left"


def flows(page: WebPage, count: int) -> list[Any]:
    """The shown flows, once there are `count`."""
    wait_for(lambda: len(page.flows.view) >= count)
    assert len(page.flows.view) == count
    return list(page.flows.view)


def saved(*every: Flow) -> bytes:
    """All data of the flows, as a download contains it."""
    file = io.BytesIO()
    writer = FlowWriter(file)
    for flow in every:
        writer.add(flow)
    return file.getvalue()


def texts(flow: HTTPFlow) -> tuple[str, str]:
    assert flow.response is not None
    return (flow.request.raw_content or b"").decode(), (flow.response.raw_content or b"").decode()


# Shown


def test_a_message_and_its_reply_are_shown_as_views(shown: Running, page: WebPage) -> None:
    with shown.client() as client:
        reply = client.request("CCM_POST", "/ccm_system/request", **message())
    assert reply.status == 200
    (flow,) = flows(page, 1)
    request, response = texts(flow)
    assert request.startswith("CCM_POST for MP_HinvEndpoint\n")
    assert flow.request.headers["Content-Length"] == str(len(message()["body"])), "as it was sent"
    assert response.startswith("NoReply: ")
    text = "allowed: management-point, MP_HinvEndpoint, Report, would be refused if enforced: "
    assert flow.comment.startswith(f"{text}signature-missing: ")
    assert flow.marked == redacted_flows.OBSERVED_MARK
    assert (flow.request.method, flow.response.status_code) == ("CCM_POST", 200)
    assert flow.request.pretty_url.endswith("/ccm_system/request")
    assert not flow.live
    assert flow.error is None
    assert flow.metadata == {}


def test_a_management_point_list_is_shown(shown: Running, page: WebPage) -> None:
    shown.assert_serves()
    (flow,) = flows(page, 1)
    request, response = texts(flow)
    assert request == ""
    assert response.startswith("Management points\n")


def test_a_body_without_a_view_is_shown_by_its_length(shown: Running, page: WebPage) -> None:
    reply = shown.ask(*FROM_DP)
    assert isinstance(reply, Response)
    (flow,) = flows(page, 1)
    assert texts(flow)[1].startswith(f"{len(reply.body):,} bytes. The page shows and stores")
    assert reply.body[:20] not in saved(flow)


def test_a_message_too_large_for_the_page_is_shown_by_its_length(
    shown: Running, page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redacted_flows, "MAX_BODY", 100)
    sent = message()
    with shown.client() as client:
        client.request("CCM_POST", "/ccm_system/request", **sent)
    (flow,) = flows(page, 1)
    assert texts(flow)[0].startswith(f"{len(sent['body']):,} bytes. The page shows and stores")


def test_a_refusal_is_shown_with_reason_rule_requirement_and_response(
    shown: Running, page: WebPage
) -> None:
    reply = shown.ask(*DENIED)
    assert isinstance(reply, Response)
    (flow,) = flows(page, 1)
    text = "refused: verb, by management-point.verbs (VERB-MP): DELETE is not allowed for this role"
    assert flow.comment.splitlines()[0] == flow.error.msg == text
    assert "reason: verb\nrule: management-point.verbs\nrequirement: VERB-MP\n" in flow.comment
    assert flow.response.status_code == reply.status == 405
    assert flow.response.content == reply.body
    assert [*flow.response.headers.items()] == [*reply.headers]


def test_a_refused_reply_is_not_shown_but_the_refusal_that_the_client_got(
    shown: Running, page: WebPage
) -> None:
    refused = Deny(Reason.REPLY_HOST_NAMES, rules.REPLIES_LIMIT, "mp01.corp.example")
    shown.add_hook("reply_collected", lambda _: refused, first=True)
    reply = shown.ask(*GOOD)
    assert isinstance(reply, Response)
    (flow,) = flows(page, 1)
    assert flow.response.status_code == reply.status == 502
    # The body contains the reference.
    assert texts(flow)[1].encode() == reply.body
    assert [*flow.response.headers.items()] == [*reply.headers]


def test_a_body_that_was_not_read_is_reported_as_such(shown: Running, page: WebPage) -> None:
    with shown.client() as client:
        client.request("CCM_POST", "/ccm_system/nowhere", **message())
    (flow,) = flows(page, 1)
    assert "bytes, which was not read completely" in texts(flow)[0]


def test_a_message_refused_for_its_content_is_shown(shown: Running, page: WebPage) -> None:
    xml = documents.inventory_report(GUID).replace("Report", "Unheard")
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)
    with shown.client() as client:
        reply = client.request("CCM_POST", "/ccm_system/request", message()["headers"], body)
    assert reply.status == 403
    (flow,) = flows(page, 1)
    assert flow.comment.startswith("refused: ")
    assert texts(flow)[0].startswith("CCM_POST for MP_HinvEndpoint\n")
    assert "<Unheard" in texts(flow)[0]


def test_a_tunnel_is_shown_as_uninspected(shown: Running, page: WebPage) -> None:
    assert isinstance(shown.ask(*GOOD, name=TUNNELED), Response)
    (flow,) = flows(page, 1)
    assert isinstance(flow, TCPFlow)
    text = flow.comment.splitlines()[0]
    assert text.startswith("tunneled without inspection (TUNNEL-BLIND): ")
    (note,) = flow.messages
    assert note.content.decode() == flow.comment
    assert flow.server_conn.address[0] == TUNNELED
    assert b"MPLIST" not in saved(flow)


def test_a_refused_handshake_is_shown(shown: Running, page: WebPage) -> None:
    assert isinstance(shown.ask(*GOOD, name="nobody.example"), HandshakeRefused)
    (flow,) = flows(page, 1)
    assert isinstance(flow, TCPFlow)
    assert flow.error is not None
    assert flow.error.msg.startswith("refused: unknown-name, by listener.publications (")


@pytest.mark.parametrize("kind", ["nobody", "expired_computer", "wrong_purpose"])
def test_a_client_that_is_refused_in_the_handshake_is_shown(
    shown: Running, page: WebPage, lab: Lab, kind: str
) -> None:
    credential = None if kind == "nobody" else getattr(lab.pki, kind)("pc9.corp.example")
    client = shown.client(credential=credential) if credential else shown.anonymous()
    assert shown.alert(client)
    (flow,) = flows(page, 1)
    (record,) = shown.audit()
    assert record["reason"].startswith("certificate-")
    assert isinstance(flow, TCPFlow)
    assert flow.error is not None
    assert flow.error.msg.startswith(f"refused: {record['reason']}, by {record['rule']} (")
    assert ("certificate: subject CN=pc9.corp.example" in flow.comment) is (credential is not None)
    assert b"BEGIN CERTIFICATE" not in saved(flow)


def test_a_connection_over_the_limit_is_shown(lab: Lab, page: WebPage, tmp_path: Path) -> None:
    limits = dataclasses.replace(lab.policy.limits, connections=1)
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl", limits=limits)
    with Running(lab, policy, observers=[page]) as narrow, narrow.client() as first:
        assert first.request(*GOOD).status == 200
        flows(page, 1)
        for _ in range(3):
            assert not isinstance(narrow.ask(*GOOD), Response)
        _, turned_away = flows(page, 2)
        assert turned_away.error.msg.startswith("refused: too-many-connections, by limits.")
        reasons = narrow.reasons()
    assert reasons == [None, "too-many-connections"], "one record per second, so one row per second"


@pytest.mark.parametrize(
    ("hook", "kind"), [("body_inspected", HTTPFlow), ("tls_start_client", TCPFlow)]
)
def test_a_defect_is_shown(shown: Running, page: WebPage, hook: str, kind: type[Flow]) -> None:
    def fail(_: object) -> None:
        raise Panic(TOKEN)

    shown.hook(hook, 0, fail)
    assert not isinstance(shown.ask(*GOOD), Response) or hook == "body_inspected"
    (flow,) = flows(page, 1)
    assert isinstance(flow, kind)
    assert flow.error is not None
    assert flow.error.msg.startswith("refused: bridge-defect, by ")
    assert TOKEN.encode() not in saved(flow)


def test_a_head_that_cannot_be_read_is_shown_as_a_refusal(shown: Running, page: WebPage) -> None:
    with shown.client() as client:
        connection = client.connect()
        connection.sendall(f"GET / HTTP/1.0\r\nAuthorization: {TOKEN}\r\n\r\n".encode())
        assert connection.recv(1)
    (flow,) = flows(page, 1)
    assert isinstance(flow, TCPFlow)
    assert flow.comment.startswith("refused: ")
    assert TOKEN.encode() not in saved(flow)


def test_a_failed_view_shows_only_the_failure(
    shown: Running, page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> str:
        raise Panic(TOKEN)

    monkeypatch.setattr(redacted_flows, "render", fail)
    shown.assert_serves()
    (flow,) = flows(page, 1)
    assert texts(flow)[1] == "This view failed: Panic."


def test_traffic_does_not_wait_for_views_and_few_views_wait(
    shown: Running, page: WebPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*_: object, **__: object) -> str:
        assert go_on.wait(10)
        return "a view"

    monkeypatch.setattr(redacted_flows, "render", slow)
    monkeypatch.setattr(web_page, "MAX_WAITING", 2)
    with shown.client() as client:
        for _ in range(5):
            assert client.request(*GOOD).status == 200
    early = flows(page, 3)
    assert all(" bytes. The page shows and stores" in texts(flow)[1] for flow in early)
    go_on.set()
    late = [flow for flow in flows(page, 5) if flow not in early]
    assert [texts(flow)[1] for flow in late] == ["a view"] * 2
    assert page._waiting == 0


# Not shown


@pytest.mark.parametrize(
    ("method", "target"),
    [
        GOOD,
        DENIED,
        ("GET", f"/SMS_MP/.sms_aut?access_token={TOKEN}"),
        ("GET", f"/certsrv/mscep?operation=PKIOperation&message={TOKEN}"),
        ("GET", f"https://user:{TOKEN}@bridge.internet.example/"),
    ],
)
def test_no_secret_of_a_request_head_is_stored(
    shown: Running, page: WebPage, lab: Lab, method: str, target: str
) -> None:
    signed = identification_headers(GUID, lab.computer.key, ccm.SENT_TIME)  # type: ignore[arg-type]
    signatures = [value for name, value in signed.items() if "Signature" in name]
    assert signatures
    with shown.client() as client:
        client.request(method, target, {**SECRETS, **signed})
    (flow,) = flows(page, 1)
    everything = saved(flow)
    for secret in (TOKEN, *signatures):
        assert secret.encode() not in everything
    assert flow.request.headers["Authorization"] == "[not shown]"
    assert flow.request.headers["CCMClientID"], "the client GUID is not secret"


def test_no_secret_of_a_response_head_is_stored(shown: Running, page: WebPage) -> None:
    def with_cookie(flow: HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.headers["Set-Cookie"] = flow.response.headers["WWW-Authenticate"] = TOKEN

    shown.add_hook("responseheaders", with_cookie, first=True)
    shown.assert_serves()
    (flow,) = flows(page, 1)
    assert flow.response is not None
    assert flow.response.headers["Set-Cookie"] == "[not shown]"
    assert TOKEN.encode() not in saved(flow)


def test_no_secret_of_a_message_is_stored(shown: Running, page: WebPage) -> None:
    password = "hunter2-of-the-network-access-account"
    xml = documents.inventory_report(GUID)
    xml = xml.replace("</Report>", f"<Password>{password}</Password></Report>")
    body = ccm.ccm_post_body(endpoint="MP_HinvEndpoint", body_xml=xml, client_guid=GUID)
    with shown.client() as client:
        client.request("CCM_POST", "/ccm_system/request", message()["headers"], body)
    (flow,) = flows(page, 1)
    assert "<Password>[not shown]</Password>" in texts(flow)[0]
    everything = saved(flow)
    assert password.encode() not in everything
    assert password.encode("utf-16-le") not in everything
    assert body not in everything


def test_the_client_certificate_is_not_stored(shown: Running, page: WebPage) -> None:
    shown.assert_serves()
    (flow,) = flows(page, 1)
    assert flow.client_conn.certificate_list == ()
    assert b"BEGIN CERTIFICATE" not in saved(flow)
    assert "certificate: subject CN=pc1.corp.example" in flow.comment


@given(
    method=binary(min_size=1, max_size=40),
    target=binary(min_size=1, max_size=80),
    fields=lists(tuples(sampled_from([b"Host", b"User-Agent", b"X"]), binary(max_size=40))),
)
def test_every_request_can_be_shown(
    method: bytes, target: bytes, fields: list[tuple[bytes, bytes]]
) -> None:
    """A flow that could not be shown would remove all others from the page."""
    method, target = (bytes(0x21 + byte % 0x5E for byte in text) for text in (method, target))
    flow = tflow.tflow()
    head = RequestHead(method, sent_target(target), tuple(fields), None)
    flow.request = shown_request(redacted(head), Origin(b"https", "bridge.internet.example", 443))
    json.dumps(app.flow_to_json(flow), ensure_ascii=False).encode("utf8", "surrogateescape")
    assert saved(flow)
    assert flow.request.pretty_url


# Limits


def test_the_number_of_flows_is_limited_and_the_oldest_are_removed() -> None:
    store = FlowStore(flows=3)
    every = [tflow.tflow() for _ in range(5)]
    for flow in every:
        store.add(flow)
    assert list(store.view) == every[2:]
    assert store.view.store_count() == 3
    assert store.size == sum(map(redacted_flows.size_of, every[2:]))


def test_the_size_of_the_flows_is_limited() -> None:
    store = FlowStore(size=100_000)
    for _ in range(50):
        flow = tflow.tflow(resp=True)
        flow.response.content = b"x" * 20_000
        store.add(flow)
    assert 3 <= len(store.view) <= 4
    assert store.size <= 100_000


def test_a_flow_over_the_size_limit_is_not_stored() -> None:
    store = FlowStore(size=100_000)
    flow = tflow.ttcpflow()
    flow.messages[0].content = b"x" * 200_000
    store.add(flow)
    assert (len(store.view), store.size) == (0, 0)


def test_cleared_flows_are_not_counted() -> None:
    store = FlowStore(flows=3)
    for _ in range(3):
        store.add(tflow.tflow())
    store.clear()
    assert (len(store.view), store.size) == (0, 0)
    store.add(tflow.tflow())
    assert len(store.view) == 1


# No effect on traffic


@pytest.mark.parametrize("error", [RuntimeError("SECRET"), Panic("SECRET"), MemoryError()])
@pytest.mark.parametrize(
    "broken",
    [
        (web_page, "exchange_flow"),
        (web_page, "readable_reply"),
        (web_page, "tunnel_flow"),
        (web_page, "refused_flow"),
        (FlowStore, "add"),
    ],
    ids=lambda patch: patch[1],
)
def test_a_defect_of_the_page_is_logged_and_does_not_affect_traffic(
    shown: Running,
    page: WebPage,
    broken: tuple[Any, str],
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*broken, fail)
    with shown.client() as client:
        for _ in range(2):
            assert client.request(*GOOD).status == 200
    assert isinstance(shown.ask(*GOOD, name=TUNNELED), Response)
    assert isinstance(shown.ask(*GOOD, name="nobody.example"), HandshakeRefused)
    denied = shown.ask(*DENIED)
    assert isinstance(denied, Response)
    assert denied.status == 405
    assert wait_for(lambda: len(shown.audit()) == 5)
    assert sorted(map(str, shown.reasons())) == ["None", "None", "None", "unknown-name", "verb"]
    # The page is notified after the audit.
    assert wait_for(lambda: f"defect in the web page: {type(error).__name__}" in caplog.text)
    assert "SECRET" not in caplog.text
    page._responses.clear()


def test_an_exception_in_an_update_does_not_affect_traffic(shown: Running, page: WebPage) -> None:
    def fail(flow: Flow) -> None:
        raise RuntimeError

    page.flows.view.sig_view_add.connect(fail)
    shown.assert_serves()
    shown.assert_serves()


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_propagated(
    page: WebPage, interrupt: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise interrupt

    monkeypatch.setattr(web_page, "tunnel_flow", fail)
    with pytest.raises(interrupt):
        page.ended(EndedTunnel(None, None, 0, 0, None, ("", 0)))  # type: ignore[arg-type]
