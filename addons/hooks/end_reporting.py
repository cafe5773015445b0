"""Reports the end of each connection, tunnel and request once, to every observer.

Ends are events (`addons.events`), and one end can cause several: a hook that fails after the audit
record is also a defect, and a failed handshake calls mitmproxy's own hook. This addon turns them
into one of three values. The audit gets it first: an end that it cannot record is reported nowhere
else. To count or export ends, add a `TrafficObserver` (`addons.events`); this file does
not change.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

from mitmproxy.tls import TlsData

from ibcm_bridge.addons.connections import ConnectionRecord, Connections, ExchangeEnded
from ibcm_bridge.addons.events import Defect, Ended, EndedTunnel, RefusedConnection, TrafficObserver
from ibcm_bridge.addons.tls.handshake_failure import why_no_handshake
from ibcm_bridge.authentication.client import certificate_missing
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.publications import BridgePublication

TURNED_AWAY_SECONDS = 1.0
"""The least interval between two records of connections over the limit, in seconds."""


class EndReporting:
    """Turns each end into one value."""

    def __init__(self, connections: Connections, observers: Sequence[TrafficObserver]) -> None:
        """`observers` get each end in their order. If one raises, later ones do not get it."""
        self._connections = connections
        self._observers = observers
        self._turned_away: dict[Deny, tuple[int, float]] = {}
        """By limit: the number of connections since the last record of one, and its time."""

    def tls_failed_client(self, data: TlsData) -> None:
        """Report a handshake that the client did not finish."""
        record = self._connections.of(data.context.client)
        self.connection_refused(RefusedConnection(record, _why_failed(record, data.conn.error)))

    def connection_refused(self, refused: RefusedConnection) -> None:
        """Report a connection that carried no request."""
        if not refused.connection.written:
            refused.connection.written = True
            self._notify(refused)

    def turned_away(self, connection: ConnectionRecord) -> None:
        """Report a connection over a limit, at most once per second to save disk space."""
        over = connection.over
        if over is None:
            over = Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_CONNECTIONS)
        count, at = self._turned_away.get(over, (0, -math.inf))
        count, now = count + 1, time.monotonic()
        if now - at < TURNED_AWAY_SECONDS:
            self._turned_away[over] = count, at
            return
        detail = f"{count} connections closed since the last record of this kind"
        denial = dataclasses.replace(over, detail=detail)
        self.connection_refused(RefusedConnection(connection, denial))
        self._turned_away[over] = 0, now

    def tunnel_ended(self, ended: EndedTunnel) -> None:
        """Report a tunnel and its byte counts."""
        ended.connection.written = True
        self._notify(ended)

    def exchange_ended(self, ended: ExchangeEnded) -> None:
        """Report a request."""
        self._notify(ended)

    def defect(self, defect: Defect) -> None:
        """Report a defect of the bridge. It ends the requests under way."""
        connection = self._connections.of(defect.client)
        if not connection.under_way:
            self.connection_refused(RefusedConnection(connection, defect.denial))
            return
        # A request that waits for another one ends too, because it may never continue.
        *waiting, failed = connection.under_way
        # Another one waits for the bridge's own withdrawal, which no client gets a response to.
        refused = defect.refused and not waiting
        ends = failed.end(defect.denial, refused=refused), *(request.end() for request in waiting)
        for ended in ends:
            if ended is not None:
                self._notify(ended)

    def _notify(self, ended: Ended) -> None:
        for observer in self._observers:
            observer.ended(ended)


def _why_failed(record: ConnectionRecord, error: str | None) -> Deny:
    """Return why a handshake failed, from the verify callback or from OpenSSL."""
    if record.handshake_refusal is not None:
        return record.handshake_refusal
    # Only a bridged publication has a handshake.
    assert isinstance(record.publication, BridgePublication)
    if error is not None and "peer did not return a certificate" in error:
        return certificate_missing(record.publication.name)
    text = why_no_handshake(error or "", record.client_hello, record.publication.client_tls)
    return Deny(Reason.HANDSHAKE_FAILED, rules.LISTENER_TLS, text)
