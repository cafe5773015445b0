"""The objects for addons that show traffic equal those that mitmproxy makes."""

import time

import h11
import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from ibcm_bridge.addons.layers import display
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.request.target import sent_target


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.5)


def test_a_request_equals_that_of_mitmproxy() -> None:
    head = read_request_head(b"CCM_POST /a?b HTTP/1.1\r\nHost: x\r\nUser-Agent: ccmhttp\r\n\r\n")
    assert isinstance(head, RequestHead)
    shown = display.shown_request(head, "bridge.internet.example")
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
    response = h11.Response(status_code=206, headers=[("ETag", "x")], reason="Partial Content")
    shown = display.shown_response(response)
    made = http.Response(
        b"HTTP/1.1", 206, b"Partial Content", http.Headers([(b"ETag", b"x")]), None, None, 1.5, None
    )
    assert shown.get_state() == made.get_state()


def test_a_flow_with_these_objects_can_be_saved() -> None:
    flow = tflow.tflow()
    flow.request = display.shown_request(RequestHead(b"GET", sent_target(b"/"), (), None), None)
    flow.response = display.shown_response(h11.Response(status_code=200, headers=[]))
    assert http.HTTPFlow.from_state(flow.get_state()).request.path == "/"
