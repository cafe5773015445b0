"""Long requests through other proxies with their exported configurations.

No limit of their regular expressions or numbers refuses a valid request, or lets another one pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.export.exported import Export
from ibcm_bridge.export.model import ExportedPolicy
from ibcm_bridge.export.proxies import PROXIES, Proxy
from ibcm_bridge.export.writing import Place as ExportPlace
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.cases.requests import CONTENT, PACKAGE, plain
from ibcm_bridge.lab.protocol.client import Response
from tests.needs import demand
from tests.repository.exported import NEEDED, subject_behind

SCEP = "/certsrv/mscep/mscep.dll/pkiclient.exe?operation=PKIOperation&message="
LONG = 3_000
DOTS = "." * 1_500
WRAPPED = 2**32 + 1
"""As a 32-bit integer, 1."""


@pytest.fixture(scope="module", params=PROXIES.values(), ids=PROXIES)
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    proxy: Proxy = request.param
    demand(*NEEDED[proxy.name])
    with subject_behind(proxy) as running:
        yield running


def status(exchange: Exchange) -> int:
    assert isinstance(exchange.result, Response), exchange.result
    return exchange.result.status


@pytest.mark.parametrize("message", ["M" * LONG, "M%2B" * (LONG // 4)], ids=["plain", "escapes"])
def test_a_long_enrollment_message_arrives(subject: Subject, message: str) -> None:
    exchange = subject.send(plain("GET", SCEP + message), to="policy-module", client=Client.NONE)
    assert [received.target for received in exchange.received] == [SCEP + message], exchange.result


@pytest.mark.parametrize("name", ["x" * LONG, "x%20y" * (LONG // 5)], ids=["plain", "escapes"])
def test_a_long_file_name_arrives(subject: Subject, name: str) -> None:
    target = f"/SMS_DP_SMSPKG$/{CONTENT}/sccm?/{name}"
    exchange = subject.send(plain("GET", target), to="distribution-point")
    assert [received.target for received in exchange.received] == [target], exchange.result


@pytest.mark.parametrize("end", [f"/a/../{DOTS}z", f"/{DOTS}/../z", "/a/../" + "%20" * 1_500 + "z"])
def test_a_dot_segment_beside_many_dots_or_spaces_is_refused(subject: Subject, end: str) -> None:
    target = f"{PACKAGE.partition('?')[0]}?{end}"
    exchange = subject.send(plain("GET", target), to="distribution-point")
    assert exchange.received == ()
    assert status(exchange) == 403


@pytest.mark.parametrize("length", [2**31 + 1, WRAPPED])
def test_a_length_that_wraps_is_refused(subject: Subject, length: int) -> None:
    place = subject.place("management-point")
    head = (
        f"CCM_POST /ccm_system/request HTTP/1.1\r\nHost: {place.name}\r\n"
        'User-Agent: ccmhttp\r\nContent-Type: multipart/mixed; boundary="a"\r\n'
        f"Content-Length: {length}\r\n\r\nx"
    )
    exchange = subject.send_bytes(head.encode())
    assert exchange.received == ()
    assert status(exchange) in (413, 415)


def test_many_escapes_do_not_publish_what_is_refused() -> None:
    # A row of a policy, with simple escapes, takes less of the stack than a row that refuses.
    demand(*NEEDED["haproxy"])
    before = "        connect: 127.0.0.1:9443      # where to connect, if the name does not resolve"
    row = (
        "        extra_paths:\n"
        "          - {directory: SMS_MP, path: '[a-z_. ]{1,4000}', query: '[a-z]{1,40}',\n"
        "             verbs: [GET], because: a test of the export}\n"
    )
    assert before in demo_policy()
    policy = demo_policy().replace(before, f"{row}{before}")
    with subject_behind(PROXIES["haproxy"], policy) as subject:
        for number, query, arrives in (
            (700, "own", True),
            (700, "mplocation", False),
            (1_000, "mplocation", False),
        ):
            target = f"/SMS_MP/{'a%20' * number}x.sms_aut?{query}"
            exchange = subject.send(plain("GET", target))
            assert bool(exchange.received) == arrives, (number, query, exchange.result)


def test_a_rule_that_apache_cannot_evaluate_refuses_the_request() -> None:
    # A small limit takes the place of a target for which the limit of the export is too small.
    apache = PROXIES["apache"]
    demand(*NEEDED[apache.name])

    def limited(policy: ExportedPolicy, place: ExportPlace) -> Export:
        export = apache.write(policy, place)
        limit = "SecPcreMatchLimit 1000000\n"
        assert limit in export.text
        return replace(export, text=export.text.replace(limit, "SecPcreMatchLimit 2000\n"))

    with subject_behind(replace(apache, write=limited)) as subject:
        exchange = subject.send(plain("GET", PACKAGE), to="distribution-point")
        assert len(exchange.received) == 1, exchange.result
        target = f"{PACKAGE.partition('?')[0]}?/a/../b{f'/{DOTS[:31]}z' * 100}"
        exchange = subject.send(plain("GET", target), to="distribution-point")
        assert exchange.received == ()
        assert status(exchange) == 403
