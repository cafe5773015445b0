"""TLS with a client of a bridged publication."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from mitmproxy.proxy import commands
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers import tls
from OpenSSL import SSL

from ibcm_bridge.addons.layers.tls_ending import CutOff, TlsEnding


class BridgedClientTls(TlsEnding, tls.ClientTLSLayer):
    """mitmproxy's client TLS layer, ending as TLS should: with alerts sent and close_notify."""

    def __init__(
        self,
        context: Context,
        finished: Callable[[], None],
        refused: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(context)
        self._finished = finished
        self._refused = refused

    def receive_handshake_data(self, data: bytes) -> CommandGenerator[tuple[bool, str | None]]:
        """As mitmproxy's, and the handshake's deadline ends with it."""
        done, error = yield from super().receive_handshake_data(data)
        if done or error:
            self._finished()
        if done and self._refused():
            # A session was resumed whose client is not accepted any more. OpenSSL has no way to
            # send an alert now. Without close_notify it also forgets the session.
            return False, "the session is not accepted any more"
        if error and self.tls:
            # mitmproxy drops the alert that OpenSSL has prepared.
            yield from self.tls_interact()
        return done, error

    def on_handshake_error(self, err: str) -> CommandGenerator[None]:
        """Keep OpenSSL's words for the audit: mitmproxy's give advice on its own options."""
        yield from tls.TLSLayer.on_handshake_error(self, err)
        self.event_to_child = self.errored  # type: ignore[method-assign]

    def send_close(self, command: commands.CloseConnection) -> CommandGenerator[None]:
        """Say close_notify first (RFC 8446 §6.1), so that a truncated answer can be told."""
        if self.tls and not isinstance(command, CutOff):
            with contextlib.suppress(SSL.Error):
                self.tls.shutdown()
            yield from self.tls_interact()
        yield from super().send_close(command)
