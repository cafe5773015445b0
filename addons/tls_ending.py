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
        # After recv(), which may have made OpenSSL say something: an alert, a certificate.
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
        """Send; where TLS has ended there is nobody to send to, and the layer above will hear."""
        try:
            self.tls.sendall(data)
        except SSL.WantReadError:
            raise  # not an end: nothing must be lost without a word
        except SSL.Error:
            pass
        yield from self.tls_interact()
