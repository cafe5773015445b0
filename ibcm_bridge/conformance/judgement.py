"""The outcome of a check: judges exchanges against an expectation.

A judgement is a value. `all_of` combines several; the first that is not a pass is the result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cryptography import x509

from ibcm_bridge.conformance.exchange import Exchange
from ibcm_bridge.conformance.results import AuthorityNames, ClientResult, Hang, Unreachable
from ibcm_bridge.lab.comparison.outcomes import ClientRefused
from ibcm_bridge.lab.protocol.client import HandshakeRefused, Request, Response
from ibcm_bridge.lab.protocol.reply_documents import ERROR_PAGE
from ibcm_bridge.lab.site_systems.records import ReceivedRequest


class Outcome(StrEnum):
    """The outcome of a check."""

    PASS = "pass"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"
    HANG = "hang"


class Stop(StrEnum):
    """Where a request to refuse was stopped."""

    AT_PERIMETER = "at the perimeter"
    INSIDE = "inside"
    NOT_AT_ALL = "not at all"


@dataclass(frozen=True)
class Judgement:
    """The outcome, and how it differs from the expectation."""

    outcome: Outcome
    expected: str
    difference: str = ""
    stop: Stop | None = None
    exchange: Exchange | None = field(default=None, compare=False, repr=False)
    """The one that differs; None if it is the last one, or if there is none."""


_REFUSED = "refused at the perimeter: nothing arrives at a site system"
_NOT_REFUSALS = frozenset((500, 502, 503, 504))
"""Statuses of a defect or of an outage, which are not refusals."""

_CONNECTION_FIELDS = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "te", "upgrade", "expect"),
        *("content-length", "host"),
    )
)
"""Fields of one connection (RFC 9110 7.6.1), the length, which the body shows, and Host: a
proxy may send the name of the site system."""


def refused(*exchanges: Exchange, statuses: Collection[int] = ()) -> Judgement:
    """Require that each request is refused, and that nothing of it arrives.

    `statuses`: statuses of the 500s that are also refusals.
    """
    return all_of(*(_about(exchange, _refused(exchange, statuses)) for exchange in exchanges))


def _refused(exchange: Exchange, statuses: Collection[int]) -> Judgement:
    if isinstance(exchange.result, Hang):
        return _hang(_REFUSED, exchange)
    stop = _stop(exchange)
    if stop is not Stop.AT_PERIMETER:
        late = "too late: " if stop is Stop.INSIDE else "not refused: "
        arrived = exchange.received[0]
        itself = ""
        if not arrived.complete and arrived.status:
            itself = ", and the site system refused it itself"
        return _failed(_REFUSED, f"{late}{arrival(arrived)} arrived{itself}", stop)
    why = seen(exchange.result)
    match exchange.result:
        case Response(status=status) if status < 400 or status in _NOT_REFUSALS - {*statuses}:
            return _failed(_REFUSED, f"nothing arrived, but not as a refusal: {why}", stop)
        case Unreachable() | ClientRefused():
            return _failed(_REFUSED, f"refused for another reason: {why}", stop)
    return Judgement(Outcome.PASS, _REFUSED, "", stop)


def ended(exchange: Exchange, limit: str) -> Judgement:
    """Require that the proxy ends something slow within its time limit, and forwards nothing."""
    expected = "refused, or the connection is closed, in time: nothing arrives at a site system"
    judgement = replace(refused(exchange), expected=expected)
    if not exchange.sent:
        # An idle connection has nothing to stop.
        judgement = replace(judgement, stop=None)
    return _with_limit(judgement, limit)


def given_up(exchange: Exchange, limit: str) -> Judgement:
    """Require that the proxy does not wait for a site system longer than its time limit."""
    return _about(exchange, _given_up(exchange, limit))


def _given_up(exchange: Exchange, limit: str) -> Judgement:
    expected = "forwarded; then, in time, an error or the end of the connection"
    result = exchange.result
    if isinstance(result, Hang):
        return _with_limit(_hang(expected, exchange), limit)
    if not is_forwarded(exchange):
        return _failed(expected, f"the request was refused: {seen(result)}")
    if isinstance(result, Response) and result.status < 500:
        return _failed(expected, f"the client received {seen(result)}")
    return Judgement(Outcome.PASS, expected)


def _with_limit(judgement: Judgement, limit: str) -> Judgement:
    if judgement.outcome is not Outcome.HANG:
        return judgement
    more = f"if the proxy waits longer, state it: time_limits.{limit}"
    return replace(judgement, difference=f"{judgement.difference}; {more}")


def passed(
    exchange: Exchange,
    *,
    statuses: Collection[int] = (200,),
    dropped: Collection[str] = (),
    body: bytes | None = None,
) -> Judgement:
    """Require that the request arrives once and unchanged, and that the response comes back.

    `dropped`: fields that must not arrive. `body`: the body of the response.
    """
    return _about(exchange, _passed(exchange, statuses, dropped, body))


def _passed(
    exchange: Exchange, statuses: Collection[int], dropped: Collection[str], body: bytes | None
) -> Judgement:
    expected = "forwarded once and unchanged"
    if dropped:
        expected += f", without {', '.join(dropped)}"
    if isinstance(exchange.result, Hang):
        return _hang(expected, exchange)
    if broken := [request for request in exchange.received if not request.complete]:
        received = f"the client received {seen(exchange.result)}"
        return _failed(expected, f"{arrival(broken[0])} arrived; {received}")
    if len(exchange.received) != 1:
        arrived = len(exchange.received) or "nothing"
        return _failed(expected, f"{arrived} arrived; the client received {seen(exchange.result)}")
    if not isinstance(exchange.result, Response) or exchange.result.status not in statuses:
        return _failed(expected, f"the client received {seen(exchange.result)}")
    if body is not None and exchange.result.body != body:
        return _failed(expected, "the response body differs from that of the site system")
    if isinstance(exchange.sent, Request) and (
        changes := _changes(exchange.sent, exchange.received[0], dropped)
    ):
        return _failed(expected, changes)
    return Judgement(Outcome.PASS, expected)


def kept_back(exchange: Exchange, *secrets: bytes) -> Judgement:
    """Require that the client receives none of these bytes, in the fields or in the body."""
    return _about(exchange, _kept_back(exchange, secrets))


def _kept_back(exchange: Exchange, secrets: Collection[bytes]) -> Judgement:
    named = b", ".join(secrets).decode("latin-1") or "a secret"
    expected = f"the request is forwarded, and the response does not contain {named}"
    if isinstance(exchange.result, Hang):
        return _hang(expected, exchange)
    if not is_forwarded(exchange):
        # Otherwise, the absence of the secret would prove nothing.
        return _failed(expected, f"the request was refused: {seen(exchange.result)}")
    if isinstance(exchange.result, Response):
        fields = "\n".join(f"{name}: {value}" for name, value in exchange.result.headers)
        whole = fields.encode("latin-1", "replace").lower() + b"\n" + exchange.result.body.lower()
        for secret in secrets:
            if secret.lower() in whole:
                found = secret.decode("latin-1")
                return _failed(expected, f"the client received {found}", Stop.NOT_AT_ALL)
    return Judgement(Outcome.PASS, expected, "", Stop.AT_PERIMETER)


def names_one_of(exchange: Exchange, authorities: Collection[x509.Name]) -> Judgement:
    """Require a handshake with the name of one of these authorities."""
    expected = "the handshake has the name of an authority of the client's certificate"
    result = exchange.result
    if isinstance(result, Hang):
        return _about(exchange, _hang(expected, exchange))
    accepted = {name.public_bytes() for name in authorities}
    names = result.names if isinstance(result, AuthorityNames) else ()
    if any(encoded in accepted for _, encoded in names):
        return Judgement(Outcome.PASS, expected)
    return _about(exchange, _failed(expected, f"the client received {seen(result)}"))


def holds(expected: str, difference: str, stop: Stop | None = None) -> Judgement:
    """Require something else: a difference, or an empty text. `stop`: of a difference."""
    return _failed(expected, difference, stop) if difference else Judgement(Outcome.PASS, expected)


def all_of(*judgements: Judgement) -> Judgement:
    """Return the first judgement that is not a pass, or the last one."""
    failed = (found for found in judgements if found.outcome is not Outcome.PASS)
    return next(failed, judgements[-1])


def seen(result: ClientResult) -> str:
    """Describe what the client received."""
    match result:
        case Response():
            return f"{result.status} {result.reason}".strip()
        case HandshakeRefused():
            return f"TLS alert: {result.alert}" if result.alert else "the end of the handshake"
        case ClientRefused():
            return f"a server certificate that it refuses: {result.why}"
        case Unreachable():
            return f"no connection: {result.why}"
        case Hang():
            return f"no complete response within {result.seconds:g} s"
        case AuthorityNames(names=()):
            return "a handshake without names of authorities"
        case AuthorityNames():
            names = "; ".join(name for name, _ in result.names)
            return f"a handshake with these names of authorities: {names}"
    return str(result)


def is_forwarded(exchange: Exchange) -> bool:
    """Return whether a complete request arrived."""
    return any(request.complete for request in exchange.received)


def arrival(received: ReceivedRequest) -> str:
    """Describe a request that arrived, or the bytes that are not one."""
    named = f"{received.method} {received.target[:200]} ({received.site_system})"
    return named if received.complete else f"a malformed or unfinished request, {named},"


def is_cancellation(received: ReceivedRequest) -> bool:
    """Return whether a proxy cancels an upload that it refuses: not the client's request."""
    kinds = [v.lower() for n, v in received.headers if n.lower() == "bits-packet-type"]
    return received.method == "BITS_POST" and kinds == ["cancel-session"] and not received.size


def _failed(expected: str, difference: str, stop: Stop | None = None) -> Judgement:
    return Judgement(Outcome.FAIL, expected, difference, stop)


def _hang(expected: str, exchange: Exchange) -> Judgement:
    arrived = [request for request in exchange.received if not is_cancellation(request)]
    more = f"; {arrival(arrived[0])} arrived" if arrived else ""
    return Judgement(Outcome.HANG, expected, seen(exchange.result) + more)


def _about(exchange: Exchange, judgement: Judgement) -> Judgement:
    return replace(judgement, exchange=exchange)


def _stop(exchange: Exchange) -> Stop:
    arrived = [request for request in exchange.received if not is_cancellation(request)]
    if not arrived:
        return Stop.AT_PERIMETER
    if not any(request.complete for request in arrived):
        # Whatever the client received: the site system cannot have accepted it.
        return Stop.INSIDE
    result = exchange.result
    good = isinstance(result, Response) and result.status < 400 and result.body != ERROR_PAGE
    # A management point refuses a message with 200 and an empty body (protocol.md 1.7).
    if good and isinstance(result, Response) and arrived[-1].method == "CCM_POST":
        good = bool(result.body) or b"ASync" in arrived[-1].body
    return Stop.NOT_AT_ALL if good else Stop.INSIDE


def _changes(sent: Request, arrived: ReceivedRequest, dropped: Collection[str]) -> str:
    if (arrived.method, arrived.target) != (sent.method, sent.target):
        return f"{arrival(arrived)} arrived instead of {sent.method} {sent.target[:200]}"
    if arrived.body != (sent.body or b""):
        return f"the body changed: {len(arrived.body)} bytes arrived, of {len(sent.body or b'')}"
    lower = {name.lower() for name in dropped}
    sent_fields = _fields(sent.headers)
    arrived_fields = _fields(arrived.headers)
    if still := lower & {name for name, _ in arrived_fields}:
        return f"{', '.join(sorted(still))} arrived"
    wanted = Counter({field: n for field, n in sent_fields.items() if field[0] not in lower})
    if missing := wanted - arrived_fields:
        names = sorted({name for name, _ in missing})
        return f"the header fields {', '.join(names)} did not arrive as sent"
    return ""


def _fields(fields: Collection[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter(
        (name.lower(), value) for name, value in fields if name.lower() not in _CONNECTION_FIELDS
    )
