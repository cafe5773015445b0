"""A bridged connection: HTTP/1.1, one request after another, each decided before it is sent.

mitmproxy's own HTTP layer is built to show and change traffic: it forwards unless told otherwise,
answers malformed heads by itself, waits where it should refuse (docs/architecture.md has the
list). This layer is the procedure below and nothing else, so that it can be read:

 1. read a head, strictly, bounded in size and time
 2. hook `requestheaders`: `request_authorization` decides on the head
 3. read the body, bounded by the role's table, and in time
 4. hook `request`: `body_inspection` decides on the body
 5. the gate: this head and this body must be approved
 6. open the site-system leg if there is none yet
 7. send exactly what was approved
 8. read the response head; hook `responseheaders`; pass the response on as it comes
 9. hook `response`; on to the next request, or close

Any refusal is answered with `responses`, written down, and closes the connection. The hooks carry
a normal mitmproxy flow, for addons that show traffic; nothing is ever sent from the flow.
"""

from __future__ import annotations

import collections
import enum
import time
from collections.abc import Generator
from http import HTTPStatus
from typing import Any

import h11
from ibcm_bridge.addons.connections import ConnectionRecord, Exchange, attach_exchange
from ibcm_bridge.addons.endings import ExchangeEndedHook
from ibcm_bridge.addons.site_system_leg import Closed, News, Opened, Received, SiteSystemLeg
from ibcm_bridge.addons.timers import Deadline
from mitmproxy import flow as mitmproxy_flow
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from ibcm_bridge.decisions import Approved, Authorized, Deny, Reason
from ibcm_bridge.gate import gate
from ibcm_bridge.origination import Origination, originate
from ibcm_bridge.policy import Address, BridgePublication, Limits
from ibcm_bridge.request_head import RequestHead, read_request_head
from ibcm_bridge.responses import refusal, response_bytes

MAX_RESPONSE_HEAD = 65_536
MAX_AHEAD = 65_536
"""Bytes a client may send before the answer to its request has been given."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 1_048_576
"""How long and how much is read and thrown away after a refusal, so that a client still sending
its body gets to read the answer (as nginx's lingering_close)."""

_NOT_PASSED_BACK = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""RFC 9110 §7.6.1: the site-system leg's own."""

Item = events.Event | News | None
Steps = Generator[Any, Any, None]
"""A part of the procedure: yields commands, or None to wait for the next item."""


class _ConnectionEnded(Exception):
    """The client has gone; there is nobody to answer."""


class _Refused(Exception):
    """Carries a denial from wherever it was found to the one place that answers it."""

    def __init__(self, denial: Deny) -> None:
        super().__init__(denial.reason.value)
        self.denial = denial


class ExchangeLayer(Layer):
    """Speaks HTTP/1.1 with the client, and with site systems on legs of its own."""

    def __init__(self, context: Context, connection: ConnectionRecord, limits: Limits) -> None:
        super().__init__(context)
        self._connection = connection
        self._limits = limits
        self._deadline = Deadline()
        self._legs: dict[Address, SiteSystemLeg] = {}
        self._current: SiteSystemLeg | None = None
        """The leg that the request under way uses."""
        self._waiting_legs: dict[commands.Command, SiteSystemLeg] = {}
        self._procedure: Steps = self._serve()
        self._inbox: collections.deque[Item] = collections.deque()
        self._busy = False
        self._received = bytearray()
        self._answering = False
        """Whether a response head has been sent for the request under way."""
        self._finished = False
        next(self._procedure)

    # Events in, commands out

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        leg = self._leg_of(event)
        if leg is not None:
            yield from self._with_leg(leg.stack.handle_event(event), leg)
        elif isinstance(event, events.Wakeup):
            if (yield from self._deadline.passed(event)):
                yield from self._feed(event)
        else:
            yield from self._feed(event)

    def _leg_of(self, event: events.Event) -> SiteSystemLeg | None:
        if isinstance(event, events.CommandCompleted):
            return self._waiting_legs.pop(event.command, None)
        if isinstance(event, events.ConnectionEvent):
            for leg in self._legs.values():
                if leg.server == event.connection:
                    return leg
        return None

    def _with_leg(
        self, from_leg: CommandGenerator[None], leg: SiteSystemLeg
    ) -> CommandGenerator[None]:
        for command in from_leg:
            if isinstance(command, News):
                if leg is self._current:
                    yield from self._feed(command)
                elif isinstance(command, Received):
                    # Nothing was asked on this leg: an answer to nothing must answer nothing.
                    yield from self._with_leg(leg.close(), leg)
            else:
                if command.blocking:
                    self._waiting_legs[command] = leg
                yield command

    def _feed(self, item: Item) -> CommandGenerator[None]:
        """Give the procedure its next item, and carry on until it waits for another."""
        self._inbox.append(item)
        if self._busy or self._finished:
            return
        self._busy = True
        try:
            while self._inbox and not self._finished:
                command = self._advance(self._inbox.popleft())
                while command is not None:
                    reply = yield command
                    command = self._advance(reply)
        finally:
            self._busy = False

    def _advance(self, value: Any) -> Any:
        try:
            return self._procedure.send(value)
        except StopIteration:
            self._finished = True
            return None

    # The procedure

    def _serve(self) -> Steps:
        yield None  # Start
        keep_alive = True
        while keep_alive:
            keep_alive = yield from self._one_request()
        yield from self._close()

    def _one_request(self) -> Generator[Any, Any, bool]:
        if not (yield from self._await_request()):
            return False
        exchange = self._connection.exchange = Exchange(self._connection, None)
        flow = http.HTTPFlow(self.context.client, self.context.server, True)
        attach_exchange(flow, exchange)
        self._answering = keep_alive = False
        try:
            head = exchange.head = yield from self._read_head()
            flow.request = _request_for_display(head, self._connection.server_name)
            body = yield from self._read_request(exchange, flow, head)
            approved = gate(exchange.decision, head, body)
            if isinstance(approved, Deny):
                raise _Refused(approved)
            keep_alive = yield from self._forward(exchange, flow, approved)
        except _Refused as refused:
            yield from self._refuse(exchange, flow, refused.denial)
        except _ConnectionEnded:
            yield from self._incomplete(exchange, flow, "the client closed the connection")
        self._current = None
        self._connection.exchange = None
        yield ExchangeEndedHook(exchange)
        if isinstance(exchange.decision, Deny) and not self._answering:
            yield from self._linger()
        return keep_alive

    def _await_request(self) -> Generator[Any, Any, bool]:
        """Wait for the first byte of a request; False when the client goes or falls silent."""
        yield from self._deadline.move(self._limits.idle_seconds)
        while not self._received:
            item = yield None
            if isinstance(item, events.DataReceived):
                self._received += item.data
            elif isinstance(item, events.ConnectionClosed | events.Wakeup):
                return False
        return True

    def _read_head(self) -> Generator[Any, Any, RequestHead]:
        yield from self._deadline.move(self._limits.head_seconds)
        limit = self._limits.request_head
        while (end := self._received.find(b"\r\n\r\n", 0, limit + 4)) < 0:
            if len(self._received) > limit:
                raise _Refused(
                    Deny(Reason.HEAD_TOO_LARGE, "limits.request_head", f"more than {limit} bytes")
                )
            # RFC 9112 §2.2 would have us ignore an empty line before the request line; no client
            # of ConfigMgr sends one. And a head with bare LFs would never end in CRLF CRLF: there
            # is no need to wait for the deadline to say so.
            if b"\n\n" in self._received or self._received.startswith((b"\n", b"\r\n")):
                raise _Refused(Deny(Reason.MALFORMED_HEAD, "head.line-end", "a bare LF"))
            yield from self._more_from_client("limits.head_seconds")
        raw = bytes(self._received[: end + 4])
        del self._received[: end + 4]
        head = read_request_head(raw)
        if isinstance(head, Deny):
            raise _Refused(head)
        return head

    def _read_request(
        self, exchange: Exchange, flow: http.HTTPFlow, head: RequestHead
    ) -> Generator[Any, Any, bytes]:
        yield HttpRequestHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise _Refused(exchange.decision)
        if not isinstance(exchange.decision, Authorized):
            raise _Refused(Deny(Reason.BRIDGE_DEFECT, "exchange", "the head was not decided on"))
        length = head.length or 0
        if head.values(b"expect") and len(self._received) < length:
            yield commands.SendData(self.context.client, b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from self._deadline.move(self._limits.body_seconds)
        while len(self._received) < length:
            yield from self._more_from_client("limits.body_seconds")
        self._deadline.lift()
        body = bytes(self._received[:length])
        del self._received[:length]
        exchange.bytes_in = length
        flow.request.content = body
        flow.request.timestamp_end = time.time()
        yield HttpRequestHook(flow)
        return body

    def _forward(
        self, exchange: Exchange, flow: http.HTTPFlow, approved: Approved
    ) -> Generator[Any, Any, bool]:
        """Send what was approved, pass the response on; whether the connection can go on."""
        publication = self._connection.publication
        assert isinstance(publication, BridgePublication)
        leg = yield from self._open_leg(originate(publication, approved.authorized))
        flow.server_conn = leg.server
        head = approved.authorized.head
        yield from self._with_leg(leg.send(head.to_bytes() + approved.body), leg)
        reader = _response_reader(head, approved.body)
        response = yield from self._read_response_head(reader)
        flow.response = _response_for_display(response)
        exchange.status = response.status_code
        yield HttpResponseHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise _Refused(exchange.decision)

        received_head = exchange.head
        assert received_head is not None
        body = _body_of(response, head)
        keep_alive = body is not _Body.UNTIL_CLOSE and not _asks_to_close(
            received_head.values(b"connection")
        )
        self._answering = True
        yield commands.SendData(self.context.client, _response_head(response, body, keep_alive))
        whole = yield from self._pass_body_on(exchange, reader, body, response)
        if not whole:
            yield from self._incomplete(
                exchange, flow, "the site system closed the leg before its response was whole"
            )
            return False
        flow.response.timestamp_end = time.time()
        # More than the answer: whatever it is, it must not become the next one.
        surplus = body is not _Body.COUNTED and reader.trailing_data[0]
        if surplus or _leg_closes(response) or not keep_alive:
            yield from self._with_leg(leg.close(), leg)
        yield HttpResponseHook(flow)
        return keep_alive

    def _open_leg(self, terms: Origination) -> Generator[Any, Any, SiteSystemLeg]:
        leg = self._legs.get(terms.address)
        if leg is not None and leg.usable:
            self._current = leg
            return leg
        leg = SiteSystemLeg(self.context, terms.address, terms.server_name)
        self._legs[terms.address] = self._current = leg
        self._connection.may_dial = terms.address
        yield from self._deadline.move(self._limits.handshake_seconds)
        yield from self._with_leg(leg.open(), leg)
        while not isinstance(item := (yield from self._next_item()), Opened):
            if isinstance(item, events.Wakeup):
                unreachable = Deny(Reason.SITE_SYSTEM_UNREACHABLE, "limits.handshake_seconds")
                raise _Refused(unreachable)
        self._deadline.lift()
        self._connection.may_dial = None
        if item.error is not None:
            connected = leg.server.timestamp_tcp_setup is not None
            reason = Reason.SITE_SYSTEM_UNVERIFIED if connected else Reason.SITE_SYSTEM_UNREACHABLE
            raise _Refused(Deny(reason, "site_system", f"{terms.server_name}: {item.error}"))
        return leg

    def _read_response_head(self, reader: h11.Connection) -> Generator[Any, Any, h11.Response]:
        yield from self._deadline.move(self._limits.body_seconds)
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError as error:
                raise _Refused(_bad_response(str(error))) from None
            if isinstance(event, h11.Response):
                self._deadline.lift()
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                continue  # For whoever asked: the client's 100 was ours to give.
            if event is not h11.NEED_DATA:
                raise _Refused(_bad_response("101, or no response head"))
            item = yield from self._next_item()
            if isinstance(item, Received):
                reader.receive_data(item.data)
            elif isinstance(item, Closed):
                # h11 tells an unfinished head from a connection closed without one.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                raise _Refused(_bad_response("no response in time"))

    def _pass_body_on(
        self, exchange: Exchange, reader: h11.Connection, body: _Body, response: h11.Response
    ) -> Generator[Any, Any, bool]:
        """Pass the body on as it comes; False when it ended before it was whole."""
        if body is _Body.NONE:
            return True
        if body is _Body.COUNTED:
            # Past the head a counted body needs no parser: a download goes straight through.
            return (yield from self._pass_counted(exchange, reader, _content_length(response)))
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError:
                return False
            if isinstance(event, h11.Data):
                piece = bytes(event.data)
                exchange.bytes_out += len(piece)
                if body is _Body.CHUNKED:
                    piece = b"%x\r\n%b\r\n" % (len(piece), piece)
                yield commands.SendData(self.context.client, piece)
            elif event is h11.NEED_DATA:
                more = yield from self._response_piece()
                if more is None:
                    return False
                reader.receive_data(more)
            else:
                if body is _Body.CHUNKED:
                    yield commands.SendData(self.context.client, b"0\r\n\r\n")
                return True

    def _pass_counted(
        self, exchange: Exchange, reader: h11.Connection, remaining: int
    ) -> Generator[Any, Any, bool]:
        piece: bytes | None = reader.trailing_data[0]
        while piece is not None:
            if len(piece) > remaining:
                # More than was announced; not ours to pass on, and the leg is not to be trusted.
                piece = piece[:remaining]
                assert self._current is not None
                yield from self._with_leg(self._current.close(), self._current)
            if piece:
                remaining -= len(piece)
                exchange.bytes_out += len(piece)
                yield commands.SendData(self.context.client, piece)
            if not remaining:
                return True
            piece = (yield from self._response_piece()) or None
        return False

    def _response_piece(self) -> Generator[Any, Any, bytes | None]:
        """The next bytes from the site system; empty when it closed, None when it fell silent."""
        yield from self._deadline.move(self._limits.idle_seconds)
        while True:
            item = yield from self._next_item()
            if isinstance(item, Received):
                self._deadline.lift()
                return item.data
            if isinstance(item, Closed):
                return b""
            if isinstance(item, events.Wakeup):
                return None

    # Waiting

    def _next_item(self) -> Generator[Any, Any, Item]:
        """The next item while a site system is busy; what the client sends ahead is kept."""
        while True:
            item: Item = yield None
            if isinstance(item, events.ConnectionClosed):
                raise _ConnectionEnded
            if not isinstance(item, events.DataReceived):
                return item
            # The next request is decided like any other, in its turn.
            self._received += item.data
            if len(self._received) > MAX_AHEAD:
                ahead = f"more than {MAX_AHEAD} bytes"
                raise _Refused(Deny(Reason.PIPELINED, "exchange.ahead", ahead))

    def _more_from_client(self, rule: str) -> Steps:
        item = yield None
        if isinstance(item, events.DataReceived):
            self._received += item.data
        elif isinstance(item, events.ConnectionClosed):
            raise _ConnectionEnded
        elif isinstance(item, events.Wakeup):
            raise _Refused(Deny(Reason.TOO_SLOW, rule, "not all of it came in time"))

    # Ending

    def _refuse(self, exchange: Exchange, flow: http.HTTPFlow, denial: Deny) -> Steps:
        self._deadline.lift()
        self._connection.may_dial = None
        exchange.decision = denial
        if self._answering:
            # Half an answer cannot be taken back; closing is what tells the client.
            yield from self._incomplete(exchange, flow, denial.reason.value)
            return
        is_head = exchange.head is not None and exchange.head.method == b"HEAD"
        answer = response_bytes(denial, exchange.reference, head_only=is_head)
        exchange.status = refusal(denial).status or HTTPStatus.FORBIDDEN
        yield commands.SendData(self.context.client, answer)
        yield from self._tell_error(exchange, flow, denial.reason.value)

    def _incomplete(self, exchange: Exchange, flow: http.HTTPFlow, note: str) -> Steps:
        exchange.note = note
        yield from self._tell_error(exchange, flow, note)

    def _tell_error(self, exchange: Exchange, flow: http.HTTPFlow, message: str) -> Steps:
        flow.live = False
        if exchange.head is not None:
            flow.error = mitmproxy_flow.Error(message)
            yield HttpErrorHook(flow)

    def _linger(self) -> Steps:
        """Let a client that is still sending read its refusal, for a bounded while."""
        yield commands.CloseTcpConnection(self.context.client, half_close=True)
        yield from self._deadline.move(LINGER_SECONDS)
        discarded = len(self._received)
        self._received.clear()
        while discarded < LINGER_BYTES:
            item = yield None
            if isinstance(item, events.ConnectionClosed | events.Wakeup):
                return
            if isinstance(item, events.DataReceived):
                discarded += len(item.data)

    def _close(self) -> Steps:
        self._deadline.lift()
        for leg in self._legs.values():
            yield from self._with_leg(leg.close(), leg)
        yield commands.CloseConnection(self.context.client)


class _Body(enum.Enum):
    """How the end of a response body is known (RFC 9112 §6.3)."""

    NONE = "none"
    COUNTED = "counted"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


def _body_of(response: h11.Response, head: RequestHead) -> _Body:
    if head.method == b"HEAD" or response.status_code in (204, 304):
        return _Body.NONE
    names = {name for name, _ in response.headers}
    if b"transfer-encoding" in names:
        return _Body.CHUNKED
    return _Body.COUNTED if b"content-length" in names else _Body.UNTIL_CLOSE


def _content_length(response: h11.Response) -> int:
    # h11 has refused repeated and malformed ones.
    return next(int(value) for name, value in response.headers if name == b"content-length")


def _asks_to_close(connection_values: list[bytes]) -> bool:
    return any(b"close" in value.lower() for value in connection_values)


def _leg_closes(response: h11.Response) -> bool:
    values = [value for name, value in response.headers if name == b"connection"]
    return _asks_to_close(values) or response.http_version < b"1.1"


def _bad_response(detail: str) -> Deny:
    return Deny(Reason.SITE_SYSTEM_RESPONSE, "site_system", detail[:200])


def _response_reader(head: RequestHead, body: bytes) -> h11.Connection:
    """h11 as the reader of one response; it needs to know the request to find its end."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_RESPONSE_HEAD)
    fields = [(b"Host", head.value(b"host") or b""), (b"Content-Length", b"%d" % len(body))]
    reader.send(h11.Request(method=head.method, target=head.target, headers=fields))
    if body:
        reader.send(h11.Data(data=body))
    reader.send(h11.EndOfMessage())
    return reader


def _response_head(response: h11.Response, body: _Body, keep_alive: bool) -> bytes:
    lines = [b"HTTP/1.1 %d %b" % (response.status_code, response.reason)]
    lines += [
        b"%b: %b" % (name, value)
        for name, value in response.headers.raw_items()
        if name.lower() not in _NOT_PASSED_BACK
    ]
    if body is _Body.CHUNKED:
        lines.append(b"Transfer-Encoding: chunked")
    if not keep_alive:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _request_for_display(head: RequestHead, server_name: str | None) -> http.Request:
    return http.Request(
        host=server_name or "",
        port=443,
        method=head.method,
        scheme=b"https",
        authority=b"",
        path=head.target,
        http_version=b"HTTP/1.1",
        headers=http.Headers(head.fields),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )


def _response_for_display(response: h11.Response) -> http.Response:
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=response.status_code,
        reason=response.reason,
        headers=http.Headers(response.headers.raw_items()),
        content=None,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=None,
    )
