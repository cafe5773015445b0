"""Reports every end of a TLS connection to the layer above; mitmproxy reports only close_notify.

mitmproxy does not report a fatal alert, so the layer above would wait until its deadline. In TLS
1.3 a site system refuses the bridge's certificate in this way, after the handshake. It does not
report an unreadable record either, and later data then raises an exception. This layer reports each
end once, after the last plaintext.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.tls import TLSLayer
from mitmproxy.proxy.tunnel import TunnelState

from ibcm_bridge.addons.events import DataLent
from ibcm_bridge.addons.layers.small_layer import SmallLayer
from ibcm_bridge.addons.tls.connection import BUFFER_BYTES, End, LegConnection

LENT_BYTES = 16_384
"""Records from this size on are sent without another copy."""


class CutOff(commands.CloseConnection):
    """Close without close_notify, so that the peer detects that the data is incomplete."""


@dataclass
class TlsEnded(events.ConnectionClosed):
    """The data of a TLS connection has ended."""

    clean: bool
    """True if the peer sent close_notify (RFC 8446 §6.1)."""


class TlsEnding(SmallLayer, TLSLayer):
    """Replaces the behavior of mitmproxy's TLS layers after the handshake."""

    _ended = False
    _max_without_data = math.inf
    """The number of bytes that the peer may send in a row without application data."""
    _without_data = 0
    _unsent = b""
    """Data that OpenSSL has not accepted yet."""
    _last_flight = b""
    """The records that end the handshake, to be sent with the first data: a packet less."""

    @property
    def _connection(self) -> LegConnection:
        assert isinstance(self.tls, LegConnection)
        return self.tls

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event. After the handshake, mitmproxy's generators are left out."""
        if self.tunnel_state is not TunnelState.OPEN or self._paused:
            return super().handle_event(event)
        if isinstance(event, events.DataReceived) and event.connection is self.conn:
            return self.receive_data(event.view() if isinstance(event, DataLent) else event.data)
        return self._handle_event(event)

    def event_to_child(self, event: events.Event) -> CommandGenerator[None]:
        """Let the child handle an event, and encrypt what it sends."""
        if self.tunnel_state is not TunnelState.OPEN:
            yield from super().event_to_child(event)
            return
        for command in self.child_layer.handle_event(event):
            if not isinstance(command, commands.ConnectionCommand):
                yield command
            elif isinstance(command, commands.SendData) and command.connection is self.conn:
                yield from self.send_data(command.data)
            else:
                yield from self._handle_command(command)

    def forward(self, plaintext: bytes) -> CommandGenerator[None]:
        """Forward plaintext to the child."""
        yield from self.event_to_child(events.DataReceived(self.conn, plaintext))

    def tls_interact(self) -> CommandGenerator[None]:
        """Send the TLS records that OpenSSL has written, from its buffer if they are large."""
        while records := self._connection.lent_records():
            is_last = len(records) < BUFFER_BYTES
            if self._last_flight or len(records) < LENT_BYTES:
                first, self._last_flight = self._last_flight, b""
                yield commands.SendData(self.conn, first + records)
            else:
                with records:
                    yield commands.SendData(self.conn, records)  # type: ignore[arg-type]
            if is_last:
                return

    def _handshake_finished(self, err: str | None) -> CommandGenerator[None]:
        """Send the last flight, if the layer above has sent nothing."""
        yield from super()._handshake_finished(err)
        if self._last_flight and not self._last_flight_can_wait:
            records, self._last_flight = self._last_flight, b""
            yield commands.SendData(self.conn, records)
        if self.tunnel_state is TunnelState.OPEN:
            self._connection.release_memory()

    @property
    def _last_flight_can_wait(self) -> bool:
        """True if the peer does not wait for it."""
        return False

    def receive_data(self, data: bytes | memoryview) -> CommandGenerator[None]:
        """Forward plaintext, and then the end, if any. The data is read before anything else."""
        if self._ended:
            return
        plaintext, end = self._connection.read_plaintext(data)
        self._without_data = 0 if plaintext else self._without_data + len(data)
        if self._without_data > self._max_without_data:
            end = End.CUT
        # After reading: it may have finished a renegotiation, or made OpenSSL write an alert or a
        # certificate.
        if self.tunnel_state is TunnelState.ESTABLISHING and end is None:
            self._last_flight = b"".join(iter(self._connection.read_records, b""))
        else:
            yield from self.send_data(b"")
        if plaintext:
            yield from self.forward(plaintext)
        if end is not None and not self._ended:
            self._ended = True
            self.conn.state &= ~ConnectionState.CAN_READ
            yield from self.event_to_child(TlsEnded(self.conn, end is End.CLEAN))

    def receive_close(self) -> CommandGenerator[None]:
        """Report the end of the TCP connection, unless the end of TLS was reported before."""
        if not self._ended:
            self._ended = True
            yield from self.event_to_child(TlsEnded(self.conn, clean=False))

    def send_data(self, data: bytes) -> CommandGenerator[None]:
        """Send data, or store data that cannot be sent now.

        While a site system requests the bridge's certificate by renegotiation (TLS 1.2), OpenSSL
        accepts no data until it has received more. The data waits, in its order.
        """
        data, taken = self._unsent + data, 0
        while taken < len(data) and (size := self._connection.write_plaintext(data, taken)):
            taken += size
            yield from self.tls_interact()
        self._unsent = data[taken:]
        if not taken or self._unsent:
            yield from self.tls_interact()
