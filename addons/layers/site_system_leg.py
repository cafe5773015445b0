"""The site-system leg: a separate TLS connection, opened after a decision allows it.

A leg belongs to one client connection and is never shared or pooled, because Windows authentication
applies to the connection (protocol.md §10).

A leg is a small layer stack: mitmproxy's `ServerTLSLayer`, and on top `_Endpoint`, which turns
events into reports for the exchange layer, and that layer's requests into commands.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.tls import ServerTLSLayer
from mitmproxy.proxy.tunnel import TunnelState

from ibcm_bridge.addons.layers.site_system_states import SiteSystemState
from ibcm_bridge.addons.layers.small_layer import SmallLayer
from ibcm_bridge.addons.layers.tls_ending import TlsEnded, TlsEnding
from ibcm_bridge.addons.tls.site_system_leg import (
    alert_received,
    close_session,
    forget_session,
    is_accepted,
    keep_session,
    verification_failure,
)
from ibcm_bridge.site_system_leg.origination import Origination


@dataclass
class Opened(commands.Command):
    """Report: the leg is open and verified, or why not."""

    error: str | None


@dataclass
class Received(commands.Command):
    """Report: plaintext from the site system."""

    data: bytes


@dataclass
class Closed(commands.Command):
    """Report: the site system closed the leg; `clean` with close_notify (RFC 8446 §6.1)."""

    clean: bool


@dataclass
class _Close(events.Event):
    pass


LegReport = Opened | Received | Closed


class LegServer(Server):
    """mitmproxy's server connection, with the terms that its hooks need for the handshake."""

    def __init__(self, terms: Origination) -> None:
        super().__init__(address=terms.address)
        self.terms = terms
        self.tls = terms.tls is not None
        self.sni = terms.server_name if terms.tls is not None else None


class SiteSystemLeg:
    """One connection to one site system, for one client connection."""

    def __init__(self, context: Context, terms: Origination, state: SiteSystemState) -> None:
        self._idle_since: float | None = None
        self.terms = terms
        self.state = state
        self.server = LegServer(terms)
        self.authenticates = False
        """True after the client has begun Windows authentication on it (protocol.md §10). From then
        on no other leg can replace it."""
        self.context = context.fork()
        self.context.server = self.server
        self._tls = _LegTls(self.context, self.server) if terms.tls is not None else None
        self.stack: Layer = _Endpoint(self.context)
        if self._tls is not None:
            self._tls.child_layer = self.stack
            self.stack = self._tls
        # mitmproxy lists the layers in their context: a reference cycle, and not used here.
        self.context.layers.clear()

    @property
    def kept(self) -> bool:
        """True if the leg has already carried an earlier request and its response."""
        return self._idle_since is not None

    def keep(self) -> None:
        """Keep the leg for the next request. The response is complete, and the leg is now idle."""
        if self._tls is not None:
            self._tls.keep(first=not self.kept)
        self._idle_since = time.monotonic()

    def usable(self, idle_seconds: float) -> bool:
        """Return whether a kept leg can carry another request.

        Not if the site system's certificate has expired or has been revoked meanwhile. An
        authenticated leg does not become too old, because no other can replace it.
        """
        if self._idle_since is None or self.server.state is not ConnectionState.OPEN:
            return False
        if self._tls is not None and not self._tls.is_accepted:
            return False
        return self.authenticates or time.monotonic() - self._idle_since < idle_seconds

    @property
    def alert(self) -> str | None:
        """The fatal alert with which the site system ended the leg, if any."""
        return self._tls.alert if self._tls is not None else None

    @property
    def verification_failure(self) -> str | None:
        """Why the site system's certificate was refused, if it was."""
        return self._tls.verification_failure if self._tls is not None else None

    def open(self) -> CommandGenerator[None]:
        """Connect, make the handshake and verify. Reports `Opened`."""
        yield from self.stack.handle_event(events.Start())

    def send(self, data: bytes) -> CommandGenerator[None]:
        """Send plaintext."""
        if self._tls is not None:
            yield from self._tls.send_data(data)
        else:
            yield commands.SendData(self.server, data)

    def close(self) -> CommandGenerator[None]:
        """Close the leg."""
        yield from self.stack.handle_event(_Close())


class _LegTls(TlsEnding, ServerTLSLayer):
    """mitmproxy's server TLS layer."""

    def forward(self, plaintext: bytes) -> CommandGenerator[None]:
        """Report plaintext, as `_Endpoint` does, which waits until the leg is open."""
        if self.tunnel_state is TunnelState.OPEN:
            yield Received(plaintext)
        else:
            yield from super().forward(plaintext)

    def on_handshake_error(self, err: str) -> CommandGenerator[None]:
        """Do not offer the session again that the site system may have refused."""
        if self.tls:
            forget_session(self.tls)
        yield from super().on_handshake_error(err)

    def keep(self, *, first: bool) -> None:
        """Keep the session after the first response, and no memory of any."""
        if first:
            keep_session(self.tls)
        self._connection.release_memory()

    @property
    def is_accepted(self) -> bool:
        """Whether the site system's certificate would be accepted now."""
        return is_accepted(self.tls) if self.tls else False

    def send_close(self, command: commands.CloseConnection) -> CommandGenerator[None]:
        """Leave the session to later legs."""
        if self.tls:
            close_session(self.tls)
        yield from super().send_close(command)

    @property
    def alert(self) -> str | None:
        """The received fatal alert, if any."""
        return alert_received(self.tls) if self.tls else None

    @property
    def verification_failure(self) -> str | None:
        """Why the peer's certificate was refused, if it was."""
        return verification_failure(self.tls) if self.tls else None


class _Endpoint(SmallLayer):
    """The top layer of a leg."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        server = self.context.server
        if isinstance(event, events.Start):
            error = yield commands.OpenConnection(server)
            yield Opened(error)
        elif isinstance(event, events.DataReceived):
            yield Received(event.data)
        elif isinstance(event, events.ConnectionClosed):
            yield commands.CloseConnection(server)
            # Without TLS only a FIN can end a response (RFC 9112 §6.3).
            yield Closed(event.clean if isinstance(event, TlsEnded) else not server.tls)
        elif isinstance(event, _Close) and server.state is not ConnectionState.CLOSED:
            yield commands.CloseConnection(server)
