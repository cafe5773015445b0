"""The client's stream: it reads requests and writes responses, with deadlines.

It counts and limits the memory that requests use. A response head is sent together with the first
part of the body. A response that is not complete is cut off, so that it does not look complete.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import commands, events

from ibcm_bridge.addons.connections import ConnectionRecord
from ibcm_bridge.addons.events import GiveWay
from ibcm_bridge.addons.layers.deadline import Deadline
from ibcm_bridge.addons.layers.procedure import Item, Steps
from ibcm_bridge.addons.layers.site_system_leg import Closed
from ibcm_bridge.addons.layers.tls_ending import CutOff
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason, Refused
from ibcm_bridge.policy.policy import Limits

MAX_AHEAD = 65_536
"""The number of bytes that a client may send before the end of the current response."""

RESERVED_BYTES = 4_096
"""The bytes that are reserved for an announced body. Beyond, only what has arrived counts."""

RATE_SECONDS = 30.0
"""The time before the rate of a body is checked, in seconds. BITS sends in bursts."""

LINGER_SECONDS = 2.0
LINGER_BYTES = 1_048_576
"""Limits in seconds and bytes for data that is read and discarded after a refusal, so that a client
that is still sending its body can read the response (like nginx's lingering_close)."""


class ClientDisconnected(Exception):
    """The client has closed the connection; no response can be sent."""


@dataclass(frozen=True, slots=True)
class LegWait:
    """How to wait for a site system, with limits in seconds."""

    next_item: Callable[[], Steps[Item]]
    """Waits for the next item, and handles what the client sends meanwhile."""
    deadline: Deadline
    connect_seconds: float
    response_seconds: float
    idle_seconds: float


class ClientStream:
    """Reads the requests of a connection, and writes the responses."""

    def __init__(self, client: Client, connection: ConnectionRecord, limits: Limits) -> None:
        self.deadline = Deadline()
        self.responding = False
        """True while a response has begun and is not complete."""
        self._client = client
        self._connection = connection
        self._limits = limits
        self._received = bytearray()
        """Received data that was not read yet."""
        self._taken = 0
        """The number of bytes of the current request that are no longer in `_received`."""
        self._collected = 0
        """The number of bytes of its response that are stored."""
        self._unsent = b""
        """The response head, until it is sent with the first part of the body."""
        self._refused = False
        """True if a refusal was sent instead of the current response."""

    @property
    def max_fields(self) -> int:
        """The number of header fields that a request may have."""
        return self._limits.header_fields

    @property
    def closed(self) -> bool:
        """True if no more data can be sent."""
        return self._client.state is ConnectionState.CLOSED

    # Requests

    def await_request(self) -> Steps[bool]:
        """Wait for the first byte of a request; False if the client closes or is idle too long."""
        yield from self.deadline.move(self._limits.idle_seconds)
        while not self._received:
            item = yield None
            if isinstance(item, events.DataReceived):
                self._received += item.data
            elif isinstance(item, events.ConnectionClosed | events.Wakeup | Closed | GiveWay):
                return False  # Closed: an authenticated leg, so the client connection closes too
        return True

    def read_head(self, limit: int) -> Steps[bytes]:
        """Read a request head of at most `limit` bytes, including its empty line."""
        yield from self.deadline.move(self._limits.head_seconds)
        self._hold()
        while (end := self._received.find(b"\r\n\r\n", 0, limit + 4)) < 0:
            if len(self._received) > limit:
                large = f"more than {limit} bytes"
                raise Refused(Deny(Reason.HEAD_TOO_LARGE, rules.LIMITS_REQUEST_HEAD, large))
            # RFC 9112 §2.2 recommends to ignore an empty line before the request line, but no
            # ConfigMgr client sends one. A head with bare LFs would never end in CRLF CRLF, so it
            # is refused before the deadline.
            if b"\n\n" in self._received or self._received.startswith((b"\n", b"\r\n")):
                empty = "a bare LF or an empty line"
                raise Refused(Deny(Reason.MALFORMED_HEAD, rules.HEAD_LINE_END, empty))
            if not (yield from self._more()):
                raise _too_slow(rules.LIMITS_HEAD_SECONDS)
        return self._take(end + 4)

    def read_body(self, length: int, *, expects: bool) -> Steps[bytes]:
        """Read a body. If the client `expects` it, send 100 Continue first."""
        # Before 100 Continue and any read: the memory limit may be reached.
        self._hold(length)
        if expects and len(self._received) < length:
            yield commands.SendData(self._client, b"HTTP/1.1 100 Continue\r\n\r\n")
        began = self.deadline.now()
        yield from self.deadline.move(self._body_seconds())
        while len(self._received) < length:
            if not (yield from self._more(length)):
                yield from self._allow_more_time(began)
        self.deadline.lift()
        return self._take(length)

    def _body_seconds(self) -> float:
        """Return how long the body may take, from the number of bytes that have arrived."""
        allowed = len(self._received) / self._limits.body_bytes_per_second
        return min(self._limits.body_seconds, max(RATE_SECONDS, allowed))

    def _allow_more_time(self, began: float) -> Steps[None]:
        seconds = self.deadline.now() - began
        if seconds >= self._limits.body_seconds:
            raise _too_slow(rules.LIMITS_BODY_SECONDS)
        left = self._body_seconds() - seconds
        if left <= 0:
            detail = f"{len(self._received)} bytes in {seconds:.0f} s"
            raise Refused(Deny(Reason.TOO_SLOW, rules.LIMITS_BODY_BYTES_PER_SECOND, detail))
        yield from self.deadline.move(left)

    def _more(self, announced: int = 0) -> Steps[bool]:
        """Wait for more data. Return False if the deadline passed."""
        item = yield None
        if isinstance(item, events.DataReceived):
            self._received += item.data
            self._hold(announced)
        elif isinstance(item, events.ConnectionClosed):
            raise ClientDisconnected
        elif isinstance(item, GiveWay):
            raise Refused(item.denial)
        return not isinstance(item, events.Wakeup)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        self._taken += length
        return taken

    # While a site system is busy

    def wait(self) -> LegWait:
        """Return how to wait for a site system during a client's request."""
        limits = self._limits
        return LegWait(
            functools.partial(self._next_item, self._keep),
            self.deadline,
            limits.connect_seconds,
            limits.response_seconds,
            limits.idle_seconds,
        )

    def short_wait(self, seconds: float) -> LegWait:
        """Return how to wait for a site system after a refusal, at most `seconds` per step.

        The client's further data is discarded: no request follows a refused one.
        """
        self._received.clear()
        connect = min(seconds, self._limits.connect_seconds)
        response = min(seconds, self._limits.response_seconds)
        discarding = functools.partial(self._next_item, lambda _: None)
        return LegWait(discarding, self.deadline, connect, response, response)

    def _next_item(self, take: Callable[[bytes], None]) -> Steps[Item]:
        """Wait for the next item that is not from the client; `take` gets the client's data."""
        while True:
            item: Item = yield None
            if isinstance(item, events.ConnectionClosed):
                raise ClientDisconnected
            if isinstance(item, GiveWay):
                raise Refused(item.denial)
            if not isinstance(item, events.DataReceived):
                return item
            take(item.data)

    def _keep(self, data: bytes) -> None:
        # Data of the next request, which is decided on after the current one.
        self._received += data
        if len(self._received) > MAX_AHEAD:
            ahead = f"more than {MAX_AHEAD} bytes"
            raise Refused(Deny(Reason.PIPELINED, rules.EXCHANGE_AHEAD, ahead))
        self._hold()

    # Memory

    def hold_response(self, size: int) -> bool:
        """Count the stored bytes of a response; False if the memory limit is exceeded."""
        self._collected = size
        return self._has_room()

    def _hold(self, announced: int = 0) -> None:
        """Count the stored and announced bytes of requests. Refuse if the limit is exceeded."""
        if not self._has_room(announced):
            held = self._taken + max(announced, len(self._received))
            detail = f"{held} bytes exceed the available memory"
            raise Refused(Deny(Reason.OVERLOADED, rules.LIMITS_BUFFERED_BYTES, detail))

    def _has_room(self, announced: int = 0) -> bool:
        reserved = min(announced, RESERVED_BYTES)
        held = self._taken + self._collected + max(reserved, len(self._received))
        return self._connection.memory.change(held)

    # Responses

    def begin_response(self, head: bytes) -> None:
        """Send a response head, together with the next data."""
        self.responding = True
        self._unsent = head

    def send(self, data: bytes = b"") -> Steps[None]:
        """Send the response head, if it is still unsent, and more of the body."""
        if self._unsent:
            data, self._unsent = self._unsent + data, b""
        if data:
            yield commands.SendData(self._client, data)

    def end_response(self) -> None:
        """Mark the response as complete."""
        self.responding = False

    def refuse(self, response: bytes) -> Steps[None]:
        """Send a refusal instead of a response."""
        self.deadline.lift()
        self._refused = True
        yield commands.SendData(self._client, response)

    # Ending

    def end_request(self, *, keep_alive: bool) -> Steps[None]:
        """End the current request. Without `keep_alive`, discard later data."""
        if self._refused:
            yield from self._linger()
        if not keep_alive:
            self._received.clear()
        self._taken = self._collected = 0
        self._connection.memory.change(len(self._received))

    def _linger(self) -> Steps[None]:
        """Give a client that is still sending limited time to read its refusal."""
        yield commands.CloseTcpConnection(self._client, half_close=True)
        yield from self.deadline.move(LINGER_SECONDS)
        discarded = len(self._received)
        self._received.clear()
        while discarded < LINGER_BYTES:
            item = yield None
            if isinstance(item, events.ConnectionClosed | events.Wakeup | GiveWay):
                return
            if isinstance(item, events.DataReceived):
                discarded += len(item.data)

    def close(self) -> Steps[None]:
        """Close the connection."""
        self.deadline.lift()
        # close_notify would make a partial response look complete (RFC 8446 §6.1).
        yield (CutOff if self.responding else commands.CloseConnection)(self._client)


def _too_slow(rule: rules.Rule) -> Refused:
    return Refused(Deny(Reason.TOO_SLOW, rule, "the request was not complete in time"))
