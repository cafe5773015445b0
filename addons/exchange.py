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

import time
from http import HTTPStatus

import h11
from mitmproxy import flow as mitmproxy_flow
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from ibcm_bridge.addons.connections import ConnectionRecord, Exchange, attach_exchange
from ibcm_bridge.addons.display import shown_request, shown_response
from ibcm_bridge.addons.endings import ExchangeEndedHook
from ibcm_bridge.addons.procedure import Item, ProcedureLayer, Steps
from ibcm_bridge.addons.site_system_leg import Closed, Opened, Received, SiteSystemLeg
from ibcm_bridge.addons.tls_ending import CutOff
from ibcm_bridge.decisions import Approved, Authorized, Deny, Reason
from ibcm_bridge.gate import gate
from ibcm_bridge.origination import (
    Origination,
    authentication_lost,
    certificate_refused,
    late,
    originate,
)
from ibcm_bridge.policy import HttpPublication, Limits
from ibcm_bridge.request_head import RequestHead, read_request_head
from ibcm_bridge.response_head import (
    BodyEnd,
    ResponseReader,
    asks_to_close,
    body_end,
    chunk,
    content_length,
    ends_connection,
    fields_for_client,
    head_for_client,
    next_response,
    response_reader,
)
from ibcm_bridge.responses import refusal, response_bytes

MAX_AHEAD = 65_536
"""Bytes a client may send before the answer to its request has been given."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 1_048_576
"""How long and how much is read and thrown away after a refusal, so that a client still sending
its body gets to read the answer (as nginx's lingering_close)."""


class _ConnectionEnded(Exception):
    """The client has gone; there is nobody to answer."""


class _Refused(Exception):
    """Carries a denial from wherever it was found to the one place that answers it."""

    def __init__(self, denial: Deny) -> None:
        super().__init__(denial.reason.value)
        self.denial = denial


class ExchangeLayer(ProcedureLayer):
    """Speaks HTTP/1.1 with the client, and with site systems on legs of its own."""

    def __init__(self, context: Context, connection: ConnectionRecord, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._received = bytearray()
        self._answering = False
        """Whether a response head has been sent for the request under way."""
        self._unsent = b""
        """The response head, until there is something to send it with."""
        self._cut_off = False
        """Whether the last response could not be finished."""
        super().__init__(context)

    def serve(self) -> Steps[None]:
        """Serve one request after another."""
        yield None  # Start
        keep_alive = True
        while keep_alive:
            keep_alive = yield from self._one_request()
        yield from self._close()

    def _one_request(self) -> Steps[bool]:
        if not (yield from self._await_request()):
            return False
        exchange = self._connection.exchange = Exchange(self._connection, None)
        flow = http.HTTPFlow(self.context.client, self.context.server, True)
        attach_exchange(flow, exchange)
        self._answering = keep_alive = False
        try:
            head = exchange.head = yield from self._read_head()
            flow.request = shown_request(head, self._connection.server_name)
            body = yield from self._read_request(exchange, flow, head)
            approved = gate(exchange.decision, head, body)
            if isinstance(approved, Deny):
                raise _Refused(approved)
            keep_alive = yield from self._forward(exchange, flow, approved)
        except _Refused as refused:
            yield from self._refuse(exchange, flow, refused.denial)
        except _ConnectionEnded:
            yield from self._incomplete(exchange, flow, "the client closed the connection")
        self.leg_in_use = None
        self._connection.may_dial = None
        self._connection.exchange = None
        yield ExchangeEndedHook(exchange)
        if isinstance(exchange.decision, Deny) and not self._answering:
            yield from self._linger()
        return keep_alive

    def _await_request(self) -> Steps[bool]:
        """Wait for the first byte of a request; False when the client goes or falls silent."""
        yield from self.deadline.move(self._limits.idle_seconds)
        while not self._received:
            item = yield None
            if isinstance(item, events.DataReceived):
                self._received += item.data
            elif isinstance(item, events.ConnectionClosed | events.Wakeup | Closed):
                return False  # as the site system would close an authenticated connection
        return True

    def _read_head(self) -> Steps[RequestHead]:
        yield from self.deadline.move(self._limits.head_seconds)
        assert isinstance(self._connection.publication, HttpPublication)
        limit = self._connection.publication.request_head
        while (end := self._received.find(b"\r\n\r\n", 0, limit + 4)) < 0:
            if len(self._received) > limit:
                raise _Refused(
                    Deny(Reason.HEAD_TOO_LARGE, "limits.request_head", f"more than {limit} bytes")
                )
            # RFC 9112 §2.2 would have us ignore an empty line before the request line; no client
            # of ConfigMgr sends one. And a head with bare LFs would never end in CRLF CRLF: there
            # is no need to wait for the deadline to say so.
            if b"\n\n" in self._received or self._received.startswith((b"\n", b"\r\n")):
                raise _Refused(
                    Deny(Reason.MALFORMED_HEAD, "head.line-end", "a bare LF or an empty line")
                )
            yield from self._more_from_client("limits.head_seconds")
        raw = bytes(self._received[: end + 4])
        del self._received[: end + 4]
        head = read_request_head(raw)
        if isinstance(head, Deny):
            raise _Refused(head)
        return head

    def _read_request(
        self, exchange: Exchange, flow: http.HTTPFlow, head: RequestHead
    ) -> Steps[bytes]:
        yield HttpRequestHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise _Refused(exchange.decision)
        if not isinstance(exchange.decision, Authorized):
            raise _Refused(Deny(Reason.BRIDGE_DEFECT, "exchange", "the head was not decided on"))
        length = head.length or 0
        if head.values(b"expect") and len(self._received) < length:
            yield commands.SendData(self.context.client, b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from self.deadline.move(self._limits.body_seconds)
        while len(self._received) < length:
            yield from self._more_from_client("limits.body_seconds")
        self.deadline.lift()
        body = bytes(self._received[:length])
        del self._received[:length]
        exchange.body = flow.request.data.content = body
        flow.request.timestamp_end = time.time()
        yield HttpRequestHook(flow)
        return body

    def _forward(self, exchange: Exchange, flow: http.HTTPFlow, approved: Approved) -> Steps[bool]:
        """Send what was approved, pass the response on; whether the connection can go on."""
        publication = self._connection.publication
        assert isinstance(publication, HttpPublication)
        leg = yield from self._open_leg(originate(publication, approved.authorized))
        flow.server_conn = leg.server
        head = approved.authorized.head
        exchange.forwarded = True
        leg.authenticates |= bool(head.values(b"authorization"))
        yield from self.with_leg(leg, leg.send(head.to_bytes() + approved.body))
        reader = response_reader(head, approved.body)
        response = yield from self._read_response_head(leg, reader)
        flow.response = shown_response(response)
        exchange.status = response.status_code
        yield HttpResponseHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise _Refused(exchange.decision)

        received_head = exchange.head
        assert received_head is not None
        scheme = b"https" if leg.terms.tls is not None else b"http"
        origin = scheme + b"://" + (head.value(b"host") or b"")
        passed = fields_for_client(response, origin, approved.authorized.site_system.names)
        if isinstance(passed, Deny):
            raise _Refused(passed)
        exchange.note = passed.note
        end = body_end(response, head)
        keep_alive = (
            end is not BodyEnd.CLOSE
            and not asks_to_close(received_head.values(b"connection"))
            and not (leg.authenticates and ends_connection(response))
        )
        self._answering = True
        self._unsent = head_for_client(response, passed, end, keep_alive=keep_alive)
        whole = yield from self._pass_body_on(exchange, reader, end, response)
        yield from self._send(b"")
        if not whole:
            yield from self._incomplete(
                exchange, flow, "the response of the site system ended before it was whole"
            )
            return False
        flow.response.timestamp_end = time.time()
        # More than the answer: whatever it is, it must not become the next one.
        surplus = end is not BodyEnd.COUNTED and reader.trailing_data[0]
        if surplus or ends_connection(response) or not keep_alive:
            yield from self.with_leg(leg, leg.close())
        yield HttpResponseHook(flow)
        return keep_alive and (leg.usable or not leg.authenticates)

    def _open_leg(self, terms: Origination) -> Steps[SiteSystemLeg]:
        # Two roles may name one site system and differ in what they demand of it.
        demanded = (terms.tls.verify_name, terms.tls.highest) if terms.tls is not None else None
        key = (terms.address, terms.server_name, demanded)
        leg = self.legs.get(key)
        if leg is not None and leg.usable:
            self.leg_in_use = leg
            return leg
        if leg is not None:
            yield from self.with_leg(leg, leg.close())
            if leg.authenticates:
                raise _Refused(authentication_lost(terms.server_name))
        leg = SiteSystemLeg(self.context, terms)
        self.legs[key] = self.leg_in_use = leg
        self._connection.may_dial = terms.address
        yield from self.deadline.move(self._limits.handshake_seconds)
        yield from self.with_leg(leg, leg.open())
        while not isinstance(item := (yield from self._next_item()), Opened):
            if isinstance(item, events.Wakeup):
                connected = leg.server.timestamp_tcp_setup is not None
                raise _Refused(late(terms.server_name, connected=connected))
        self.deadline.lift()
        self._connection.may_dial = None
        if item.error is not None:
            refused = certificate_refused(terms.server_name, leg.alert)
            if refused is not None:
                raise _Refused(refused)
            connected = leg.server.timestamp_tcp_setup is not None
            reason = Reason.SITE_SYSTEM_UNVERIFIED if connected else Reason.SITE_SYSTEM_UNREACHABLE
            raise _Refused(Deny(reason, "site_system", f"{terms.server_name}: {item.error}"))
        return leg

    def _read_response_head(
        self, leg: SiteSystemLeg, reader: ResponseReader
    ) -> Steps[h11.Response]:
        yield from self.deadline.move(self._limits.response_seconds)
        while (response := next_response(reader)) is None:
            item = yield from self._next_item()
            if isinstance(item, Received):
                reader.receive_data(item.data)
            elif isinstance(item, Closed):
                refused = certificate_refused(leg.server.sni or "", leg.alert)
                if refused is not None:
                    raise _Refused(refused)
                # h11 tells an unfinished head from a connection closed without one.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                silent = Deny(Reason.SITE_SYSTEM_SLOW, "limits.response_seconds", "no response")
                raise _Refused(silent)
        self.deadline.lift()
        if isinstance(response, Deny):
            raise _Refused(response)
        return response

    def _pass_body_on(
        self, exchange: Exchange, reader: h11.Connection, end: BodyEnd, response: h11.Response
    ) -> Steps[bool]:
        """Pass the body on as it comes; False when it ended before it was whole."""
        if end is BodyEnd.NO_BODY:
            return True
        if end is BodyEnd.COUNTED:
            # Past the head a counted body needs no parser: a download goes straight through.
            return (yield from self._pass_counted(exchange, reader, content_length(response)))
        while True:
            try:
                event = reader.next_event()
            except h11.RemoteProtocolError:
                return False
            if isinstance(event, h11.Data):
                piece = bytes(event.data)
                exchange.bytes_out += len(piece)
                if end is BodyEnd.CHUNKED:
                    piece = chunk(piece)
                yield from self._send(piece)
            elif event is h11.NEED_DATA:
                more = yield from self._response_piece()
                if more is None:
                    return False
                reader.receive_data(more)
            else:
                if end is BodyEnd.CHUNKED:
                    yield from self._send(chunk(b""))
                return True

    def _pass_counted(
        self, exchange: Exchange, reader: h11.Connection, remaining: int
    ) -> Steps[bool]:
        piece: bytes | None = reader.trailing_data[0]
        while piece is not None:
            if len(piece) > remaining:
                # More than was announced; not ours to pass on, and the leg is not to be trusted.
                piece = piece[:remaining]
                assert self.leg_in_use is not None
                yield from self.with_leg(self.leg_in_use, self.leg_in_use.close())
            if piece:
                remaining -= len(piece)
                exchange.bytes_out += len(piece)
                yield from self._send(piece)
            if not remaining:
                return True
            piece = (yield from self._response_piece()) or None
        return False

    def _response_piece(self) -> Steps[bytes | None]:
        """The next bytes from the site system; empty at its clean end, None when there is no more.

        None is for a leg that fell silent or was cut off.
        """
        yield from self._send(b"")
        yield from self.deadline.move(self._limits.idle_seconds)
        while True:
            item = yield from self._next_item()
            if isinstance(item, Received):
                self.deadline.lift()
                return item.data
            if isinstance(item, Closed):
                # A bare FIN may be anybody's: only close_notify ends a response (RFC 9112 §9.8).
                return b"" if item.clean else None
            if isinstance(item, events.Wakeup):
                return None

    def _send(self, data: bytes) -> Steps[None]:
        """Send to the client, a response's head together with the first of its body."""
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            yield commands.SendData(self.context.client, data)

    # Waiting

    def _next_item(self) -> Steps[Item]:
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

    def _more_from_client(self, rule: str) -> Steps[None]:
        item = yield None
        if isinstance(item, events.DataReceived):
            self._received += item.data
        elif isinstance(item, events.ConnectionClosed):
            raise _ConnectionEnded
        elif isinstance(item, events.Wakeup):
            raise _Refused(Deny(Reason.TOO_SLOW, rule, "not all of it came in time"))

    # Ending

    def _refuse(self, exchange: Exchange, flow: http.HTTPFlow, denial: Deny) -> Steps[None]:
        self.deadline.lift()
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

    def _incomplete(self, exchange: Exchange, flow: http.HTTPFlow, note: str) -> Steps[None]:
        exchange.note = f"{exchange.note}; {note}" if exchange.note else note
        self._cut_off = self._answering
        yield from self._tell_error(exchange, flow, note)

    def _tell_error(self, exchange: Exchange, flow: http.HTTPFlow, message: str) -> Steps[None]:
        flow.live = False
        if exchange.head is not None:
            flow.error = mitmproxy_flow.Error(message)
            yield HttpErrorHook(flow)

    def _linger(self) -> Steps[None]:
        """Let a client that is still sending read its refusal, for a bounded while."""
        yield commands.CloseTcpConnection(self.context.client, half_close=True)
        yield from self.deadline.move(LINGER_SECONDS)
        discarded = len(self._received)
        self._received.clear()
        while discarded < LINGER_BYTES:
            item = yield None
            if isinstance(item, events.ConnectionClosed | events.Wakeup):
                return
            if isinstance(item, events.DataReceived):
                discarded += len(item.data)

    def _close(self) -> Steps[None]:
        self.deadline.lift()
        for leg in self.legs.values():
            yield from self.with_leg(leg, leg.close())
        # Half an answer must not look whole; close_notify would say that it is (RFC 8446 §6.1).
        how = CutOff if self._cut_off else commands.CloseConnection
        yield how(self.context.client)
