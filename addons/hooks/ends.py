"""How each connection, tunnel and request ended: told once, to all who look on.

Whatever ends is an event (`addons.events`), and some ends have several: a hook that failed after
the audit was written is a defect too, and a handshake fails by mitmproxy's own hook. Here they
become one of three values. The audit is the first that is given it: what it cannot write down is
shown and counted nowhere else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from mitmproxy.tls import TlsData

from ibcm_bridge.addons.connections import ConnectionRecord, Connections, ExchangeEnded
from ibcm_bridge.addons.events import Defect, Ended, EndedTunnel, RefusedConnection, Watcher
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason

TURNED_AWAY_SECONDS = 1.0
"""Between two ends that tell of connections turned away."""


class Ends:
    """Makes one value of each end."""

    def __init__(self, connections: Connections, watchers: Sequence[Watcher]) -> None:
        """`watchers` are given each end in their order; what one raises, the next does not get."""
        self._connections = connections
        self._watchers = watchers
        self._turned_away = 0
        """Since the last end that told of one."""
        self._turned_away_at = -math.inf

    def tls_failed_client(self, data: TlsData) -> None:
        """A handshake that the client did not finish."""
        record = self._connections.of(data.context.client)
        self.connection_refused(RefusedConnection(record, _why_failed(record, data.conn.error)))

    def connection_refused(self, refused: RefusedConnection) -> None:
        """A connection that carried nothing."""
        if not refused.connection.written:
            refused.connection.written = True
            self._tell(refused)

    def turned_away(self, connection: ConnectionRecord) -> None:
        """A connection that was one too many; one end a second, or the disk would be next."""
        self._turned_away += 1
        now = time.monotonic()
        if now - self._turned_away_at < TURNED_AWAY_SECONDS:
            return
        detail = f"{self._turned_away} turned away since the last record of this kind"
        denial = Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_CONNECTIONS, detail)
        self.connection_refused(RefusedConnection(connection, denial))
        self._turned_away, self._turned_away_at = 0, now

    def tunnel_ended(self, ended: EndedTunnel) -> None:
        """A tunnel: how much passed, and that nothing else is known."""
        ended.connection.written = True
        self._tell(ended)

    def exchange_ended(self, ended: ExchangeEnded) -> None:
        """A request, however it ended."""
        self._tell(ended)

    def defect(self, defect: Defect) -> None:
        """The bridge failed: what was under way ends by that, unless it has ended."""
        connection = self._connections.of(defect.client)
        denial = Deny(Reason.BRIDGE_DEFECT, rules.DEFECT_IN.of(defect.where), defect.kind)
        if not connection.under_way:
            self.connection_refused(RefusedConnection(connection, denial))
            return
        # A request that waits for another is told too: nobody may come back to it.
        *waiting, failed = connection.under_way
        for ended in (failed.end(denial), *(one.end() for one in waiting)):
            if ended is not None:
                self._tell(ended)

    def _tell(self, ended: Ended) -> None:
        for watcher in self._watchers:
            watcher.ended(ended)


def _why_failed(record: ConnectionRecord, error: str | None) -> Deny:
    """Why a handshake failed: what the verify callback said, or what OpenSSL said."""
    if record.handshake_refusal is not None:
        return record.handshake_refusal
    if error is not None and "peer did not return a certificate" in error:
        # As `authentication.admit_anonymous` names it, where there is a publication to name.
        publication = record.publication
        rule = rules.CLIENTS_OF.of(publication.name) if publication else rules.CLIENTS
        return Deny(Reason.CERTIFICATE_MISSING, rule, "no certificate was presented")
    return Deny(Reason.HANDSHAKE_FAILED, rules.LISTENER_TLS, (error or "")[:200])
