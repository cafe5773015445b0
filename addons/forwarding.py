"""The site-system half of a bridged connection: send what was approved, pass the response on.

Steps 6 to 8 of `exchange`, which has the whole list. Whatever a site system does that it should
not is a `Refused` before the response head has been passed on, and afterwards a response that is
cut off: half an answer must not look whole.
"""

from __future__ import annotations

import time

import h11
from mitmproxy import flow as mitmproxy_flow
from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from ibcm_bridge.addons.connections import ConnectionRecord, Exchange
from ibcm_bridge.addons.display import shown_response
from ibcm_bridge.addons.procedure import Item, ProcedureLayer, Steps
from ibcm_bridge.addons.site_system_leg import Closed, Opened, Received, SiteSystemLeg
from ibcm_bridge.decisions import Approved, Deny, Reason, Refused
from ibcm_bridge.identity import AnonymousClient
from ibcm_bridge.origination import (
    Origination,
    authentication_lost,
    certificate_refused,
    late,
    originate,
)
from ibcm_bridge.policy import HttpPublication, Limits
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

MAX_AHEAD = 65_536
"""Bytes a client may send before the answer to its request has been given."""


class ConnectionEnded(Exception):
    """The client has gone; there is nobody to answer."""


class ForwardingLayer(ProcedureLayer):
    """Speaks with site systems, on legs of its own."""

    def __init__(self, context: Context, connection: ConnectionRecord, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._received = bytearray()
        """What the client has sent and nobody has looked at."""
        self._taken = 0
        """Bytes of the request under way that are no longer in `_received`."""
        self._answering = False
        """Whether a response head has been sent for the request under way."""
        self._unsent = b""
        """The response head, until there is something to send it with."""
        self._cut_off = False
        """Whether the last response could not be finished."""
        super().__init__(context)

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
            raise Refused(exchange.decision)

        received_head = exchange.head
        assert received_head is not None
        scheme = b"https" if leg.terms.tls is not None else b"http"
        origin = scheme + b"://" + (head.value(b"host") or b"")
        passed = fields_for_client(response, origin, approved.authorized.site_system.names)
        if isinstance(passed, Deny):
            raise Refused(passed)
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
                raise Refused(authentication_lost(terms.server_name))
        leg = SiteSystemLeg(self.context, terms)
        self.legs[key] = self.leg_in_use = leg
        self._connection.may_dial = terms.address
        yield from self.deadline.move(self._limits.handshake_seconds)
        yield from self.with_leg(leg, leg.open())
        while not isinstance(item := (yield from self._next_item()), Opened):
            if isinstance(item, events.Wakeup):
                connected = leg.server.timestamp_tcp_setup is not None
                raise Refused(late(terms.server_name, connected=connected))
        self.deadline.lift()
        self._connection.may_dial = None
        if item.error is not None:
            refused = certificate_refused(terms.server_name, leg.alert)
            if refused is not None:
                raise Refused(refused)
            connected = leg.server.timestamp_tcp_setup is not None
            reason = Reason.SITE_SYSTEM_UNVERIFIED if connected else Reason.SITE_SYSTEM_UNREACHABLE
            raise Refused(Deny(reason, "site_system", f"{terms.server_name}: {item.error}"))
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
                    raise Refused(refused)
                # h11 tells an unfinished head from a connection closed without one.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                silent = Deny(Reason.SITE_SYSTEM_SLOW, "limits.response_seconds", "no response")
                raise Refused(silent)
        self.deadline.lift()
        if isinstance(response, Deny):
            raise Refused(response)
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

    def _next_item(self) -> Steps[Item]:
        """The next item while a site system is busy; what the client sends ahead is kept."""
        while True:
            item: Item = yield None
            if isinstance(item, events.ConnectionClosed):
                raise ConnectionEnded
            if not isinstance(item, events.DataReceived):
                return item
            # The next request is decided like any other, in its turn.
            self._received += item.data
            if len(self._received) > MAX_AHEAD:
                ahead = f"more than {MAX_AHEAD} bytes"
                raise Refused(Deny(Reason.PIPELINED, "exchange.ahead", ahead))
            self._hold()

    def _hold(self, announced: int = 0) -> None:
        """Count what is kept of requests, and what is still to come of this one, or refuse it."""
        held = self._taken + max(announced, len(self._received))
        if isinstance(self._connection.authenticated, AnonymousClient):
            self._connection.hold.count_as_anonymous()
        if not self._connection.hold.change(held):
            detail = f"{held} bytes are more than there is room for"
            raise Refused(Deny(Reason.OVERLOADED, "limits.held_bytes", detail))

    def _incomplete(self, exchange: Exchange, flow: http.HTTPFlow, note: str) -> Steps[None]:
        exchange.note = f"{exchange.note}; {note}" if exchange.note else note
        self._cut_off = self._answering
        yield from self._tell_error(exchange, flow, note)

    def _tell_error(self, exchange: Exchange, flow: http.HTTPFlow, message: str) -> Steps[None]:
        flow.live = False
        if exchange.head is not None:
            flow.error = mitmproxy_flow.Error(message)
            yield HttpErrorHook(flow)
