"""The body of a site system's response: forwarded as it arrives, or collected for inspection.

A collected body is forwarded afterwards as if it had just arrived.
"""

from __future__ import annotations

from mitmproxy.proxy import events

from ibcm_bridge.addons.layers.client_stream import ClientStream, LegWait
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed, Received
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.response import unreadable
from ibcm_bridge.site_system_leg.response_body import IncompleteBodyError, ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd, chunk


class ResponseStream:
    """Forwards a body from the leg in use to the client."""

    def __init__(self, body: ResponseBody, client: ClientStream, wait: LegWait) -> None:
        self.body = body
        self.forwarded = 0
        """The number of forwarded bytes of the body."""
        self._client = client
        self._wait = wait

    def forward(self) -> Steps[bool]:
        """Forward the body as it arrives. Return False if it ended before it was complete."""
        chunked = self.body.end is BodyEnd.CHUNKED
        whole = True
        try:
            while piece := (yield from self._piece()):
                self.forwarded += len(piece)
                yield from self._client.send(chunk(piece) if chunked else piece)
            if chunked:
                yield from self._client.send(chunk(b""))
        except IncompleteBodyError:
            whole = False
        yield from self._client.send()
        return whole

    def collect(self, limit: int) -> Steps[bytes | Deny]:
        """Return the whole body of at most `limit` bytes, or why it is not available.

        It can be forwarded afterwards.
        """
        length = self.body.length
        if length is not None and length > limit:
            return unreadable(rules.REPLIES_LIMIT, f"{length} bytes")
        collected = bytearray()
        problem = None
        try:
            while problem is None and (piece := (yield from self._piece())):
                collected += piece
                room = self._client.hold_response(len(collected))
                if len(collected) > limit:
                    problem = unreadable(rules.REPLIES_LIMIT, f"more than {limit} bytes")
                elif not room:
                    problem = unreadable(rules.LIMITS_BUFFERED_BYTES, "the memory limit is reached")
        except IncompleteBodyError:
            problem = unreadable(rules.REPLIES_WHOLE, "it ended before it was complete")
        whole = bytes(collected)
        self.body.put_back(whole)
        return whole if problem is None else problem

    def _piece(self) -> Steps[bytes]:
        """Return the next piece of the body; empty at its end."""
        while (piece := self.body.take()) is None:
            self.body.receive((yield from self._more()))
        return piece

    def _more(self) -> Steps[bytes | None]:
        """Return the next bytes from the site system; empty at a clean end.

        Return None if the leg was idle too long or was cut off.
        """
        deadline = self._wait.deadline
        yield from self._client.send()
        yield from deadline.move(self._wait.idle_seconds)
        while True:
            item = yield from self._wait.next_item()
            if isinstance(item, Received):
                deadline.lift()
                return item.data
            if isinstance(item, Closed):
                # A FIN is not authenticated: only close_notify ends a response (RFC 9112 §9.8).
                return b"" if item.clean else None
            if isinstance(item, events.Wakeup):
                return None
