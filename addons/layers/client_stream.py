"""The client's stream: what it has sent and is not read yet, what it is sent, and until when.

What is kept of its requests is counted here and bounded. A response's head waits for the first of
its body, so that both go out together; one that was begun and not ended is cut off, for half a
response must not look whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.addons.layers.procedure import Item, Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed
from ibcm_bridge.addons.layers.tls_ending import CutOff
from ibcm_bridge.authentication.client import AnonymousClient
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.policy.policy import Limits

MAX_AHEAD = 65_536
"""Bytes a client may send before the response to its request has been sent."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 1_048_576
"""How long and how much is read and thrown away after a refusal, so that a client still sending
its body gets to read the response (as nginx's lingering_close)."""


class ClientLeft(Exception):
    """The client has gone; there is nobody to respond to."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a site system is waited for."""

    next_item: Callable[[], Steps[Item]]
    """Waits, and does with what the client sends meanwhile what has to be done."""
    deadline: Deadline
    handshake_seconds: float
    response_seconds: float
    idle_seconds: float


class ClientStream:
    """What a connection's requests are read from, and its responses written to."""

    def __init__(self, client: Client, connection: ConnectionRecord, limits: Limits) -> None:
        self.deadline = Deadline()
        self.responding = False
        """Whether a response's head has been sent, and not yet all of its body."""
        self._client = client
        self._connection = connection
        self._limits = limits
        self._received = bytearray()
        """What the client has sent and nobody has looked at."""
        self._taken = 0
        """Bytes of the request under way that are no longer in `_received`."""
        self._collected = 0
        """Bytes that are kept of the response to it."""
        self._unsent = b""
        """The response head, until there is something to send it with."""
        self._refused = False
        """Whether a refusal was sent in place of the response under way."""

    @property
    def closed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._client.state is ConnectionState.CLOSED

    # Requests

    def await_request(self) -> Steps[bool]:
        """Wait for the first byte of a request; False when the client goes or falls silent."""
        yield from self.deadline.move(self._limits.idle_seconds)
        while not self._received:
            item = yield None
            if isinstance(item, events.DataReceived):
                self._received += item.data
            elif isinstance(item, events.ConnectionClosed | events.Wakeup | Closed):
                return False  # as the site system would close an authenticated connection
        return True

    def read_head(self, limit: int) -> Steps[bytes]:
        """Read a request head of at most `limit` bytes, to the end of its empty line."""
        yield from self.deadline.move(self._limits.head_seconds)
        self._hold()
        while (end := self._received.find(b"\r\n\r\n", 0, limit + 4)) < 0:
            if len(self._received) > limit:
                large = f"more than {limit} bytes"
                raise Refused(Deny(Reason.HEAD_TOO_LARGE, rules.LIMITS_REQUEST_HEAD, large))
            # RFC 9112 §2.2 would have us ignore an empty line before the request line; no client
            # of ConfigMgr sends one. And a head with bare LFs would never end in CRLF CRLF: there
            # is no need to wait for the deadline to say so.
            if b"\n\n" in self._received or self._received.startswith((b"\n", b"\r\n")):
                empty = "a bare LF or an empty line"
                raise Refused(Deny(Reason.MALFORMED_HEAD, rules.HEAD_LINE_END, empty))
            yield from self._more(rules.LIMITS_HEAD_SECONDS)
        return self._take(end + 4)

    def read_body(self, length: int, *, expects: bool) -> Steps[bytes]:
        """Read a body; a client that `expects` it is asked for it."""
        # Before it is asked for or read: there may be no room for it.
        self._hold(length)
        if expects and len(self._received) < length:
            yield commands.SendData(self._client, b"HTTP/1.1 100 Continue\r\n\r\n")
        yield from self.deadline.move(self._limits.body_seconds)
        while len(self._received) < length:
            yield from self._more(rules.LIMITS_BODY_SECONDS, length)
        self.deadline.lift()
        return self._take(length)

    def _more(self, rule: rules.Rule, announced: int = 0) -> Steps[None]:
        item = yield None
        if isinstance(item, events.DataReceived):
            self._received += item.data
            self._hold(announced)
        elif isinstance(item, events.ConnectionClosed):
            raise ClientLeft
        elif isinstance(item, events.Wakeup):
            raise Refused(Deny(Reason.TOO_SLOW, rule, "not all of it came in time"))

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        self._taken += length
        return taken

    # While a site system is busy

    def patience(self) -> Patience:
        """How a site system is waited for in response to a client's request."""
        limits = self._limits
        return Patience(
            functools.partial(self._next_item, self._keep),
            self.deadline,
            limits.handshake_seconds,
            limits.response_seconds,
            limits.idle_seconds,
        )

    def short_patience(self, seconds: float) -> Patience:
        """How one is waited for once the client's request is refused: nothing comes after it."""
        self._received.clear()
        handshake = min(seconds, self._limits.handshake_seconds)
        response = min(seconds, self._limits.response_seconds)
        unheard = functools.partial(self._next_item, lambda _: None)
        return Patience(unheard, self.deadline, handshake, response, response)

    def _next_item(self, take: Callable[[bytes], None]) -> Steps[Item]:
        """The next item that is not the client's; `take` has what the client sends meanwhile."""
        while True:
            item: Item = yield None
            if isinstance(item, events.ConnectionClosed):
                raise ClientLeft
            if not isinstance(item, events.DataReceived):
                return item
            take(item.data)

    def _keep(self, data: bytes) -> None:
        # The next request is decided like any other, in its turn.
        self._received += data
        if len(self._received) > MAX_AHEAD:
            ahead = f"more than {MAX_AHEAD} bytes"
            raise Refused(Deny(Reason.PIPELINED, rules.EXCHANGE_AHEAD, ahead))
        self._hold()

    # What is held in memory

    def hold_response(self, size: int) -> bool:
        """Count what is kept of a response to read it; False where that is too much."""
        self._collected = size
        return self._has_room()

    def _hold(self, announced: int = 0) -> None:
        """Count what is kept of requests, and what is still to come of this one, or refuse it."""
        if not self._has_room(announced):
            held = self._taken + max(announced, len(self._received))
            detail = f"{held} bytes are more than there is room for"
            raise Refused(Deny(Reason.OVERLOADED, rules.LIMITS_BUFFERED_BYTES, detail))

    def _has_room(self, announced: int = 0) -> bool:
        if isinstance(self._connection.authenticated, AnonymousClient):
            self._connection.hold.count_as_anonymous()
        held = self._taken + self._collected + max(announced, len(self._received))
        return self._connection.hold.change(held)

    # Responses

    def begin_response(self, head: bytes) -> None:
        """Send a response's head, with what comes next."""
        self.responding = True
        self._unsent = head

    def send(self, data: bytes = b"") -> Steps[None]:
        """Send more of a response, and what is still unsent of it."""
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            yield commands.SendData(self._client, data)

    def end_response(self) -> None:
        """All of it has been sent."""
        self.responding = False

    def refuse(self, response: bytes) -> Steps[None]:
        """Send a refusal in place of a response."""
        self.deadline.lift()
        self._refused = True
        yield commands.SendData(self._client, response)

    # Ending

    def end_request(self, *, keep_alive: bool) -> Steps[None]:
        """Let go of the request under way; and of what came after it, where nothing may."""
        if self._refused:
            yield from self._linger()
        if not keep_alive:
            self._received.clear()
        self._taken = self._collected = 0
        self._connection.hold.change(len(self._received))

    def _linger(self) -> Steps[None]:
        """Let a client that is still sending read its refusal, for a bounded while."""
        yield commands.CloseTcpConnection(self._client, half_close=True)
        yield from self.deadline.move(LINGER_SECONDS)
        discarded = len(self._received)
        self._received.clear()
        while discarded < LINGER_BYTES:
            item = yield None
            if isinstance(item, events.ConnectionClosed | events.Wakeup):
                return
            if isinstance(item, events.DataReceived):
                discarded += len(item.data)

    def close(self) -> Steps[None]:
        """Close the connection."""
        self.deadline.lift()
        # Half a response must not look whole; close_notify would say that it is (RFC 8446 §6.1).
        yield (CutOff if self.responding else commands.CloseConnection)(self._client)
