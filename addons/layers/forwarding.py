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
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from ibcm_bridge.addons.connections import CollectedReply, Exchange
from ibcm_bridge.addons.events import ReplyCollectedHook
from ibcm_bridge.addons.layers.display import shown_response
from ibcm_bridge.addons.layers.passing import PassingLayer
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed, Opened, Received, SiteSystemLeg
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.response import InspectedReply, unreadable_head
from ibcm_bridge.policy.publications import BridgePublication, HttpPublication, UploadHosts
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.site_system_leg.origination import (
    Origination,
    WhenClosed,
    authentication_lost,
    certificate_refused,
    closed_unanswered,
    late,
    originate,
    when_closed,
)
from ibcm_bridge.site_system_leg.partial_body import partial_body
from ibcm_bridge.site_system_leg.response_body import ResponseBody
from ibcm_bridge.site_system_leg.response_head import (
    BodyEnd,
    ResponseReader,
    asks_to_close,
    body_end,
    ends_connection,
    field_values,
    fields_for_client,
    head_for_client,
    next_response,
    response_reader,
)


class KeptLegClosed(Refused):
    """A kept leg was closed as the request came, and nothing of an answer came back."""

    def __init__(self, denial: Deny, then: WhenClosed) -> None:
        super().__init__(denial)
        self.then = then


_Asked = tuple[SiteSystemLeg, ResponseReader, h11.Response]


def _upload_hosts(publication: HttpPublication) -> UploadHosts:
    if isinstance(publication, BridgePublication):
        return publication.upload_hosts
    return UploadHosts.DROP


class ForwardingLayer(PassingLayer):
    """Speaks with site systems, on legs of its own."""

    def _ask(self, exchange: Exchange, flow: http.HTTPFlow, approved: Approved) -> Steps[_Asked]:
        """Send what was approved, and read the head of the answer, which may pass."""
        leg = yield from self._open_leg(originate(self._published, approved.authorized))
        flow.server_conn = leg.server
        head = approved.authorized.head
        exchange.resent = exchange.forwarded
        exchange.forwarded = True
        leg.authenticates |= bool(head.values(b"authorization"))
        yield from self.with_leg(leg, leg.send(head.to_bytes() + approved.body))
        reader = response_reader(head, approved.body)
        response = yield from self._read_response_head(leg, reader, approved.authorized)
        exchange.response = response
        flow.response = shown_response(response)
        exchange.status = response.status_code
        yield HttpResponseHeadersHook(flow)
        if isinstance(exchange.decision, Deny):
            raise Refused(exchange.decision)
        return leg, reader, response

    def _forward(self, exchange: Exchange, flow: http.HTTPFlow, approved: Approved) -> Steps[bool]:
        """Send what was approved, pass the response on; whether the connection can go on."""
        leg, reader, response = yield from self._ask(exchange, flow, approved)
        assert flow.response is not None
        publication, head = self._published, approved.authorized.head
        received_head = exchange.head
        assert received_head is not None
        scheme = b"https" if leg.terms.tls is not None else b"http"
        origin = scheme + b"://" + (head.value(b"host") or b"")
        passed = fields_for_client(
            response, origin, approved.authorized.site_system.names, _upload_hosts(publication)
        )
        if isinstance(passed, Deny):
            raise Refused(passed)
        exchange.note = passed.note
        end = body_end(response, head)
        ranges = approved.authorized.ranges if end is not BodyEnd.NO_BODY else None
        partial = partial_body(ranges, response)
        if isinstance(partial, Deny):
            raise Refused(partial)
        body = ResponseBody(reader, response, end, partial)
        reading = approved.authorized.reply
        # Of an error a client reads nothing but that it is one.
        if reading is not None and 200 <= response.status_code < 300 and end is not BodyEnd.NO_BODY:
            yield from self._judge_reply(exchange, flow, response, body)
        keep_alive = (
            end is not BodyEnd.CLOSE
            and not asks_to_close(received_head.values(b"connection"))
            and not (leg.authenticates and ends_connection(response))
        )
        self._answering = True
        self._unsent = head_for_client(response, passed, end, keep_alive=keep_alive)
        whole = yield from self._pass_body_on(exchange, body)
        yield from self._send(b"")
        if not whole:
            yield from self._incomplete(exchange, flow, body.problem)
            return False
        flow.response.timestamp_end = time.time()
        leg.rest()
        # More than the answer: whatever it is, it must not become the next one.
        if body.surplus or ends_connection(response) or not keep_alive:
            yield from self.with_leg(leg, leg.close())
        yield HttpResponseHook(flow)
        idle_seconds = self._limits.site_system_idle_seconds
        return keep_alive and (not leg.authenticates or leg.usable(idle_seconds))

    @property
    def _published(self) -> HttpPublication:
        publication = self._connection.publication
        assert isinstance(publication, HttpPublication)
        return publication

    def _judge_reply(
        self, exchange: Exchange, flow: http.HTTPFlow, response: h11.Response, body: ResponseBody
    ) -> Steps[None]:
        """Collect an answer and have it decided on, before any of it is passed on."""
        taken = self._taken
        codings = field_values(response, b"content-encoding")
        collected: bytes | Deny | None = unreadable_head(response.status_code, codings)
        if collected is None:
            collected = yield from self._collect(body)
        content_type = b"".join(field_values(response, b"content-type")[:1])
        exchange.collected = CollectedReply(content_type, collected)
        yield ReplyCollectedHook(flow)
        exchange.collected = None
        self._taken = taken
        self._hold()
        if isinstance(exchange.decision, Deny):
            raise Refused(exchange.decision)
        if not isinstance(exchange.inspected_reply, InspectedReply):
            raise Refused(
                Deny(Reason.BRIDGE_DEFECT, rules.EXCHANGE, "the answer was not decided on")
            )

    def _open_leg(self, terms: Origination) -> Steps[SiteSystemLeg]:
        # Two roles may name one site system and differ in what they demand of it.
        demanded = (terms.tls.verify_name, terms.tls.highest) if terms.tls is not None else None
        key = (terms.address, terms.server_name, demanded)
        leg = self.legs.get(key)
        if leg is not None and leg.usable(self._limits.site_system_idle_seconds):
            self.leg_in_use = leg
            return leg
        if leg is not None:
            yield from self.with_leg(leg, leg.close())
            if leg.authenticates:
                raise Refused(authentication_lost(terms.server_name))
        leg = SiteSystemLeg(self.context, terms)
        self.legs[key] = self.leg_in_use = leg
        self._connection.may_dial = terms.address
        yield from self.deadline.move(min(self._limits.handshake_seconds, self._patience))
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
            error, failure = item.error, leg.verification_failure
            if failure is not None and terms.tls is not None:
                error = f"cannot be verified as {terms.tls.verify_name}: {failure}"
            raise Refused(Deny(reason, rules.SITE_SYSTEM, f"{terms.server_name}: {error}"))
        return leg

    def _read_response_head(
        self, leg: SiteSystemLeg, reader: ResponseReader, authorized: Authorized
    ) -> Steps[h11.Response]:
        yield from self.deadline.move(min(self._limits.response_seconds, self._patience))
        unanswered = True
        while (response := next_response(reader)) is None:
            item = yield from self._next_item()
            if isinstance(item, Received):
                unanswered = False
                reader.receive_data(item.data)
            elif isinstance(item, Closed):
                refused = certificate_refused(leg.server.sni or "", leg.alert)
                if refused is not None:
                    raise Refused(refused)
                # An alert is an answer, too.
                if leg.kept and unanswered and leg.alert is None:
                    lost = authentication_lost if leg.authenticates else closed_unanswered
                    then = when_closed(
                        authorized.head.method,
                        acts=authorized.acts,
                        authenticates=leg.authenticates,
                    )
                    raise KeptLegClosed(lost(leg.terms.server_name), then)
                # h11 tells an unfinished head from a connection closed without one.
                reader.receive_data(b"")
            elif isinstance(item, events.Wakeup):
                silent = Deny(Reason.SITE_SYSTEM_SLOW, rules.LIMITS_RESPONSE_SECONDS, "no response")
                raise Refused(silent)
        self.deadline.lift()
        if isinstance(response, Deny):
            raise Refused(response)
        return response

    def _incomplete(self, exchange: Exchange, flow: http.HTTPFlow, note: str) -> Steps[None]:
        exchange.note = f"{exchange.note}; {note}" if exchange.note else note
        self._cut_off = self._answering
        yield from self._tell_error(exchange, flow, note)

    def _tell_error(self, exchange: Exchange, flow: http.HTTPFlow, message: str) -> Steps[None]:
        flow.live = False
        if exchange.head is not None:
            flow.error = mitmproxy_flow.Error(message)
            yield HttpErrorHook(flow)
