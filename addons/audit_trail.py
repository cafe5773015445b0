"""Writes the audit: one JSON line per request, tunnel and refused connection.

No addon else writes a record, and no record is written twice. A record that cannot be written is
an exception in a hook, and so ends its connection like any other defect.
"""

from __future__ import annotations

import datetime
import logging
import sys
import time
from pathlib import Path
from typing import TextIO

from mitmproxy.connection import Client
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from ibcm_bridge import audit
from ibcm_bridge.addons.client_authentication import failed_handshake
from ibcm_bridge.addons.connections import ConnectionRecord, Connections, Exchange
from ibcm_bridge.addons.endings import EndedTunnel, RefusedConnection
from ibcm_bridge.decisions import Approved, Deny, Reason
from ibcm_bridge.identity import AuthenticatedClient
from ibcm_bridge.policy import TunnelPublication

logger = logging.getLogger(__name__)


class AuditTrail:
    """The audit file, or standard output."""

    def __init__(self, connections: Connections, path: Path | None) -> None:
        """Open the file for appending. OSError where that fails, before anything is served."""
        self._connections = connections
        self._stream: TextIO = path.open("a", encoding="utf-8") if path else sys.stdout
        self._failed = False

    def requestheaders(self, _flow: HTTPFlow) -> None:
        """Refuse what could not be written down; the first hook of every request."""
        self._demand_working()

    def server_connect(self, _data: ServerConnectionHookData) -> None:
        """Open no tunnel either; requests have been asked about by now."""
        self._demand_working()

    def close(self) -> None:
        """Flush and close. Who cannot write must still be able to stop."""
        try:
            if self._stream is not sys.stdout:
                self._stream.close()
        except OSError:
            logger.critical("the last records could not be written to the audit")

    def tls_failed_client(self, data: TlsData) -> None:
        """A handshake that the client did not finish."""
        record = self._connections.of(data.context.client)
        self.connection_refused(failed_handshake(record, data.conn.error))

    def connection_refused(self, refused: RefusedConnection) -> None:
        """A connection that carried nothing."""
        connection = refused.connection
        if connection.written:
            return
        connection.written = True
        self._write(
            {
                **_of_connection(audit.Event.CONNECTION_REFUSED, connection, connection.reference),
                **audit.denial_fields(refused.denial),
                audit.ALERT: connection.alert,
                audit.SECONDS: _seconds(connection.began),
            }
        )

    def tunnel_ended(self, ended: EndedTunnel) -> None:
        """A tunnel: how much passed, and that nothing else is known."""
        connection = ended.connection
        connection.written = True
        assert isinstance(connection.publication, TunnelPublication)
        host, port = connection.publication.site_system
        record = _of_connection(audit.Event.TUNNEL, connection, connection.reference)
        record[audit.SITE_SYSTEM] = f"{host}:{port}"
        if ended.opened:
            record[audit.VERDICT] = audit.Verdict.ALLOW.value
            record[audit.DETAIL] = ended.error
            record[audit.NOTE] = audit.TUNNEL_NOTE
        else:
            unreachable = Deny(Reason.SITE_SYSTEM_UNREACHABLE, "site_system", ended.error or "")
            record.update(audit.denial_fields(unreachable))
        record[audit.BYTES_IN] = ended.bytes_from_client
        record[audit.BYTES_OUT] = ended.bytes_to_client
        record[audit.SECONDS] = _seconds(connection.began)
        self._write(record)

    def exchange_ended(self, exchange: Exchange) -> None:
        """A request, however it ended."""
        if exchange.written:
            return
        exchange.written = True
        self._write(_of_exchange(exchange))

    def record_defect(self, client: Client, where: str, error: BaseException) -> None:
        """Write down that the bridge failed. Never raises: it is the last thing that can be done.

        The exception's type is named and its text is not, which may quote what a client sent.
        """
        try:
            connection = self._connections.of(client)
            defect = Deny(Reason.BRIDGE_DEFECT, where, type(error).__name__)
            exchange = connection.exchange
            if exchange is None:
                self.connection_refused(RefusedConnection(connection, defect))
            elif not exchange.written:
                exchange.decision = defect
                self.exchange_ended(exchange)
        except Exception:
            logger.critical("a defect in %s could not be written to the audit", where)

    def _demand_working(self) -> None:
        if self._failed:
            # The refusal is written down, or tried to: so it is found out when it works again.
            raise OSError("the audit cannot be written")

    def _write(self, record: audit.Record) -> None:
        # Whatever is raised in between, an OSError or not, it has failed.
        self._failed = True
        self._stream.write(audit.Line(record).text())
        self._stream.flush()
        self._failed = False


def _of_connection(
    event: audit.Event, connection: ConnectionRecord, reference: str
) -> audit.Record:
    host, port = connection.listener.address
    client = connection.client
    return {
        audit.TIME: datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        audit.EVENT: event.value,
        audit.REFERENCE: reference,
        audit.VERDICT: None,
        audit.LISTENER: f"{host}:{port}",
        audit.PEER: f"{client.peername[0]}:{client.peername[1]}",
        audit.SERVER_NAME: connection.server_name,
        audit.TLS_VERSION: client.tls_version,
        audit.CLIENT: _client(connection),
        audit.CERTIFICATE: (
            audit.certificate_field(connection.certificate) if connection.certificate else None
        ),
    }


def _of_exchange(exchange: Exchange) -> audit.Record:
    record = _of_connection(audit.Event.REQUEST, exchange.connection, exchange.reference)
    head, decision = exchange.head, exchange.decision
    if head is not None:
        record[audit.METHOD] = head.method[: audit.MAX_TEXT].decode("ascii")
        record[audit.TARGET] = audit.target_field(head.target)
    if isinstance(decision, Approved):
        record[audit.VERDICT] = audit.Verdict.ALLOW.value
        record[audit.ENDPOINT] = decision.endpoint[: audit.MAX_TEXT]
        record[audit.INSPECTED] = decision.views
    else:
        # Whoever left before a decision was made was not allowed anything.
        gone = Deny(Reason.BODY_INCOMPLETE, "exchange", "the client left before a decision")
        record.update(audit.denial_fields(decision if isinstance(decision, Deny) else gone))
    if exchange.authorized is not None:
        record.setdefault(audit.RULE, exchange.authorized.rule)
        record[audit.ROLE] = exchange.authorized.role.name
        record[audit.SITE_SYSTEM] = exchange.authorized.site_system.name
        record[audit.DROPPED_HEADERS] = tuple(
            name[: audit.MAX_NAME] for name in exchange.authorized.dropped[: audit.MAX_NAMES]
        )
        record[audit.FORWARDED] = exchange.forwarded
    record[audit.STATUS] = int(exchange.status) if exchange.status else None
    record[audit.BYTES_IN] = len(exchange.body)
    record[audit.BYTES_OUT] = exchange.bytes_out
    record[audit.NOTE] = exchange.note
    record[audit.SECONDS] = _seconds(exchange.began)
    return record


def _client(connection: ConnectionRecord) -> str | None:
    client = connection.authenticated
    return client.name if isinstance(client, AuthenticatedClient) else None


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 4)
