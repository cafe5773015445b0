"""One request and its response, each sent only after a decision, in nine steps.

mitmproxy's HTTP layer is made to show and change traffic: it forwards by default, responds to
malformed heads itself, and waits where it should refuse (docs/design.md has the list). So the
bridge uses this procedure (`serve`):

 1. read a head, strictly, with limits in size and time
 2. judge the client again if that is due; decide on the head: `HeadRead` -> `Authorized`
 3. read the body, with the limits of the role's table
 4. decide on the body: `BodyRead` -> `Inspected` -> `Approved`
 5. the gate: this head and this body must be approved, and the client still accepted
 6. open a site-system leg if there is none, to another site system if one cannot be connected to
 7. send exactly what was approved; if a kept leg is closed before any response data, resend once
    from step 5 on with the same decision, if the method is safe
 8. read the response head; forward the response as it arrives, or, if the role's table requires
    inspection or it is an error, collect it and decide on it first: `ReplyCollected` ->
    `InspectedReply`, `ErrorCollected` -> `ErrorPage`
 9. continue with the next request, or close

A refusal is sent from `refusals`, recorded, and closes the connection. mitmproxy's hooks get a
normal flow, for addons that show traffic. They are called after the decision, and the flow is never
sent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus

from mitmproxy.proxy.context import Context

from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded, new_reference
from ibcm_bridge.addons.layers.client_stream import ClientDisconnected, ClientStream, LegWait
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.response_stream import ResponseStream
from ibcm_bridge.addons.layers.shown_flow import ShownFlow
from ibcm_bridge.addons.layers.site_system_choice import SiteSystemChoice, Tried
from ibcm_bridge.addons.layers.site_system_legs import KeptLegClosed, ResponseBegun, SiteSystemLegs
from ibcm_bridge.addons.stages import (
    BodyInspected,
    BodyRead,
    ClientDue,
    ErrorCollected,
    GuardedHooks,
    HeadRead,
    PacketAnnounced,
    PacketRead,
    PacketResponseRead,
    ReplyAllowed,
    ReplyCollected,
    Stage,
    WaitFor,
)
from ibcm_bridge.audit.shadow import Judged, Outcome
from ibcm_bridge.authentication.client import Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.decisions.refusal_response import response_bytes
from ibcm_bridge.decisions.refusals import refusal
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.inspection.error_page import MAX_ERROR_PAGE
from ibcm_bridge.inspection.response import MAX_REPLY, unreadable_head
from ibcm_bridge.policy.publications import BridgePublication, HttpPublication, UploadHosts
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead, read_request_head
from ibcm_bridge.site_system_leg.error_page import NOTE, fields_with_page, own_error_page
from ibcm_bridge.site_system_leg.gate import Decision, gate
from ibcm_bridge.site_system_leg.origination import WhenClosed, own_certificate
from ibcm_bridge.site_system_leg.partial_body import partial_body
from ibcm_bridge.site_system_leg.response_body import ResponseBody
from ibcm_bridge.site_system_leg.response_head import (
    BodyEnd,
    ClientFields,
    asks_to_close,
    body_end,
    ends_connection,
    fields_for_client,
    head_for_client,
)
from ibcm_bridge.uploads.session import Session, UploadPart


@dataclass(frozen=True, slots=True)
class BridgedConnection:
    """What all requests of a bridged connection share."""

    context: Context
    connection: ConnectionRecord
    stream: ClientStream
    legs: SiteSystemLegs
    choice: SiteSystemChoice
    hooks: GuardedHooks


class Exchange:
    """A request under way and its state, which only its own steps change."""

    def __init__(self, bridged: BridgedConnection, wait: LegWait, note: str = "") -> None:
        self.reference = new_reference()
        self.head: RequestHead | None = None
        self.authorized: Authorized | None = None
        self.decision: Decision = None
        self.session: Session | None = None
        """The client's own upload session that the request belongs to, if any."""
        self._note = note
        self._began = time.monotonic()
        self._connection = bridged.connection
        self._hooks = bridged.hooks
        self._stream = bridged.stream
        self._legs = bridged.legs
        self._choice = bridged.choice
        self._tried = Tried()
        self._wait = wait
        self._shown = ShownFlow(bridged.context, bridged.hooks)
        self._body = b""
        self._part: UploadPart | None = None
        """The part of an upload that it carries, after it is stored."""
        self._sent = 0
        """How often the request was sent to the site system."""
        self._status: int | None = None
        self._response: ResponseStream | None = None
        self._judged = Judged()
        self._observed: tuple[str, ...] = ()
        self._reply_would_refuse: tuple[Observed, ...] = ()
        self._inspection_seconds: float | None = None
        self._site_system_seconds: float | None = None
        self._ended = False

    def serve(self) -> Steps[bool]:
        """Run the nine steps. Return whether another request may follow.

        Raise Refused if a step refuses, and ClientDisconnected if the client closes.
        """
        head = yield from self._read_head()  # 1
        authorized = yield from self.decide_on_head(head)  # 2
        body = yield from self._read_body(head)  # 3
        yield from self.decide_on_body(authorized, body)  # 4
        try:
            begun = yield from self.send(head)  # 5 to 7
        except KeptLegClosed as closed:
            if closed.then is not WhenClosed.RESEND:
                raise
            # Only once: the second leg is new, not kept.
            begun = yield from self.send(head)
        return (yield from self._respond(head, begun))  # 8; 9 is `ExchangeLayer`

    # 1 and 2: the head

    def _read_head(self) -> Steps[RequestHead]:
        raw = yield from self._stream.read_head(self._published.request_head)
        head = read_request_head(raw, self._stream.max_fields)
        if isinstance(head, Deny):
            raise Refused(head)
        return head

    def decide_on_head(self, head: RequestHead) -> Steps[Authorized]:
        """Decide on the head, and show it."""
        self.head = head
        self._shown.begin(head, self._connection)
        decided = yield from self._authorize(head)
        yield from self._shown.request_head()
        return _allowed(decided)

    def _authorize(self, head: RequestHead) -> Steps[Authorized | Deny]:
        if isinstance(judged := (yield from self._judge_client()), Deny):
            return judged
        authorized = yield from _decide(self._hooks, HeadRead(self._client, self._published, head))
        self._judged.head = authorized
        if isinstance(authorized, Deny):
            return authorized
        self.authorized = authorized
        if authorized.packet is None:
            return authorized
        considered = yield from _decide(self._hooks, PacketAnnounced(self._client, authorized))
        if isinstance(considered, Deny):
            return considered
        self.session = considered.session
        return authorized if considered.refusal is None else considered.refusal

    def _judge_client(self) -> Steps[Client | Deny]:
        """Judge the client again, if a list, the policy or the time has changed since."""
        if not self._connection.due:
            return self._client
        return (yield from _decide(self._hooks, ClientDue(self._connection)))

    # 3 and 4: the body

    def _read_body(self, head: RequestHead) -> Steps[bytes]:
        expects = bool(head.values(b"expect"))
        return (yield from self._stream.read_body(head.length or 0, expects=expects))

    def decide_on_body(self, authorized: Authorized, body: bytes) -> Steps[None]:
        """Decide on the body, and show it."""
        self._body = body
        self._shown.read(body)
        began = time.monotonic()
        self.decision = yield from self._approve(authorized, body)
        self._inspection_seconds = time.monotonic() - began
        yield from self._shown.request()

    def _approve(self, authorized: Authorized, body: bytes) -> Steps[Approved | Deny]:
        if authorized.packet is not None:
            part = yield from _decide(self._hooks, PacketRead(self._client, authorized, body))
            if isinstance(part, Deny):
                return part
            self._part = part
        inspected = yield from _decide(
            self._hooks, BodyRead(authorized, body, self._part, self._connection.holder)
        )
        self._judged.body = inspected
        if isinstance(inspected, Deny):
            return inspected
        identified = yield from _decide(self._hooks, BodyInspected(self._client, inspected))
        if isinstance(identified, Deny):
            self._judged.approved = identified
            return identified
        self._judged.approved, self._judged.bindings = identified.decision, identified.bindings
        return identified.decision

    # 5 to 7: the gate, the leg, sending; and the head of the response

    def send(self, head: RequestHead) -> Steps[ResponseBegun]:
        """Send the approved request, and read the head of a response that may be forwarded."""
        _allowed((yield from self._judge_client()))
        approved = self._pass_gate(head)  # 5
        began = time.monotonic()
        leg = yield from self._choice.leg(  # 6
            self._published, approved.authorized, self._bound_to, self._wait, self._tried
        )
        self._shown.leg(leg.server)
        self._sent += 1
        self._tried.sent = True
        begun = yield from self._legs.send(leg, approved, self._wait)  # 7
        self._site_system_seconds = time.monotonic() - began
        self._shown.began_response(begun.response)
        self._status = begun.response.status
        followed = yield from self._follow(begun)
        yield from self._shown.response_head()
        if isinstance(followed, Deny):
            raise Refused(followed)
        return begun

    @property
    def _bound_to(self) -> str | None:
        """The site system that has the session of the upload, if the request belongs to one."""
        part = self._part
        return None if part is None or part.session is None else part.session.sender.site_system

    def _pass_gate(self, head: RequestHead) -> Approved:
        """Return the approval of the request to send. Raise Refused if there is none."""
        approved = _allowed(gate(self.decision, head, self._body))
        if (tls := self._connection.tls) is not None:
            expired = own_certificate(*tls.own_dates, tls.site_system_trust.clock())
            if expired is not None:
                raise Refused(expired)
        if self._stream.closed:
            # For example during the inspection. The request is not sent for a closed connection.
            raise ClientDisconnected
        return approved

    def _follow(self, begun: ResponseBegun) -> Steps[Deny | None]:
        """Decide on what the site system acknowledged, if this is an upload packet."""
        if self._part is None:
            return None
        authorized, response = begun.approved.authorized, begun.response
        fields = [(name, value) for name, _, value in response.fields]
        name = begun.leg.terms.server_name
        packet = PacketResponseRead(
            self._client, authorized, self._part, name, response.status, fields
        )
        followed = yield from _decide(self._hooks, packet)
        return followed if isinstance(followed, Deny) else None

    # 8: the response

    def _respond(self, head: RequestHead, begun: ResponseBegun) -> Steps[bool]:
        """Forward the response. Return whether the connection can continue."""
        leg, response = begun.leg, begun.response
        fields = self._fields_for_client(begun)
        body = _body_for_client(begun)
        self._add_note(fields.note)
        stream = self._response = ResponseStream(body, self._stream, self._wait)
        if _must_be_inspected(begun, body):
            yield from self._inspect_reply(begun, stream)
        elif _is_error(begun, body):
            fields = yield from self._inspect_error(begun, stream, fields)
        keep_alive = (
            body.end is not BodyEnd.CLOSE
            and not asks_to_close(head.values(b"connection"))
            and not (self._connection.ends_after_response and response.status != 401)
            and not (leg.authenticates and ends_connection(response))
        )
        self._stream.begin_response(
            head_for_client(response, fields, body.end, keep_alive=keep_alive)
        )
        if not (yield from stream.forward()):
            yield from self.incomplete(body.problem)
            return False
        self._stream.end_response()
        leg.keep()
        # Data after the response must not become the next response.
        if body.surplus or ends_connection(response) or not keep_alive:
            yield from self._legs.close_leg(leg)
        yield from self._shown.response()
        return keep_alive and (not leg.authenticates or self._legs.usable(leg))

    def _fields_for_client(self, begun: ResponseBegun) -> ClientFields:
        """Return the header fields of the response that the client gets."""
        authorized, hosts = begun.approved.authorized, _upload_hosts(self._published)
        host = authorized.head.value(b"host") or b""
        origin = self._connection.scheme + b"://" + host
        names = authorized.site_systems.names
        return _allowed(fields_for_client(begun.response, origin, names, hosts))

    def _inspect_reply(self, begun: ResponseBegun, stream: ResponseStream) -> Steps[None]:
        """Collect a response and decide on it, before any of it is forwarded."""
        response = begun.response
        codings = response.values(b"content-encoding")
        body: bytes | Deny | None = unreadable_head(response.status, codings)
        if body is None:
            body = yield from stream.collect(MAX_REPLY)
        decided = yield from self._decide_on_reply(begun, body)
        self._stream.hold_response(0)
        if isinstance(decided, Deny):
            raise Refused(decided)
        if isinstance(body, bytes):
            yield from self._shown.reply(body)

    def _inspect_error(
        self, begun: ResponseBegun, stream: ResponseStream, fields: ClientFields
    ) -> Steps[ClientFields]:
        """Collect an error page, and replace it if that is decided. Return the fields to send."""
        response = begun.response
        content_type = b"".join(response.values(b"content-type")[:1])
        codings = response.values(b"content-encoding")
        body = yield from stream.collect(MAX_ERROR_PAGE)
        decided = yield from _decide(self._hooks, ErrorCollected(content_type, codings, body))
        self._stream.hold_response(0)
        judged = _allowed(decided)
        self._observed = judged.observed
        if not judged.replaced:
            return fields
        page = own_error_page(response.status, self.reference)
        stream.body.replace(page)
        self._add_note(NOTE)
        return fields_with_page(fields, page)

    def _decide_on_reply(self, begun: ResponseBegun, body: bytes | Deny) -> Steps[Deny | None]:
        """Decide on a response, and learn from a reply that may be forwarded."""
        approved, reading = begun.approved, begun.approved.authorized.reply
        assert reading is not None
        content_type = b"".join(begun.response.values(b"content-type")[:1])
        inspected = yield from _decide(self._hooks, ReplyCollected(reading, content_type, body))
        if isinstance(inspected, Deny):
            return inspected
        self._observed = inspected.observed
        if inspected.message is not None:
            allowed = ReplyAllowed(self._client, approved, inspected.message)
            learned = yield from _decide(self._hooks, allowed)
            if isinstance(learned, Deny):
                return learned
            self._observed += learned.observed
            self._reply_would_refuse = learned.would_refuse
        return None

    # 9: the end

    def deny(self, denial: Deny) -> None:
        """Replace the decision by a refusal."""
        self.decision = denial

    def refuse(self, denial: Deny) -> Steps[None]:
        """Send a refusal, or cut off a response that has begun."""
        if self._stream.responding:
            # The begun response cannot be withdrawn; only the close shows the failure.
            yield from self.incomplete(denial.reason.value)
            return
        is_head = self.head is not None and self.head.method == b"HEAD"
        upload = self.authorized is not None and self.authorized.packet is not None
        self._status = refusal(denial).status or HTTPStatus.FORBIDDEN
        yield from self._stream.refuse(
            response_bytes(denial, self.reference, head_only=is_head, upload=upload)
        )
        yield from self.show_error(denial.reason.value)

    def incomplete(self, note: str) -> Steps[None]:
        """End without a complete response."""
        self._add_note(note)
        yield from self.show_error(note)

    def _add_note(self, note: str) -> None:
        self._note = "; ".join(filter(None, (self._note, note)))

    def show_error(self, message: str) -> Steps[None]:
        """Show the failure in the flow."""
        yield from self._shown.error(message)

    def end(self, defect: Deny | None = None, *, refused: bool = False) -> ExchangeEnded | None:
        """End the request and return its record data; None after the first call."""
        if self._ended:
            return None
        self._ended = True
        if defect is not None and refused:
            self._status = refusal(defect).status
        return ExchangeEnded(
            connection=self._connection,
            reference=self.reference,
            began=self._began,
            head=self.head,
            body=self._body,
            decision=self._decided if defect is None else defect,
            authorized=self.authorized,
            forwarded=self._sent > 0,
            resent=self._sent > 1,
            status=self._status,
            bytes_out=self._response.forwarded if self._response is not None else 0,
            observed=self._observed,
            note="; ".join(filter(None, (*self._tried.notes, self._note))),
            site_system=self._tried.site_system,
            inspection_seconds=self._inspection_seconds,
            shadow=self._judge_by_shadow(),
            reply_would_refuse=self._reply_would_refuse,
            site_system_seconds=self._site_system_seconds,
        )

    def _judge_by_shadow(self) -> Outcome | None:
        connection = self._connection
        if connection.shadow is None or self.head is None:
            return None
        return connection.shadow.judge(connection, self.head, self._body, self._judged)

    @property
    def _decided(self) -> Approved | Deny:
        if isinstance(self.decision, Approved | Deny):
            return self.decision
        # The client disconnected before a decision, so nothing was allowed.
        detail = "the client disconnected before a decision"
        return Deny(Reason.BODY_INCOMPLETE, rules.EXCHANGE, detail)

    @property
    def _client(self) -> Client:
        client = self._connection.authenticated
        assert client is not None
        return client

    @property
    def _published(self) -> HttpPublication:
        publication = self._connection.publication
        assert isinstance(publication, HttpPublication)
        return publication


def _decide[Next](hooks: GuardedHooks, known: Stage[Next]) -> Steps[Next | Deny]:
    """Get the decision on a stage."""
    # As `result_of`, which would be another generator for each decision.
    called = hooks.call(known)
    decided: Next | Deny = (yield called) if isinstance(called, WaitFor) else called
    if isinstance(decided, (known.result, Deny)):
        return decided
    return Deny(Reason.BRIDGE_DEFECT, rules.EXCHANGE, f"no decision on {known.hook}")


def _allowed[Allowed](decided: Allowed | Deny) -> Allowed:
    if isinstance(decided, Deny):
        raise Refused(decided)
    return decided


def _body_for_client(begun: ResponseBegun) -> ResponseBody:
    """Return the body of the response that may be forwarded."""
    authorized, response = begun.approved.authorized, begun.response
    end = body_end(response, authorized.head)
    ranges = authorized.ranges if end is not BodyEnd.NO_BODY else None
    partial = partial_body(ranges, response)
    if isinstance(partial, Deny):
        raise Refused(partial)
    return ResponseBody(begun.reader, response, end, partial)


def _must_be_inspected(begun: ResponseBegun, body: ResponseBody) -> bool:
    """Return whether the response must be inspected before it is forwarded."""
    if begun.approved.authorized.reply is None or body.end is BodyEnd.NO_BODY:
        return False
    return begun.response.status < 300


def _is_error(begun: ResponseBegun, body: ResponseBody) -> bool:
    """Return whether the response is an error or a redirect, with a body."""
    has_body = body.end is not BodyEnd.NO_BODY and body.length != 0
    return has_body and begun.response.status >= 300


def _upload_hosts(publication: HttpPublication) -> UploadHosts:
    if isinstance(publication, BridgePublication):
        return publication.upload_hosts
    return UploadHosts.DROP
