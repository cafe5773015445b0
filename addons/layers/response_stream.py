"""The body of a site system's response, as it comes: passed on, or collected first to be read.

One that is to be read first is collected, and then passed on as if it had only just come.
"""

from __future__ import annotations

from mitmproxy.proxy import events

from ibcm_bridge.addons.layers.client_stream import ClientStream, Patience
from ibcm_bridge.addons.layers.procedure import Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed, Received
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.response import MAX_REPLY, unreadable
from ibcm_bridge.site_system_leg.response_body import IncompleteBodyError, ResponseBody
from ibcm_bridge.site_system_leg.response_head import BodyEnd, chunk


class ResponseStream:
    """From the leg in use to the client."""

    def __init__(self, body: ResponseBody, client: ClientStream, patience: Patience) -> None:
        self.body = body
        self.passed = 0
        """Bytes of the body that have been passed on."""
        self._client = client
        self._patience = patience

    def pass_on(self) -> Steps[bool]:
        """Pass the body on as it comes; False when it ended before it was whole."""
        chunked = self.body.end is BodyEnd.CHUNKED
        whole = True
        try:
            while piece := (yield from self._piece()):
                self.passed += len(piece)
                yield from self._client.send(chunk(piece) if chunked else piece)
            if chunked:
                yield from self._client.send(chunk(b""))
        except IncompleteBodyError:
            whole = False
        yield from self._client.send()
        return whole

    def collect(self) -> Steps[bytes | Deny]:
        """All of the body, which can then be passed on like any other; or why it cannot be had."""
        length = self.body.length
        if length is not None and length > MAX_REPLY:
            return unreadable(rules.REPLIES_LIMIT, f"{length} bytes")
        collected = bytearray()
        problem = None
        try:
            while problem is None and (piece := (yield from self._piece())):
                collected += piece
                room = self._client.hold_response(len(collected))
                if len(collected) > MAX_REPLY:
                    problem = unreadable(rules.REPLIES_LIMIT, f"more than {MAX_REPLY} bytes")
                elif not room:
                    problem = unreadable(rules.LIMITS_BUFFERED_BYTES, "there is no room for it")
        except IncompleteBodyError:
            problem = unreadable(rules.REPLIES_WHOLE, "it ended before it was whole")
        whole = bytes(collected)
        self.body.put_back(whole)
        return whole if problem is None else problem

    def _piece(self) -> Steps[bytes]:
        """The next piece of the body; empty at its end."""
        while (piece := self.body.take()) is None:
            self.body.receive((yield from self._more()))
        return piece

    def _more(self) -> Steps[bytes | None]:
        """The next bytes from the site system; empty at its clean end, None when there is no more.

        None is for a leg that fell silent or was cut off.
        """
        deadline = self._patience.deadline
        yield from self._client.send()
        yield from deadline.move(self._patience.idle_seconds)
        while True:
            item = yield from self._patience.next_item()
            if isinstance(item, Received):
                deadline.lift()
                return item.data
            if isinstance(item, Closed):
                # A bare FIN may be anybody's: only close_notify ends a response (RFC 9112 §9.8).
                return b"" if item.clean else None
            if isinstance(item, events.Wakeup):
                return None
