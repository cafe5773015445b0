"""What passes while a site system is busy: its answer, and what the client sends meanwhile.

An answer is passed on as it comes. One that is to be read first is collected, and then passed on as
if it had only just come.
"""

from __future__ import annotations

import math

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context

from ibcm_bridge.addons.connections import ConnectionRecord, Exchange
from ibcm_bridge.addons.layers.procedure import Item, ProcedureLayer, Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed, Received
from ibcm_bridge.authentication.client import AnonymousClient
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.inspection.response import MAX_REPLY, unreadable
from ibcm_bridge.policy.policy import Limits
from ibcm_bridge.site_system_leg.response_body import IncompleteBodyError, ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd, chunk

MAX_AHEAD = 65_536
"""Bytes a client may send before the answer to its request has been given."""


class ConnectionEnded(Exception):
    """The client has gone; there is nobody to answer."""


class PassingLayer(ProcedureLayer):
    """Takes in and sends on, counting what is kept."""

    def __init__(self, context: Context, connection: ConnectionRecord, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._received = bytearray()
        """What the client has sent and nobody has looked at."""
        self._taken = 0
        """Bytes of the request under way that are no longer in `_received`, and of its answer
        where that is collected."""
        self._answering = False
        """Whether a response head has been sent for the request under way."""
        self._unsent = b""
        """The response head, until there is something to send it with."""
        self._patience = math.inf
        """Seconds that a site system may take at most; finite while an upload is withdrawn."""
        self._cut_off = False
        """Whether the last response could not be finished."""
        super().__init__(context)

    def _pass_body_on(self, exchange: Exchange, body: ResponseBody) -> Steps[bool]:
        """Pass a body on as it comes; False when it ended before it was whole."""
        chunked = body.end is BodyEnd.CHUNKED
        try:
            while piece := (yield from self._body_piece(body)):
                exchange.bytes_out += len(piece)
                yield from self._send(chunk(piece) if chunked else piece)
        except IncompleteBodyError:
            return False
        if chunked:
            yield from self._send(chunk(b""))
        return True

    def _collect(self, body: ResponseBody) -> Steps[bytes | Deny]:
        """All of a body, which can then be passed on like any other; or why it cannot be had."""
        collected = bytearray()
        problem = None
        if body.length is not None and body.length > MAX_REPLY:
            return unreadable(rules.REPLIES_LIMIT, f"{body.length} bytes")
        try:
            while problem is None and (piece := (yield from self._body_piece(body))):
                collected += piece
                self._taken += len(piece)
                if len(collected) > MAX_REPLY:
                    problem = unreadable(rules.REPLIES_LIMIT, f"more than {MAX_REPLY} bytes")
                elif not self._has_room():
                    problem = unreadable(rules.LIMITS_BUFFERED_BYTES, "there is no room for it")
        except IncompleteBodyError:
            problem = unreadable(rules.REPLIES_WHOLE, "it ended before it was whole")
        whole = bytes(collected)
        body.put_back(whole)
        return whole if problem is None else problem

    def _body_piece(self, body: ResponseBody) -> Steps[bytes]:
        """The next piece of a body; empty at its end."""
        while (piece := body.take()) is None:
            body.receive((yield from self._response_piece()))
        return piece

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
            if self._patience < math.inf:
                continue  # of a request that has been refused, and nothing comes after it
            # The next request is decided like any other, in its turn.
            self._received += item.data
            if len(self._received) > MAX_AHEAD:
                ahead = f"more than {MAX_AHEAD} bytes"
                raise Refused(Deny(Reason.PIPELINED, rules.EXCHANGE_AHEAD, ahead))
            self._hold()

    def _hold(self, announced: int = 0) -> None:
        """Count what is kept of requests, and what is still to come of this one, or refuse it."""
        held = self._taken + max(announced, len(self._received))
        if not self._has_room(announced):
            detail = f"{held} bytes are more than there is room for"
            raise Refused(Deny(Reason.OVERLOADED, rules.LIMITS_BUFFERED_BYTES, detail))

    def _has_room(self, announced: int = 0) -> bool:
        """Count what is kept; False where that is too much."""
        if isinstance(self._connection.authenticated, AnonymousClient):
            self._connection.hold.count_as_anonymous()
        return self._connection.hold.change(self._taken + max(announced, len(self._received)))
