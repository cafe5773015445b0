"""How a TLS connection ends, which mitmproxy tells the layer above only for close_notify.

After a fatal alert it says nothing, so the layer above would wait until its deadline; in TLS 1.3
that is how a site system refuses the bridge's certificate, the handshake being done. After a
record that cannot be read it says nothing either, and lets the next answer run into an exception.
Here the layer above hears of every end, once, after the last plaintext before it.
"""

from __future__ import annotations

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.tls import TLSLayer
from OpenSSL import SSL


class CutOff(commands.CloseConnection):
    """Close without close_notify: what was sent is not whole, and the peer must be able to tell."""


class TlsEnding(TLSLayer):
    """Replaces what mitmproxy's TLS layers do once a handshake is done."""

    _ended = False
    ended_cleanly = False
    """Whether the peer said close_notify (RFC 8446 §6.1)."""
    _untaken = b""
    """What was sent and OpenSSL has not taken yet."""

    def receive_data(self, data: bytes) -> CommandGenerator[None]:
        """Pass plaintext on, and then the end if there is one."""
        if data:
            self.tls.bio_write(data)
        plaintext = bytearray()
        ended = False
        while not ended:
            try:
                plaintext.extend(self.tls.recv(65_535))
            except SSL.WantReadError:
                break
            except SSL.ZeroReturnError:
                ended = self.ended_cleanly = True
            except SSL.Error:  # an alert, or no TLS record
                ended = True
        # After recv(), which may have ended a renegotiation, or made OpenSSL say something: an
        # alert, a certificate.
        if self._untaken:
            self._hand_over(self._untaken)
        yield from self.tls_interact()
        if plaintext:
            yield from self.event_to_child(events.DataReceived(self.conn, bytes(plaintext)))
        if ended and not self._ended:
            self._ended = True
            self.conn.state &= ~ConnectionState.CAN_READ
            yield from self.event_to_child(events.ConnectionClosed(self.conn))

    def receive_close(self) -> CommandGenerator[None]:
        """The end of the TCP connection, unless that of TLS was told before."""
        if not self._ended:
            self._ended = True
            yield from self.event_to_child(events.ConnectionClosed(self.conn))

    def send_data(self, data: bytes) -> CommandGenerator[None]:
        """Send, or keep for later what cannot be sent now.

        While a site system asks for the bridge's certificate by renegotiation (TLS 1.2), OpenSSL
        takes nothing until more has come in. What it has not taken waits, in its order.
        """
        self._hand_over(self._untaken + data if self._untaken else data)
        yield from self.tls_interact()

    def _hand_over(self, data: bytes) -> None:
        """Give OpenSSL what it takes; the rest waits.

        pyOpenSSL's contexts allow partial writes, so one call takes one record or nothing, and
        says how much it was. Where TLS has ended there is nobody to send to, and the layer above
        will hear of it.
        """
        waiting, taken = memoryview(data), 0
        try:
            while taken < len(data):
                taken += self.tls.send(waiting[taken:])
        except SSL.WantReadError:
            pass
        except SSL.Error:
            taken = len(data)
        self._untaken = data[taken:]
