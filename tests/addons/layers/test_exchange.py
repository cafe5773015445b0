"""The exchange without sockets: only approved requests are ever sent.

Legs have no TLS here (`PlainLeg`), so a test can read the data for a site system.
"""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from mitmproxy.connection import ConnectionState

from ibcm_bridge.addons.layers import deadline, site_system_leg
from ibcm_bridge.addons.stages import BodyInspected, Considered, Identified
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.rules import Rule
from ibcm_bridge.identity.approval import Approved
from tests.addons.layers.samples import (
    DENIED,
    FROM_DP,
    GET,
    HEAD,
    OK,
    SECOND,
    post,
    to_bytes,
)
from tests.addons.stand_ins.driver import Clock
from tests.addons.stand_ins.exchange_driver import ExchangeDriver, PlainLeg
from tests.addons.stand_ins.lab import Lab

FRAGMENT = (
    b"BITS_POST /CCM_Incoming/{00000000-0000-0000-0000-00000000000A} HTTP/1.1\r\n"
    b"Host: bridge.internet.example\r\n"
    b"BITS-Packet-Type: Fragment\r\n"
    b"BITS-Session-Id: {00000000-0000-0000-0000-00000000000B}\r\n"
    b"Content-Range: bytes 0-9/10\r\n"
    b"Content-Length: 10\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
"""The head of a packet; its body follows after a 100 Continue."""


def test_a_connection_is_idle_from_the_end_of_a_request(exchange: ExchangeDriver) -> None:
    before = time.monotonic()
    exchange.receive(GET)
    assert exchange.record.is_busy
    exchange.receive(OK, exchange.server)
    assert not exchange.record.is_busy
    assert exchange.record.idle_since >= before


@pytest.mark.parametrize("watched", ["", "request", "reply_shown", "response"])
def test_hooks_that_only_show_are_called_if_an_addon_watches(
    lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch, watched: str
) -> None:
    monkeypatch.setattr(site_system_leg, "_LegTls", PlainLeg)
    exchange = ExchangeDriver(lab, clock, lambda name: name == watched).start()
    exchange.receive(GET)
    exchange.receive(OK, exchange.server)
    exchange.receive(DENIED)
    assert exchange.to_client().startswith(OK + b"HTTP/1.1 405 ")
    shown = [name for name in exchange.names() if name != "exchange_ended"]
    assert shown == ([watched] if watched else [])


def test_the_request_of_a_client_that_left_during_its_decision_is_not_sent(
    exchange: ExchangeDriver,
) -> None:
    """The event of the close waits behind the decision; the state of the connection does not."""
    approve = exchange.hooks["body_inspected"]

    def leave(inspected: BodyInspected) -> Identified | Deny:
        exchange.client.state = ConnectionState.CLOSED
        identified: Identified | Deny = approve(inspected)
        return identified

    exchange.hooks["body_inspected"] = leave
    exchange.receive(GET)
    assert not exchange.dialled
    (ended,) = exchange.ended
    assert not ended.forwarded
    assert ended.note == "the client closed the connection"


def test_a_packet_refused_by_its_head_is_refused_before_its_body(exchange: ExchangeDriver) -> None:
    refusal = Deny(Reason.UPLOAD_TOO_LARGE, Rule("made up"))
    exchange.hooks["packet_announced"] = lambda _: Considered(None, refusal)
    exchange.receive(FRAGMENT)
    assert exchange.ended[-1].decision is refusal
    assert b"100 Continue" not in exchange.to_client()
    assert not exchange.dialled


# Random sequences of events


CLIENT_DATA = [GET, SECOND, HEAD, FROM_DP, DENIED, *post(), *post(expect=True), GET[:30], b"\r\n"]
SITE_SYSTEM_DATA = [OK, OK[:-1], OK[-1:], OK[:20], OK + OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"x"]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("client"), st.sampled_from(CLIENT_DATA)),
        st.tuples(st.just("client"), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("site system"), st.sampled_from(SITE_SYSTEM_DATA)),
        st.tuples(st.just("site system leaves"), st.just(b"")),
        st.tuples(st.just("client leaves"), st.just(b"")),
        st.tuples(st.just("time passes"), st.just(b"")),
        st.tuples(st.just("dial is held"), st.just(b"")),
        st.tuples(st.just("dial ends"), st.just(b"")),
        st.tuples(st.just("dial fails"), st.just(b"")),
    ),
    max_size=14,
)


def execute(exchange: ExchangeDriver, what: str, data: bytes) -> None:
    alive = [server for server in exchange.dialled if server.state & ConnectionState.CAN_READ]
    if what == "client" and exchange.client.state & ConnectionState.CAN_READ:
        exchange.receive(data)
    elif what == "client leaves" and exchange.client.state & ConnectionState.CAN_READ:
        exchange.close()
    elif what == "site system" and alive:
        exchange.receive(data, alive[-1])
    elif what == "site system leaves" and alive:
        exchange.close(alive[-1])
    elif what == "time passes":
        exchange.advance(7)
    elif what == "dial is held":
        exchange.hold_dial = True
    elif what.startswith("dial") and exchange.dialling:
        exchange.complete_dial("refused" if what == "dial fails" else None)


@given(STEPS)
@example([("client", GET + DENIED), ("site system", OK + OK), ("client", GET)])
@example(
    [
        *[("client", GET), ("site system", OK), ("client", SECOND), ("site system leaves", b"")],
        *[("site system", OK), ("client", GET), ("site system leaves", b"")],
    ]
)
@example([("dial is held", b""), ("client", GET), ("client leaves", b""), ("dial ends", b"")])
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_only_approved_requests_are_sent_and_nothing_raises(
    running_lab: Lab, steps: list[tuple[str, bytes]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_system_leg, "_LegTls", PlainLeg)
        clock = Clock()
        patch.setattr(deadline, "time", clock)
        patch.setattr(site_system_leg, "time", clock)
        exchange = ExchangeDriver(running_lab, clock)
        approve, approved = exchange.hooks["body_inspected"], []

        def note(inspected: BodyInspected) -> Identified | Deny:
            identified: Identified | Deny = approve(inspected)
            decision = identified if isinstance(identified, Deny) else identified.decision
            if isinstance(decision, Approved):
                address = decision.authorized.site_systems.first.address
                approved.append((exchange.under_way, address, to_bytes(decision)))
            return identified

        exchange.hooks["body_inspected"] = note
        exchange.start()
        for what, data in steps:
            execute(exchange, what, data)
    # An approval is valid for one request, or for two if the kept leg was closed.
    resent = [request for request in approved if request[0]._sent > 1]
    assert all(data.startswith((b"GET ", b"HEAD ")) for _, _, data in resent)
    allowed = [(address, data) for _, address, data in approved + resent]
    for server in exchange.dialled:
        sent = exchange.to(server)
        while sent:
            fitting = [
                data for at, data in allowed if at == server.address and sent.startswith(data)
            ]
            assert fitting, sent
            allowed.remove((server.address, fitting[0]))
            sent = sent[len(fitting[0]) :]
    assert DENIED[:20] not in b"".join(exchange.to(server) for server in exchange.dialled)
    if exchange.gone:
        assert exchange.record.may_dial is None
