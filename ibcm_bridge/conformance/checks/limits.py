"""Slow and large requests and responses: valid ones pass, and the others end.

The subject file has the time limits of the proxy (`time_limits`). No standard has such limits, so
most of these checks are a SHOULD.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.judgement import Judgement, all_of, ended, given_up, passed, refused
from ibcm_bridge.conformance.kit import Client
from ibcm_bridge.conformance.order import Order
from ibcm_bridge.conformance.pacing import client_hello
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.cases import requests
from ibcm_bridge.lab.cases.requests import MakeRequest, plain
from ibcm_bridge.lab.protocol import documents
from ibcm_bridge.lab.protocol.client import Request, Response
from ibcm_bridge.lab.protocol.content import PACED_SIZE, Pace, content, paced_name
from ibcm_bridge.lab.protocol.uploads import Upload

ORDER = Order.BESIDE
"""These checks mostly wait. Each request has the marker of the check in its target, or else in a
field, and in its first piece: a proxy may forward it as it arrives."""

_DP = "distribution-point"
_MP = "management-point"
_FSP = "fallback-status-point"
_STEPS = 40
"""The number of pieces in the time that a check waits. A head and a body have more bytes."""

_PAUSE = 0.5
"""Seconds between the four pieces of a valid request."""

_TRICKLED_SECONDS = 20.0
"""More than enough for a response that is sent in 4 seconds."""

_TERABYTE = ("Content-Length", str(2**40))


def silent_connection(subject: Subject) -> Judgement:
    """A connection without a TLS handshake SHOULD be closed.

    Requirement: BRIDGE-TERMINATE. Source: CVE-2007-6750.
    """
    return ended(subject.send_slowly((), limit="handshake", tls=False), "handshake")


def stalled_handshake(subject: Subject) -> Judgement:
    """A connection with half a ClientHello SHOULD be closed.

    Requirement: BRIDGE-TERMINATE. Source: CVE-2007-6750.
    """
    hello = client_hello(subject.place(_MP).name)
    half = hello[: len(hello) // 2]
    return ended(subject.send_slowly((half,), limit="handshake", tls=False), "handshake")


def handshake_byte_by_byte(subject: Subject) -> Judgement:
    """A ClientHello that arrives byte by byte SHOULD NOT keep the connection open.

    Requirement: BRIDGE-TERMINATE. Source: CVE-2007-6750.
    """
    hello = client_hello(subject.place(_MP).name)
    return ended(_byte_by_byte(subject, hello, "handshake", tls=False), "handshake")


def unfinished_handshake(subject: Subject) -> Judgement:
    """A handshake that the client does not finish SHOULD be closed.

    Requirement: BRIDGE-TERMINATE. Source: CVE-2007-6750.
    """
    hello = client_hello(subject.place(_MP).name)
    exchange = subject.send_slowly((hello,), limit="handshake", tls=False, to_end=True)
    return ended(exchange, "handshake")


def idle_connection(subject: Subject) -> Judgement:
    """A connection without a request SHOULD be closed after the idle time.

    Requirement: BRIDGE-TERMINATE. Source: RFC 9112 9.5.
    """
    return ended(subject.send_slowly((), limit="idle"), "idle")


def idle_after_a_response(subject: Subject) -> Judgement:
    """A connection without a further request SHOULD be closed after the idle time.

    Requirement: BRIDGE-TERMINATE. Source: RFC 9112 9.5.
    """
    return ended(subject.send_slowly((), limit="idle", to=_DP, after=_head_of(subject)), "idle")


def stalled_head(subject: Subject) -> Judgement:
    """A request head that stops in the middle SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 15.5.9.
    """
    half, _ = _begun(subject, _get(subject))
    return ended(subject.send_slowly((half,), limit="head", to=_DP), "head")


def head_byte_by_byte(subject: Subject) -> Judgement:
    """A request head that arrives byte by byte SHOULD be refused.

    Requirement: HTTP-1.1. Source: CVE-2007-6750.
    """
    first, rest = _begun(subject, _get(subject))
    return ended(_byte_by_byte(subject, rest, "head", head=first, to=_DP), "head")


def stalled_head_without_tls(subject: Subject) -> Judgement:
    """A request head without TLS that stops in the middle SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 15.5.9.
    """
    request = requests.state_message(subject.senders(Client.COMPUTER))
    marked = replace(request, target=f"{request.target}?{subject.marker}")
    half, _ = _begun(subject, subject.bytes_of(marked, _FSP))
    exchange = subject.send_slowly((half,), limit="head", to=_FSP, client=Client.NONE, tls=False)
    return ended(exchange, "head")


def stalled_body(subject: Subject) -> Judgement:
    """A body that stops in the middle SHOULD be refused.

    Requirement: HTTP-1.1. Source: RFC 9110 15.5.9.
    """
    created, fragment = _fragment(subject)
    half = subject.bytes_of(fragment, _MP)[: -len(fragment.body or b"") // 2]
    return all_of(passed(created), ended(subject.send_slowly((half,), limit="body"), "body"))


def body_byte_by_byte(subject: Subject) -> Judgement:
    """A body that arrives byte by byte SHOULD be refused.

    Requirement: HTTP-1.1. Source: CVE-2007-6750.
    """
    created, fragment = _fragment(subject)
    data, body = subject.bytes_of(fragment, _MP), fragment.body or b""
    exchange = _byte_by_byte(subject, body, "body", head=data[: -len(body)])
    return all_of(passed(created), ended(exchange, "body"))


def slow_head(subject: Subject) -> Judgement:
    """A request head in four pieces within two seconds MUST be forwarded.

    Requirement: HTTP-1.1. Source: RFC 9112 2.2.
    """
    request = _head_of(subject)(subject.senders(Client.COMPUTER))
    first, rest = _begun(subject, subject.bytes_of(request, _DP))
    pieces = (first, *_pieces(rest, 3))
    return passed(subject.send_slowly(pieces, pause=_PAUSE, limit="head", to=_DP, request=request))


def slow_body(subject: Subject) -> Judgement:
    """A body in four pieces within two seconds MUST be forwarded.

    Requirement: HTTP-1.1. Source: RFC 9112 6.3.
    """
    created, fragment = _fragment(subject)
    pieces = _pieces(subject.bytes_of(fragment, _MP), 4)
    sent = subject.send_slowly(pieces, pause=_PAUSE, limit="body", request=fragment)
    return all_of(passed(created), passed(sent))


def slow_response(subject: Subject) -> Judgement:
    """A response that arrives in pieces, with pauses, MUST be forwarded.

    Requirement: VERB-DP. Source: RFC 9112 6.3.
    """
    exchange = subject.send(_paced(subject, Pace.TRICKLED), to=_DP, at_least=_TRICKLED_SECONDS)
    return passed(exchange, body=content(0, PACED_SIZE))


def silent_site_system(subject: Subject) -> Judgement:
    """A request without a response of the site system SHOULD end with an error.

    Requirement: BRIDGE-TERMINATE. Source: RFC 9110 15.6.5.
    """
    exchange = subject.send(_paced(subject, Pace.SILENT), to=_DP, limit="response")
    return given_up(exchange, "response")


def stalled_response(subject: Subject) -> Judgement:
    """A response that stops in the middle SHOULD end, and not look complete.

    Requirement: BRIDGE-TERMINATE. Source: RFC 9112 8.
    """
    exchange = subject.send(_paced(subject, Pace.STALLED), to=_DP, limit="response")
    return given_up(exchange, "response")


def body_of_a_terabyte(subject: Subject) -> Judgement:
    """A message of a terabyte SHOULD be refused.

    Requirement: BRIDGE-INSPECT. Source: RFC 9110 15.5.14.
    """
    message = requests.inventory(subject.senders(Client.COMPUTER))
    # The target of a message is fixed.
    agent = ("User-Agent", f"ccmhttp {subject.marker}")
    fields = [field for field in message.headers if field[0] != agent[0]]
    large = replace(message, headers=(agent, *fields, _TERABYTE))
    # It would stop in the middle, too: that is another check.
    return refused(subject.send_bytes(subject.bytes_of(large, _MP)))


def _byte_by_byte(
    subject: Subject,
    data: bytes,
    limit: str,
    *,
    head: bytes = b"",
    to: str = _MP,
    tls: bool = True,
) -> Exchange:
    pause = subject.patience(limit) / _STEPS
    first = (head,) if head else ()
    pieces = (*first, *(data[i : i + 1] for i in range(_STEPS + 1)))
    return subject.send_slowly(pieces, pause=pause, limit=limit, to=to, tls=tls)


def _begun(subject: Subject, data: bytes) -> tuple[bytes, bytes]:
    """Return the beginning of a head, to the marker in its target, and the rest."""
    end = data.index(subject.marker.encode()) + len(subject.marker)
    return data[:end], data[end:]


def _pieces(data: bytes, number: int) -> Iterator[bytes]:
    size = -(-len(data) // number)
    return (data[first : first + size] for first in range(0, len(data), size))


def _paced(subject: Subject, pace: Pace) -> MakeRequest:
    return plain("GET", f"{_files(subject)}/{paced_name(pace)}")


def _head_of(subject: Subject) -> MakeRequest:
    return plain("HEAD", f"{_files(subject)}/file.bin")


def _get(subject: Subject) -> bytes:
    request = _head_of(subject)(subject.senders(Client.COMPUTER))
    return subject.bytes_of(request, _DP)


def _files(subject: Subject) -> str:
    return f"/SMS_DP_SMSPKG$/{requests.CONTENT}/sccm?/{subject.marker}"


def _upload(subject: Subject, session: str = "") -> tuple[Request, Request]:
    """Return Create-Session and the only fragment of an upload."""
    guid = subject.senders(Client.COMPUTER).me.guid
    data = documents.inventory_report(guid).encode("utf-16-le")
    upload = Upload(f"/CCM_Incoming/{subject.marker}.msg", data, session)
    return upload.create(), upload.fragments(1)[0]


def _fragment(subject: Subject) -> tuple[Exchange, Request]:
    """Begin an upload; return the first exchange, and the fragment to send."""
    create, _ = _upload(subject)
    created = subject.send(lambda _who: create)
    session = ""
    if isinstance(created.result, Response):
        session = created.result.header("BITS-Session-Id") or ""
    return created, _upload(subject, session)[1]
