"""TLS with a client of a bridged publication."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from ibcm_bridge.addons.layers.tls_ending import CutOff, TlsEnding

MAX_WITHOUT_DATA = 32_768
"""The number of bytes that a client may send after its handshake without application data: the
records of key updates, requests to renegotiate, and empty records. Each uses processor time, and
OpenSSL has no limit. One record has up to 16,645 bytes (RFC 8446 §5.2)."""

_NOT_TLS = "The remote server does not speak TLS."
"""mitmproxy's text, on both legs."""


class BridgedClientTls(TlsEnding, tls.ClientTLSLayer):
    """mitmproxy's client TLS layer. It also sends alerts and close_notify.

    `client.sni` is set before.
    """

    def __init__(self, context: Context, refused: Callable[[], bool] = lambda: False) -> None:
        super().__init__(context)
        self._max_without_data = MAX_WITHOUT_DATA
        self._refused = refused

    @property
    def _last_flight_can_wait(self) -> bool:
        """In TLS 1.3 it has only sessions, which the client does not wait for."""
        return self.conn.tls_version == "TLSv1.3"

    def start_handshake(self) -> CommandGenerator[None]:
        """Get the OpenSSL connection. The front door has read the ClientHello already."""
        self.client_hello_parsed = True
        yield from self.start_tls()

    def receive_handshake_data(self, data: bytes) -> CommandGenerator[tuple[bool, str | None]]:
        """Handle handshake data as mitmproxy does, and send alerts."""
        if not self.tls:
            return False, "connection closed early"
        done, error = yield from super().receive_handshake_data(data)
        if done and self._refused():
            # The client of a resumed session is no longer accepted, or there is no room for one
            # without a certificate. OpenSSL cannot send an alert at this point. Without
            # close_notify it also removes the session.
            return False, "the client is refused after its handshake"
        if error == _NOT_TLS:
            error = "a record that cannot be read as TLS"
        if error and self.tls:
            # mitmproxy would discard the alert that OpenSSL has written.
            yield from self.tls_interact()
        return done, error

    def on_handshake_error(self, err: str) -> CommandGenerator[None]:
        """Keep OpenSSL's text for the audit. mitmproxy's text refers to mitmproxy options."""
        yield from tls.TLSLayer.on_handshake_error(self, err)
        self.event_to_child = _ignore  # type: ignore[method-assign]

    def send_close(self, command: commands.CloseConnection) -> CommandGenerator[None]:
        """Send close_notify first (RFC 8446 §6.1), so that a client can detect truncation."""
        if self.tls and not isinstance(command, CutOff):
            with contextlib.suppress(SSL.Error):
                self.tls.shutdown()
            yield from self.tls_interact()
        yield from super().send_close(command)


def _ignore(event: events.Event) -> CommandGenerator[None]:
    yield from ()
