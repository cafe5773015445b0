"""The objects for addons that show traffic equal those that mitmproxy makes."""

import time

import pytest
from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.test import tflow

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord, Origin
from ibcm_bridge.addons.layers import shown_flow
from ibcm_bridge.policy.publications import PlaintextListener, PlaintextPublication, UnlistedHeaders
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.request.target import sent_target
from ibcm_bridge.site_system_leg.received_head import ReceivedHead

ORIGIN = Origin(b"https", "bridge.internet.example", 443)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.5)


def test_a_request_equals_that_of_mitmproxy() -> None:
    head = read_request_head(b"CCM_POST /a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: ccmhttp\r\n\r\n")
    assert isinstance(head, RequestHead)
    shown = shown_flow.shown_request(head, ORIGIN)
    made = http.Request(
        "bridge.internet.example",
        443,
        b"CCM_POST",
        b"https",
        b"",
        b"/a?b",
        b"HTTP/1.1",
        http.Headers(head.fields),
        None,
        None,
        1.5,
        None,
    )
    assert shown.get_state() == made.get_state()
    assert shown.pretty_url == made.pretty_url


def test_a_response_equals_that_of_mitmproxy() -> None:
    response = ReceivedHead(206, b"Partial Content", ((b"etag", b"ETag", b"x"),))
    shown = shown_flow.shown_response(response)
    made = http.Response(
        b"HTTP/1.1", 206, b"Partial Content", http.Headers([(b"ETag", b"x")]), None, None, 1.5, None
    )
    assert shown.get_state() == made.get_state()


def test_a_flow_with_these_objects_can_be_saved() -> None:
    flow = tflow.tflow()
    flow.request = shown_flow.shown_request(
        RequestHead(b"GET", sent_target(b"/"), (), None), ORIGIN
    )
    flow.response = shown_flow.shown_response(ReceivedHead(200, b"", ()))
    assert http.HTTPFlow.from_state(flow.get_state()).request.path == "/"


def test_a_request_of_a_plaintext_publication_has_its_scheme_name_and_port() -> None:
    published = PlaintextPublication(
        "fsp.internet.example", 8080, {}, UnlistedHeaders.DROP, 8192, "a fallback status point"
    )
    connection = ConnectionRecord(
        Client(peername=("192.0.2.7", 50_000), sockname=("192.0.2.1", 80)),
        PlaintextListener(("192.0.2.1", 80), published),
        publication=published,
        capacity=Capacity(1, 1),
    )
    head = RequestHead(b"GET", sent_target(b"/x"), (), None)
    shown = shown_flow.shown_request(head, connection.origin)
    assert shown.pretty_url == "http://fsp.internet.example:8080/x"
