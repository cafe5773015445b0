"""Sample requests and responses for tests of the exchange."""

from __future__ import annotations

from ibcm_bridge.identity.approval import Approved
from tests.addons.stand_ins.exchange_driver import ExchangeDriver
from tests.addons.stand_ins.lab import message

HOST = b"Host: bridge.internet.example\r\n"
GET = b"GET /SMS_MP/.sms_aut?MPLIST HTTP/1.1\r\n" + HOST + b"\r\n"
SECOND = GET.replace(b"MPLIST", b"MPCERT")
HEAD = b"HEAD" + GET[3:]
POLICY = GET.replace(b".sms_aut?MPLIST", b".sms_pol?{LAB00001}.1_00")
"""The responses to GET and SECOND are collected and inspected; this one's is streamed."""
FROM_DP = b"GET /SMS_DP_SMSPKG$/LAB00001/sccm?/setup.exe HTTP/1.1\r\n" + HOST + b"\r\n"
DENIED = GET.replace(b"GET", b"DELETE")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def post(*, expect: bool = False, method: bytes = b"CCM_POST") -> tuple[bytes, bytes]:
    """Return the head and the body of a message."""
    sent = message()
    body: bytes = sent["body"]
    fields = HOST + b"Content-Type: %b\r\n" % sent["headers"]["Content-Type"].encode()
    fields += b"Content-Length: %d\r\n" % len(body)
    if expect:
        fields += b"Expect: 100-continue\r\n"
    return b"%b /ccm_system/request HTTP/1.1\r\n%b\r\n" % (method, fields), body


def to_bytes(approved: Approved) -> bytes:
    return approved.authorized.head.to_bytes() + approved.body


def status(received: bytes) -> int:
    return int(received.split(b" ", 2)[1])


def assert_refused(exchange: ExchangeDriver, reason: str, code: int) -> None:
    """Assert one refusal, nothing sent to a site system, and a closing connection."""
    assert exchange.reason() == reason
    received = exchange.to_client()
    assert status(received) == code
    assert received.count(b"Connection: close\r\n") == 1
    assert exchange.client in exchange.half_closed
    assert not any(exchange.to(server) for server in exchange.dialled)
    exchange.close()
    assert exchange.gone
