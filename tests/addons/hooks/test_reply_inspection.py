"""Responses that are inspected before they are forwarded: what is sent, and when."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import pytest

from ibcm_bridge.addons.audit.trail import exchange_record
from ibcm_bridge.addons.clock import utc_now
from ibcm_bridge.addons.hooks.reply_inspection import ReplyInspection
from ibcm_bridge.addons.layers import exchange as exchange_module
from ibcm_bridge.addons.stages import Learned, ReplyAllowed
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.registration_reply import read_registration_reply
from ibcm_bridge.policy.message_policy import Enforcement, MessagePolicy
from tests.addons.stand_ins.driver import LIMITS
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import message

HOST = b"Host: bridge.internet.example\r\n"
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
POLICY = GET.replace(b".sms_aut?MPLIST", b".sms_pol?{LAB00001}.1_00")
LEAK = b'<MPList><MP FQDN="mp01.corp.example"/></MPList>'
CLEAN = b'<MPList><MP FQDN="mp.internet.example"/></MPList>'
ENFORCE = Enforcement.ENFORCE
INTERNAL = MessagePolicy(internal_domains=frozenset(("corp.example",)))

Judge = Callable[..., None]


def post() -> bytes:
    sent = message()
    fields = HOST + f"Content-Type: {ccm.CONTENT_TYPE}\r\n".encode()
    head = b"CCM_POST /ccm_system/request HTTP/1.1\r\n" + fields
    body: bytes = sent["body"]
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def counted(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, b"\r\n".join((length, *fields)), body)


def chunked(*pieces: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def framed(xml: str) -> bytes:
    """Return the response with a reply to a CCM_POST."""
    body = ccm.raw_message(
        f"<Msg><Hooks>{ccm.ZLIB_HOOK}</Hooks></Msg>", zlib.compress(xml.encode("utf-16-le"))
    )
    return counted(body, f"Content-Type: {ccm.CONTENT_TYPE}".encode())


@pytest.fixture
def judge(exchange: ExchangeDriver) -> Judge:
    """A function that sets the rules of the exchange; internal domains are set."""

    def by(**changes: Enforcement) -> None:
        rules = dataclasses.replace(INTERNAL, **changes)
        exchange.hooks["reply_collected"] = ReplyInspection(rules).reply_collected

    by()
    return by


def held(exchange: ExchangeDriver) -> int:
    return exchange.record.capacity.memory.held


def assert_refused(exchange: ExchangeDriver, reason: str, inside: bytes = b"corp") -> None:
    """Assert a 502 instead of the response, without any part of the response."""
    assert exchange.reason() == reason
    last = exchange.names()[::-1]
    assert "reply_shown" not in last[: last.index("requestheaders")], "only what was sent is shown"
    received = exchange.to_client()
    assert received.startswith(b"HTTP/1.1 502 ")
    assert inside not in received
    assert received.count(b"HTTP/1.1") == 1
    exchange.close()
    assert exchange.server in exchange.closed
    assert held(exchange) == 0


# Forwarded responses


@pytest.mark.parametrize("response", [counted(LEAK), chunked(LEAK)])
def test_a_response_is_forwarded_unchanged_and_findings_are_recorded(
    exchange: ExchangeDriver, judge: Judge, response: bytes
) -> None:
    exchange.receive(GET)
    for index in range(len(response)):
        assert not exchange.to_client(), "nothing is forwarded before it is complete"
        exchange.receive(response[index : index + 1], exchange.server)
    assert exchange.to_client() == response
    (ended,) = exchange.ended
    assert ended.observed == ("reply-host-names: mp01.corp.example",)
    assert ended.bytes_out == len(LEAK)
    record = exchange_record(ended, utc_now())
    assert record["observed"] == ended.observed
    assert record["verdict"] == "allow"
    (shown,) = [flow for name, flow in exchange.hook_calls if name == "reply_shown"]
    assert shown.response.raw_content is None, "it is not stored"
    assert held(exchange) == 0
    exchange.receive(GET)
    assert exchange.to(exchange.server) == GET + GET, "the leg is kept"


PROPFIND = GET.replace(b"GET /SMS_MP/.sms_aut?MPLIST", b"PROPFIND /SMS_DP_SMSPKG$/LAB00001")
LISTED = b"""<multistatus xmlns="DAV:"><response><href>https://%b/SMS_DP_SMSPKG$/LAB00001/setup.exe</href>
</response></multistatus>"""


def test_the_addresses_of_a_listing_are_searched_for_internal_names(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    response = counted(LISTED % b"dp01.corp.example", status=b"207 Multi-Status")
    exchange.receive(PROPFIND)
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == response
    assert exchange.ended[0].observed == ("reply-host-names: dp01.corp.example",)


def test_a_listing_with_internal_names_is_refused_if_enforced(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(PROPFIND)
    exchange.receive(
        counted(LISTED % b"dp01.corp.example", status=b"207 Multi-Status"), exchange.server
    )
    assert_refused(exchange, "reply-host-names")


def test_a_listing_with_internet_names_is_forwarded(exchange: ExchangeDriver, judge: Judge) -> None:
    judge(host_names=ENFORCE)
    response = counted(LISTED % b"dp.internet.example", status=b"207 Multi-Status")
    exchange.receive(PROPFIND)
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == response
    assert not exchange.ended[0].observed


def test_a_response_until_the_end_of_the_connection_is_forwarded_unchanged(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n" + LEAK, exchange.server)
    assert not exchange.to_client()
    exchange.close(exchange.server)
    assert exchange.to_client() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + LEAK
    assert exchange.ended[0].observed
    assert not exchange.ended[0].note


def test_the_reply_to_a_message_is_available_for_learning(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    guid = "GUID:0A1B2C3D-0000-4000-8000-00000000000F"
    response = framed(f'<ClientRegistrationResponse Status="0" SMSID="{guid}"/>')
    seen = []

    def learn(judged: ReplyAllowed) -> Learned:
        seen.append(read_registration_reply(judged.message))
        assert not exchange.to(exchange.client)
        return Learned()

    exchange.hooks["reply_allowed"] = learn
    exchange.receive(post())
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == response
    (registered,) = seen
    assert registered is not None
    assert registered.guid == guid
    assert exchange.ended[0].observed == ()


def test_a_response_without_a_body_is_an_empty_reply(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    seen: list[ReplyAllowed] = []

    def learn(judged: ReplyAllowed) -> Learned:
        seen.append(judged)
        return Learned()

    exchange.hooks["reply_allowed"] = learn
    exchange.receive(post())
    exchange.receive(counted(b""), exchange.server)
    assert exchange.to_client() == counted(b"")
    assert seen[0].message.empty


@pytest.mark.parametrize(
    ("request_head", "response"),
    [
        (POLICY, counted(LEAK)),
        (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"HEAD" + GET[3:], counted(LEAK)[: -len(LEAK)]),
    ],
)
def test_unlisted_responses_are_forwarded_without_inspection(
    exchange: ExchangeDriver, judge: Judge, request_head: bytes, response: bytes
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(request_head)
    exchange.receive(response[:-1], exchange.server)
    passed = exchange.to_client()
    exchange.receive(response[-1:], exchange.server)
    assert passed + exchange.to_client() == response
    assert "reply_collected" not in exchange.names()
    assert exchange.ended[0].observed == ()


# Refused responses


@pytest.mark.parametrize("response", [counted(LEAK), chunked(LEAK[:9], LEAK[9:])])
def test_a_response_with_internal_names_is_refused_if_enforced(
    exchange: ExchangeDriver, judge: Judge, response: bytes
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(GET)
    exchange.receive(counted(CLEAN), exchange.server)
    assert exchange.to_client() == counted(CLEAN)
    exchange.receive(GET)
    exchange.receive(response, exchange.server)
    assert_refused(exchange, "reply-host-names")
    record = exchange_record(exchange.ended[-1], utc_now())
    assert record["detail"] == "mp01.corp.example"
    assert record["rule"] == "messages.host_names"
    assert record["forwarded"] is True
    assert record["bytes_to_client"] == 0


def test_policy_for_the_intranet_is_refused_if_enforced(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    policy = '<ReplyAssignments><Policy PolicyID="{A}" PolicyFlags="8"/></ReplyAssignments>'
    exchange.receive(post())
    exchange.receive(framed(policy), exchange.server)
    assert exchange.to_client() == framed(policy)
    assert exchange.ended[0].observed == ("reply-intranet-only: {A}",)
    judge(intranet_only=ENFORCE)
    exchange.receive(post())
    exchange.receive(framed(policy), exchange.server)
    assert_refused(exchange, "reply-intranet-only", b"{A}")


# Unreadable responses: forwarded unchanged, or refused

LARGE = b"<A>" + b"x" * 5_000 + b"</A>"

UNREADABLE = {
    "no XML": (counted(b"text"), "syntax error at line 1, column 1"),
    "coded": (counted(LEAK, b"Content-Encoding: gzip"), "the body has a Content-Encoding"),
    "a part": (counted(LEAK, status=b"206 Partial Content"), "status 206"),
    "large": (counted(LARGE), f"{len(LARGE)} bytes"),
    "large, in chunks": (chunked(LARGE), "more than 4000 bytes"),
}


@pytest.fixture(params=UNREADABLE.values(), ids=UNREADABLE)
def unreadable(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[bytes, str]:
    monkeypatch.setattr(exchange_module, "MAX_REPLY", 4000)
    response: tuple[bytes, str] = request.param
    return response


def test_an_unreadable_response_is_forwarded_with_a_note(
    exchange: ExchangeDriver, judge: Judge, unreadable: tuple[bytes, str]
) -> None:
    response, why = unreadable
    exchange.receive(GET)
    exchange.receive(response, exchange.server)
    assert exchange.to_client() == response
    assert exchange.ended[0].observed == (f"reply-unreadable: {why}",)
    assert held(exchange) == 0


@pytest.mark.parametrize("rule", ["host_names", "intranet_only"])
def test_an_unreadable_response_is_refused_if_any_rule_is_enforced(
    exchange: ExchangeDriver, judge: Judge, unreadable: tuple[bytes, str], rule: str
) -> None:
    judge(**{rule: ENFORCE})
    response, why = unreadable
    exchange.receive(GET)
    exchange.receive(response, exchange.server)
    assert_refused(exchange, "reply-unreadable")
    assert exchange_record(exchange.ended[-1], utc_now())["detail"] == why


def test_a_too_large_response_is_streamed_after_it_is_detected(
    exchange: ExchangeDriver, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "MAX_REPLY", 10)
    response = chunked(b"x" * 10, b"y", b"z")
    end = response.index(b"1\r\ny")
    exchange.receive(GET)
    exchange.receive(response[:end], exchange.server)
    assert not exchange.to_client()
    exchange.receive(response[end : end + 6], exchange.server)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange.to_client() == head + b"b\r\n" + b"x" * 10 + b"y\r\n"
    assert held(exchange) == len(GET), "sent data is not counted"
    exchange.receive(response[end + 6 :], exchange.server)
    assert exchange.to_client() == b"1\r\nz\r\n0\r\n\r\n"
    exchange.receive(GET)
    exchange.receive(counted(b"x" * 11)[:-1], exchange.server)
    assert exchange.to_client() == counted(b"x" * 11)[:-1], (
        "not collected if the length is announced"
    )


# Memory and time


def test_collected_bytes_are_counted_and_released(exchange: ExchangeDriver, judge: Judge) -> None:
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    assert held(exchange) == len(GET) + len(LEAK) - 1
    exchange.receive(b">", exchange.server)
    assert held(exchange) == 0


def test_a_response_over_the_memory_limit_is_forwarded_with_a_note_or_refused(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    budget = exchange.record.capacity.memory
    budget.held = budget.limit - len(GET) - 10
    exchange.receive(GET)
    exchange.receive(counted(LEAK), exchange.server)
    assert exchange.to_client() == counted(LEAK)
    assert exchange.ended[0].observed == ("reply-unreadable: the memory limit is reached",)
    assert budget.held == budget.limit - len(GET) - 10
    judge(host_names=ENFORCE)
    exchange.receive(GET)
    exchange.receive(counted(LEAK), exchange.server)
    assert exchange.reason() == "reply-unreadable"
    exchange.close()
    assert budget.held == budget.limit - len(GET) - 10


def test_an_incomplete_response_is_cut_off(exchange: ExchangeDriver, judge: Judge) -> None:
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    exchange.advance(LIMITS.idle_seconds)
    assert exchange.to_client() == counted(LEAK)[:-1]
    assert exchange.cut_off == [exchange.client]
    (ended,) = exchange.ended
    assert ended.observed == ("reply-unreadable: it ended before it was complete",)
    assert ended.note


def test_an_incomplete_response_is_refused_if_any_rule_is_enforced(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    exchange.close(exchange.server)
    assert_refused(exchange, "reply-unreadable")


def test_a_client_that_disconnects_during_collection_gets_nothing(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    exchange.close()
    assert exchange.gone
    assert exchange.server in exchange.closed
    assert not exchange.to_client()
    assert "reply_collected" not in exchange.names()
    assert held(exchange) == 0
