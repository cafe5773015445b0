"""Answers that are read before they pass: what is sent of them, to whom, and only then."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import pytest

from ibcm_bridge.addons.audit.trail import exchange_record
from ibcm_bridge.addons.hooks.response_inspection import ReplyInspection
from ibcm_bridge.addons.layers import response_stream
from ibcm_bridge.addons.stages import Learned, ReplyJudged
from ibcm_bridge.lab.protocol import ccm
from ibcm_bridge.messages.registration_reply import read_registration_reply
from ibcm_bridge.policy.message_rules import Enforcement, MessageRules
from tests.addons.conftest import LIMITS, ExchangeDriver, message

HOST = b"Host: bridge.internet.example\r\n"
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
POLICY = GET.replace(b".sms_aut?MPLIST", b".sms_pol?{LAB00001}.1_00")
LEAK = b'<MPList><MP FQDN="mp01.corp.example"/></MPList>'
CLEAN = b'<MPList><MP FQDN="mp.internet.example"/></MPList>'
ENFORCE = Enforcement.ENFORCE
INTERNAL = MessageRules(internal_domains=frozenset(("corp.example",)))

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
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (*pieces, b""))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def framed(xml: str) -> bytes:
    """An answer to a CCM_POST."""
    body = ccm.raw_message(
        f"<Msg><Hooks>{ccm.ZLIB_HOOK}</Hooks></Msg>", zlib.compress(xml.encode("utf-16-le"))
    )
    return counted(body, f"Content-Type: {ccm.CONTENT_TYPE}".encode())


@pytest.fixture
def judge(exchange: ExchangeDriver) -> Judge:
    """Have the exchange decide by these rules; internal domains are set."""

    def by(**changes: Enforcement) -> None:
        rules = dataclasses.replace(INTERNAL, **changes)
        exchange.hooks["reply_collected"] = ReplyInspection(rules).reply_collected

    by()
    return by


def held(exchange: ExchangeDriver) -> int:
    return exchange.record.hold._budget.held


def assert_refused(exchange: ExchangeDriver, reason: str, inside: bytes = b"corp") -> None:
    """A 502 in place of the answer, and nothing of the answer in it."""
    assert exchange.reason() == reason
    last = exchange.names()[::-1]
    assert "reply_shown" not in last[: last.index("requestheaders")], "only what was sent is shown"
    told = exchange.to_client()
    assert told.startswith(b"HTTP/1.1 502 ")
    assert inside not in told
    assert told.count(b"HTTP/1.1") == 1
    exchange.close()
    assert exchange.server in exchange.closed
    assert held(exchange) == 0


# What passes


@pytest.mark.parametrize("answer", [counted(LEAK), chunked(LEAK)])
def test_an_answer_passes_as_it_was_and_what_was_found_is_written_down(
    exchange: ExchangeDriver, judge: Judge, answer: bytes
) -> None:
    exchange.receive(GET)
    for index in range(len(answer)):
        assert not exchange.to_client(), "nothing passes before it is whole"
        exchange.receive(answer[index : index + 1], exchange.server)
    assert exchange.to_client() == answer
    (ended,) = exchange.ended
    assert ended.observed == ("reply-host-names: mp01.corp.example",)
    assert ended.bytes_out == len(LEAK)
    record = exchange_record(ended)
    assert record["observed"] == ended.observed
    assert record["verdict"] == "allow"
    (shown,) = [flow for name, flow in exchange.hook_calls if name == "reply_shown"]
    assert shown.response.raw_content is None, "it is not kept"
    assert held(exchange) == 0
    exchange.receive(GET)
    assert exchange.to(exchange.server) == GET + GET, "and the legs are kept"


PROPFIND = GET.replace(b"GET /SMS_MP/.sms_aut?MPLIST", b"PROPFIND /SMS_DP_SMSPKG$/LAB00001")
LISTED = b"""<multistatus xmlns="DAV:"><response><href>https://%b/SMS_DP_SMSPKG$/LAB00001/setup.exe</href>
</response></multistatus>"""


def test_the_addresses_of_a_listing_are_read_for_names_of_the_intranet(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    answer = counted(LISTED % b"dp01.corp.example", status=b"207 Multi-Status")
    exchange.receive(PROPFIND)
    exchange.receive(answer, exchange.server)
    assert exchange.to_client() == answer
    assert exchange.ended[0].observed == ("reply-host-names: dp01.corp.example",)


def test_a_listing_with_names_of_the_intranet_is_refused_where_the_policy_says_so(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(PROPFIND)
    exchange.receive(
        counted(LISTED % b"dp01.corp.example", status=b"207 Multi-Status"), exchange.server
    )
    assert_refused(exchange, "reply-host-names")


def test_a_listing_with_names_of_the_internet_passes(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    judge(host_names=ENFORCE)
    answer = counted(LISTED % b"dp.internet.example", status=b"207 Multi-Status")
    exchange.receive(PROPFIND)
    exchange.receive(answer, exchange.server)
    assert exchange.to_client() == answer
    assert not exchange.ended[0].observed


def test_an_answer_until_the_end_of_the_connection_passes_as_it_was(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    exchange.receive(GET)
    exchange.receive(b"HTTP/1.1 200 OK\r\n\r\n" + LEAK, exchange.server)
    assert not exchange.to_client()
    exchange.close(exchange.server)
    assert exchange.to_client() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + LEAK
    assert exchange.ended[0].observed
    assert not exchange.ended[0].note


def test_an_answer_to_a_message_is_there_for_whoever_learns_from_it(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    guid = "GUID:0A1B2C3D-0000-4000-8000-00000000000F"
    answer = framed(f'<ClientRegistrationResponse Status="0" SMSID="{guid}"/>')
    seen = []

    def learn(judged: ReplyJudged) -> Learned:
        seen.append(read_registration_reply(judged.message))
        assert not exchange.to(exchange.client)
        return Learned()

    exchange.hooks["reply_judged"] = learn
    exchange.receive(post())
    exchange.receive(answer, exchange.server)
    assert exchange.to_client() == answer
    (registered,) = seen
    assert registered is not None
    assert registered.guid == guid
    assert exchange.ended[0].observed == ()


def test_an_answer_without_body_is_read_as_such(exchange: ExchangeDriver, judge: Judge) -> None:
    seen: list[ReplyJudged] = []

    def learn(judged: ReplyJudged) -> Learned:
        seen.append(judged)
        return Learned()

    exchange.hooks["reply_judged"] = learn
    exchange.receive(post())
    exchange.receive(counted(b""), exchange.server)
    assert exchange.to_client() == counted(b"")
    assert seen[0].message.empty


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (POLICY, counted(LEAK)),
        (GET, counted(LEAK, status=b"404 Not Found")),
        (GET, counted(LEAK, status=b"500 Internal Server Error")),
        (GET, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"HEAD" + GET[3:], counted(LEAK)[: -len(LEAK)]),
    ],
)
def test_what_the_table_does_not_name_and_errors_are_passed_on_unread(
    exchange: ExchangeDriver, judge: Judge, request_head: bytes, answer: bytes
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(request_head)
    exchange.receive(answer[:-1], exchange.server)
    passed = exchange.to_client()
    exchange.receive(answer[-1:], exchange.server)
    assert passed + exchange.to_client() == answer
    assert "reply_collected" not in exchange.names()
    assert exchange.ended[0].observed == ()


# What is refused


@pytest.mark.parametrize("answer", [counted(LEAK), chunked(LEAK[:9], LEAK[9:])])
def test_an_answer_that_names_the_inside_is_refused_where_the_policy_says_so(
    exchange: ExchangeDriver, judge: Judge, answer: bytes
) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(GET)
    exchange.receive(counted(CLEAN), exchange.server)
    assert exchange.to_client() == counted(CLEAN)
    exchange.receive(GET)
    exchange.receive(answer, exchange.server)
    assert_refused(exchange, "reply-host-names")
    record = exchange_record(exchange.ended[-1])
    assert record["detail"] == "mp01.corp.example"
    assert record["rule"] == "messages.host_names"
    assert record["forwarded"] is True
    assert record["bytes_to_client"] == 0


def test_policy_for_the_intranet_is_refused_where_the_policy_says_so(
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


# What cannot be read: it passes as it comes, or is refused

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
    monkeypatch.setattr(response_stream, "MAX_REPLY", 4000)
    answer: tuple[bytes, str] = request.param
    return answer


def test_an_answer_that_cannot_be_read_passes_with_a_note(
    exchange: ExchangeDriver, judge: Judge, unreadable: tuple[bytes, str]
) -> None:
    answer, why = unreadable
    exchange.receive(GET)
    exchange.receive(answer, exchange.server)
    assert exchange.to_client() == answer
    assert exchange.ended[0].observed == (f"reply-unreadable: {why}",)
    assert held(exchange) == 0


@pytest.mark.parametrize("rule", ["host_names", "intranet_only"])
def test_an_answer_that_cannot_be_read_is_refused_where_anything_would_be(
    exchange: ExchangeDriver, judge: Judge, unreadable: tuple[bytes, str], rule: str
) -> None:
    judge(**{rule: ENFORCE})
    answer, why = unreadable
    exchange.receive(GET)
    exchange.receive(answer, exchange.server)
    assert_refused(exchange, "reply-unreadable")
    assert exchange_record(exchange.ended[-1])["detail"] == why


def test_what_is_too_large_passes_as_it_comes_once_that_is_known(
    exchange: ExchangeDriver, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response_stream, "MAX_REPLY", 10)
    answer = chunked(b"x" * 10, b"y", b"z")
    end = answer.index(b"1\r\ny")
    exchange.receive(GET)
    exchange.receive(answer[:end], exchange.server)
    assert not exchange.to_client()
    exchange.receive(answer[end : end + 6], exchange.server)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert exchange.to_client() == head + b"b\r\n" + b"x" * 10 + b"y\r\n"
    assert held(exchange) == len(GET), "what has been sent is not counted"
    exchange.receive(answer[end + 6 :], exchange.server)
    assert exchange.to_client() == b"1\r\nz\r\n0\r\n\r\n"
    exchange.receive(GET)
    exchange.receive(counted(b"x" * 11)[:-1], exchange.server)
    assert exchange.to_client() == counted(b"x" * 11)[:-1], "announced, it is not collected at all"


# Room and time


def test_what_is_collected_is_counted_and_returned(exchange: ExchangeDriver, judge: Judge) -> None:
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    assert held(exchange) == len(GET) + len(LEAK) - 1
    exchange.receive(b">", exchange.server)
    assert held(exchange) == 0


def test_an_answer_for_which_there_is_no_room_passes_with_a_note_or_is_refused(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    budget = exchange.record.hold._budget
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


def test_an_answer_that_does_not_come_to_its_end_is_cut_off(
    exchange: ExchangeDriver, judge: Judge
) -> None:
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    exchange.advance(LIMITS.idle_seconds)
    assert exchange.to_client() == counted(LEAK)[:-1]
    assert exchange.cut_off == [exchange.client]
    (ended,) = exchange.ended
    assert ended.observed == ("reply-unreadable: it ended before it was complete",)
    assert ended.note


def test_and_is_refused_where_anything_would_be(exchange: ExchangeDriver, judge: Judge) -> None:
    judge(host_names=ENFORCE)
    exchange.receive(GET)
    exchange.receive(counted(LEAK)[:-1], exchange.server)
    exchange.close(exchange.server)
    assert_refused(exchange, "reply-unreadable")


def test_a_client_that_leaves_while_its_answer_is_collected_gets_nothing(
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
