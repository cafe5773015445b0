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
 7. send exactly what was approved; where a leg that was kept is closed as it comes, and nothing
    of an answer came back, once more from 5 on with the same decision, if its method is safe
 8. read the response head; hook `responseheaders`; pass the response on as it comes, or collect
    it first, where the role's table says that it is read; hook `reply_collected`:
    `response_inspection` decides on it
 9. hook `response`; on to the next request, or close

Any refusal is answered with `refusals`, written down, and closes the connection. The hooks carry
a normal mitmproxy flow, for addons that show traffic; nothing is ever sent from the flow.
"""

from __future__ import annotations

import math
import time
from http import HTTPStatus

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http._hooks import (
    HttpRequestHeadersHook,
    HttpRequestHook,
)

from ibcm_bridge.addons.connections import Exchange, attach_exchange
from ibcm_bridge.addons.events import ExchangeEndedHook
from ibcm_bridge.addons.layers.display import shown_request
from ibcm_bridge.addons.layers.forwarding import ForwardingLayer, KeptLegClosed
from ibcm_bridge.addons.layers.passing import ConnectionEnded
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed
from ibcm_bridge.addons.layers.tls_ending import CutOff
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.publications import HttpPublication
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.gate import gate
from ibcm_bridge.site_system_leg.origination import WhenClosed
from ibcm_bridge.uploads.withdrawal import withdrawal

WITHDRAW_SECONDS = 5.0
"""How long a client waits for its refusal at most while the site system throws an upload away:
once for the handshake, where there is no leg yet, and once for the answer."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 1_048_576
"""How long and how much is read and thrown away after a refusal, so that a client still sending
its body gets to read the answer (as nginx's lingering_close)."""


class ExchangeLayer(ForwardingLayer):
    """Speaks HTTP/1.1 with the client, and with site systems on legs of its own."""

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
            keep_alive = yield from self._decide_and_forward(exchange, flow)
        except ConnectionEnded:
            yield from self._incomplete(exchange, flow, "the client closed the connection")
        self.leg_in_use = None
        self._connection.may_dial = None
        self._connection.exchange = None
        yield ExchangeEndedHook(exchange)
        if isinstance(exchange.decision, Deny) and exchange.status and not self._answering:
            yield from self._linger()
        if not keep_alive:
            self._received.clear()
        self._taken = 0
        self._connection.hold.change(len(self._received))
        return keep_alive

    def _decide_and_forward(self, exchange: Exchange, flow: http.HTTPFlow) -> Steps[bool]:
        try:
            head = exchange.head = yield from self._read_head()
            flow.request = shown_request(head, self._connection.server_name)
            body = yield from self._read_request(exchange, flow, head)
            approved = self._pass_gate(exchange, head, body)
            try:
                return (yield from self._forward(exchange, flow, approved))
            except KeptLegClosed as closed:
                if closed.then is not WhenClosed.RESEND:
                    raise
            # Once: a new leg has not been kept, so it cannot be closed in this way.
            approved = self._pass_gate(exchange, head, body)
            return (yield from self._forward(exchange, flow, approved))
        except Refused as refused:
            exchange.decision = refused.denial
            if isinstance(refused, KeptLegClosed) and refused.then is WhenClosed.CLOSE:
                # An answer would keep the client from sending it again (protocol.md §1.2).
                yield from self._tell_error(exchange, flow, refused.denial.reason.value)
                return False
            yield from self._withdraw(exchange, refused.denial)
            yield from self._refuse(exchange, flow, refused.denial)
            return False

    def _pass_gate(self, exchange: Exchange, head: RequestHead, body: bytes) -> Approved:
        """The approval of what is about to be sent. Raises Refused where there is none."""
        approved = gate(exchange.decision, head, body)
        if isinstance(approved, Deny):
            raise Refused(approved)
        if self.context.client.state is ConnectionState.CLOSED:
            # While it was inspected, say: there is nobody left to send it for.
            raise ConnectionEnded
        return approved

    def _withdraw(self, refused: Exchange, denial: Deny) -> Steps[None]:
        """Have the site system throw away what it has of an upload that was refused for good.

        By a packet of our own, which is decided on and written down like one of the client's.
        """
        head = refused.head and withdrawal(refused.head, refused.upload_session, denial)
        gone = self.context.client.state is ConnectionState.CLOSED
        if head is None or gone or self._answering:
            return
        if self.leg_in_use is not None:
            # What is left of the refused answer must not be taken for one to this.
            yield from self.with_leg(self.leg_in_use, self.leg_in_use.close())
            self.leg_in_use = None
        exchange = self._connection.exchange = Exchange(self._connection, head)
        exchange.withdraws = refused
        exchange.note = f"sent by the bridge, which refused the upload ({refused.reference})"
        flow = http.HTTPFlow(self.context.client, self.context.server, True)
        attach_exchange(flow, exchange)
        flow.request = shown_request(head, self._connection.server_name)
        self._patience = WITHDRAW_SECONDS
        self._received.clear()
        try:
            if refused.forwarded and (used := self.leg_in_use) is not None:
                # What is left of that answer must not be taken for the answer to this.
                yield from self.with_leg(used, used.close())
            yield from self._authorize(exchange, flow)
            yield HttpRequestHook(flow)
            approved = gate(exchange.decision, head, b"")
            if isinstance(approved, Deny):
                raise Refused(approved)
            leg, _, _ = yield from self._ask(exchange, flow, approved)
            yield from self.with_leg(leg, leg.close())
        except Refused as failed:
            exchange.decision = failed.denial
        except ConnectionEnded:
            gone = True
        finally:
            self._patience = math.inf
        yield ExchangeEndedHook(exchange)
        self._connection.exchange = refused
        if gone:
            raise ConnectionEnded

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
        self._hold()
        while (end := self._received.find(b"\r\n\r\n", 0, limit + 4)) < 0:
            if len(self._received) > limit:
                raise Refused(
                    Deny(
                        Reason.HEAD_TOO_LARGE, rules.LIMITS_REQUEST_HEAD, f"more than {limit} bytes"
                    )
                )
            # RFC 9112 §2.2 would have us ignore an empty line before the request line; no client
            # of ConfigMgr sends one. And a head with bare LFs would never end in CRLF CRLF: there
            # is no need to wait for the deadline to say so.
            if b"\n\n" in self._received or self._received.startswith((b"\n", b"\r\n")):
                raise Refused(
                    Deny(Reason.MALFORMED_HEAD, rules.HEAD_LINE_END, "a bare LF or an empty line")
                )
            yield from self._more_from_client(rules.LIMITS_HEAD_SECONDS)
        raw = bytes(self._received[: end + 4])
        del self._received[: end + 4]
        self._taken = len(raw)
        head = read_request_head(raw)
        if isinstance(head, Deny):
            raise Refused(head)
        return head

    def _read_request(
        self, exchange: Exchange, flow: http.HTTPFlow, head: RequestHead
    ) -> Steps[bytes]:
        yield from self._authorize(exchange, flow)
        length = head.length or 0
        # Before the body is asked for or read: there may be no room for it.
        self._hold(length)
        if head.values(b"expect") and len(self._received) < length:
            yield commands.SendData(self.context.client, b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from self.deadline.move(self._limits.body_seconds)
        while len(self._received) < length:
            yield from self._more_from_client(rules.LIMITS_BODY_SECONDS, length)
        self.deadline.lift()
        body = bytes(self._received[:length])
        del self._received[:length]
        self._taken += length
        exchange.body = flow.request.data.content = body
        flow.request.timestamp_end = time.time()
        yield HttpRequestHook(flow)
        return body

    def _authorize(self, exchange: Exchange, flow: http.HTTPFlow) -> Steps[None]:
        yield HttpRequestHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise Refused(exchange.decision)
        if not isinstance(exchange.decision, Authorized):
            raise Refused(Deny(Reason.BRIDGE_DEFECT, rules.EXCHANGE, "the head was not decided on"))

    # Waiting

    def _more_from_client(self, rule: rules.Rule, announced: int = 0) -> Steps[None]:
        item = yield None
        if isinstance(item, events.DataReceived):
            self._received += item.data
            self._hold(announced)
        elif isinstance(item, events.ConnectionClosed):
            raise ConnectionEnded
        elif isinstance(item, events.Wakeup):
            raise Refused(Deny(Reason.TOO_SLOW, rule, "not all of it came in time"))

    # Ending

    def _refuse(self, exchange: Exchange, flow: http.HTTPFlow, denial: Deny) -> Steps[None]:
        self.deadline.lift()
        exchange.decision = denial
        if self._answering:
            # Half an answer cannot be taken back; closing is what tells the client.
            yield from self._incomplete(exchange, flow, denial.reason.value)
            return
        is_head = exchange.head is not None and exchange.head.method == b"HEAD"
        upload = exchange.authorized is not None and exchange.authorized.packet is not None
        answer = response_bytes(denial, exchange.reference, head_only=is_head, upload=upload)
        exchange.status = refusal(denial).status or HTTPStatus.FORBIDDEN
        yield commands.SendData(self.context.client, answer)
        yield from self._tell_error(exchange, flow, denial.reason.value)

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
