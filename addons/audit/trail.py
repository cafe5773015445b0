"""Writes the audit: one JSON line per request, tunnel and refused connection.

No other addon writes records, and no record is written twice (`hooks.end_reporting`). If a record
cannot be written, the hook raises, which ends the connection like any other defect; from then on
requests are refused until a record can be written. With `when_unwritable: continue` requests are
not refused. Worker processes share the failure: after one of them failed, all of them refuse. The
log reports the failure once, and later a record counts the lost records. `probe` finds out without
a request that records can be written again.

Each process is a writer with its own chain (`audit.chain`). Its first record says that it has
started, and its last one that it has ended.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import secrets
import time
from pathlib import Path

from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from ibcm_bridge.addons.audit.file import AuditFile, OnlyWriter, Turn
from ibcm_bridge.addons.clock import Clock, utc_now
from ibcm_bridge.addons.connections import ConnectionRecord, ExchangeEnded
from ibcm_bridge.addons.events import Ended, EndedTunnel, RefusedConnection
from ibcm_bridge.addons.stages import HeadRead
from ibcm_bridge.audit import record as audit
from ibcm_bridge.audit.chain import POINT_NAME, WRITER_BYTES, Chain, Point
from ibcm_bridge.authentication.client import AuthenticatedClient
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.addresses import address_text, socket_address
from ibcm_bridge.policy.policy import WhenUnwritable
from ibcm_bridge.request.authorization import Authorized

logger = logging.getLogger(__name__)

points_logger = logging.getLogger("ibcm_bridge.addons.audit.points")
"""The command line logs these at the level INFO too."""

POINT_SECONDS = 60.0
"""The interval of the points in the log and the metrics, in seconds."""


class AuditTrail:
    """The audit file, or standard output."""

    def __init__(
        self,
        path: Path | None,
        when_unwritable: WhenUnwritable = WhenUnwritable.REFUSE,
        clock: Clock = utc_now,
        turn: Turn | None = None,
    ) -> None:
        """Open the file for appending, and begin a chain. Raise OSError if it cannot be opened."""
        self._turn = turn or OnlyWriter()
        self._file = AuditFile(path, self._turn)
        self._chain = Chain(secrets.token_hex(WRITER_BYTES))
        self._when_unwritable = when_unwritable
        self._clock = clock
        self._failed = False
        self._lost = 0
        self.lost = 0
        """The number of records that could not be written, since the start."""
        self.not_reopened: str | None = None
        """Why records go to a renamed file."""
        self.problem: str | None = None
        """Why records cannot be written, in the words of the operating system."""
        self.point: Point | None = None
        """A record that was the last one, at most `POINT_SECONDS` ago if there were later ones."""
        self._point_at = time.monotonic()
        self.outcome: str | None = None
        """How the process ends, for its last record."""
        with contextlib.suppress(Exception):
            # If that fails, it is logged, and the first record follows later.
            self._write()

    def head_read(self, read: HeadRead) -> HeadRead:
        """Refuse requests while the audit is not writable. This decides first on each request."""
        self._require_writable()
        return read

    def server_connect(self, _data: ServerConnectionHookData) -> None:
        """Refuse tunnels while the audit is not writable. Requests were checked before."""
        self._require_writable()

    def close(self) -> None:
        """End the chain and close the file. A failure is only logged: the bridge must stop."""
        with contextlib.suppress(Exception):
            self._write()
            self._append(_writer_ended(self.outcome, self._clock()))
        self._set_point()
        if self._lost:
            logger.critical("%d records could not be written to the audit", self._lost)
        try:
            self._file.close()
        except OSError:
            logger.critical("cannot close the audit")

    def ended(self, ended: Ended) -> None:
        """Write the record of a request, a tunnel or a refused connection."""
        self._write(*_parts_of(ended, self._clock()))

    def _require_writable(self) -> None:
        if self._when_unwritable is WhenUnwritable.REFUSE and (self._failed or self._turn.failed):
            # The refusal itself is recorded, so the next attempt finds out if writing works again.
            raise OSError("the audit is not writable")

    def probe(self) -> None:
        """Find out, without a request, whether records can be written. Never raises."""
        with contextlib.suppress(Exception):
            if self._failed:
                self._write()
            else:
                self.problem = self._file.problem()
            self._report_not_reopened()
            if time.monotonic() - self._point_at >= POINT_SECONDS:
                self._set_point()

    def _report_not_reopened(self) -> None:
        before, self.not_reopened = self.not_reopened, self._file.not_reopened
        if self.not_reopened is not None and before is None:
            text = "the audit file was renamed, and cannot be opened again: %s; records go to the "
            logger.error(text + "renamed file", self.not_reopened)
        elif self.not_reopened is None and before is not None:
            logger.warning("the audit file is open again")

    def _set_point(self) -> None:
        """Log the last record, unless it was logged before."""
        self._point_at = time.monotonic()
        if self._chain.sequence and self._chain.point != self.point:
            self.point = self._chain.point
            points_logger.info(
                "%s %s", POINT_NAME, self.point, extra={"fields": self.point._asdict()}
            )

    def _append(self, *parts: audit.Record | str) -> None:
        """Write a line, as the next record of the chain."""
        line = audit.line(*parts, self._chain.members())
        self._file.write(line)
        self._chain = self._chain.after(line)

    def _write(self, *parts: audit.Record | str) -> None:
        """Write a record. Write before it what is missing: the start, the number of lost ones."""
        # Any exception before the end counts as a failure, not only OSError.
        failed_before, self._failed = self._failed, True
        try:
            if not self._chain.sequence:
                self._append(_writer_started(self._clock()))
            if self._lost:
                self._append(_lost_records(self._lost, self._clock()))
                logger.warning("the audit is writable again; %d records were lost", self._lost)
                self._lost = 0
            if parts:
                self._append(*parts)
        except Exception as error:
            self._lose(error, records=bool(parts), failed_before=failed_before)
            if self._when_unwritable is WhenUnwritable.REFUSE or not isinstance(error, OSError):
                raise
        else:
            self._failed, self.problem = False, None

    def _lose(self, error: Exception, *, records: bool, failed_before: bool) -> None:
        self._lost += records
        self.lost += records
        system = error.strerror if isinstance(error, OSError) else None
        self.problem = system or type(error).__name__
        if not failed_before:
            then = _THEN[self._when_unwritable]
            logger.critical("cannot write the audit: %s; %s", self.problem, then)


_THEN = {
    WhenUnwritable.REFUSE: "requests are refused",
    WhenUnwritable.CONTINUE: "requests continue without records",
}


def _writer_started(now: datetime.datetime) -> audit.Record:
    return {
        audit.TIME: _time(now),
        audit.EVENT: audit.Event.WRITER_STARTED.value,
        audit.PROCESS_ID: os.getpid(),
    }


def _writer_ended(outcome: str | None, now: datetime.datetime) -> audit.Record:
    return {
        audit.TIME: _time(now),
        audit.EVENT: audit.Event.WRITER_ENDED.value,
        audit.NOTE: outcome,
    }


def _lost_records(lost: int, now: datetime.datetime) -> audit.Record:
    return {
        audit.TIME: _time(now),
        audit.EVENT: audit.Event.RECORDS_LOST.value,
        audit.LOST_RECORDS: lost,
        audit.NOTE: "the audit was not writable",
    }


def _time(now: datetime.datetime) -> str:
    return now.isoformat(timespec="milliseconds")


def _first_fields(event: audit.Event, reference: str, now: datetime.datetime) -> dict[str, str]:
    return {audit.TIME: _time(now), audit.EVENT: event.value, audit.REFERENCE: reference}


def _connection_fields(connection: ConnectionRecord) -> audit.Record:
    client = connection.client
    return {
        audit.LISTENER: address_text(connection.listener.address),
        audit.POLICY: connection.policy,
        audit.CLIENT_ADDRESS: address_text(socket_address(client.peername)),
        audit.VIA: address_text(connection.via) if connection.via else None,
        audit.SERVER_NAME: connection.server_name,
        audit.TLS_VERSION: client.tls_version,
        audit.TLS_RESUMED: connection.resumed or None,
        audit.CLIENT_NAME: _client(connection),
        audit.CLIENT_CERTIFICATE: (
            audit.certificate_field(connection.certificate) if connection.certificate else None
        ),
    }


def _parts_of(ended: Ended, now: datetime.datetime) -> tuple[audit.Record | str, ...]:
    """Return the record of a request, a tunnel or a refused connection, in parts."""
    match ended:
        case EndedTunnel():
            return (tunnel_record(ended, now),)
        case RefusedConnection():
            return (refusal_record(ended, now),)
        case _:
            first, rest = _exchange_fields(ended, now)
            return audit.plain_members(first), _connection_members(ended.connection), rest


def _connection_members(connection: ConnectionRecord) -> str:
    """Return the fields of a connection, which are the same for all its requests, as JSON."""
    if not connection.audit_members:
        connection.audit_members = audit.members(_connection_fields(connection))
    return connection.audit_members


def refusal_record(refused: RefusedConnection, now: datetime.datetime) -> audit.Record:
    """Return the record of a connection that carried no request."""
    connection = refused.connection
    return {
        **_first_fields(audit.Event.CONNECTION_REFUSED, connection.reference, now),
        audit.VERDICT: None,
        **_connection_fields(connection),
        **audit.denial_fields(refused.denial),
        audit.TLS_ALERT: connection.alert,
        audit.DURATION_SECONDS: _seconds(connection.began),
    }


def tunnel_record(ended: EndedTunnel, now: datetime.datetime) -> audit.Record:
    """Return the record of a tunnel."""
    connection = ended.connection
    record: audit.Record = {
        **_first_fields(audit.Event.TUNNEL, connection.reference, now),
        audit.VERDICT: None,
        **_connection_fields(connection),
    }
    record[audit.SITE_SYSTEM] = address_text(ended.site_system)
    if ended.denial is None:
        record[audit.VERDICT] = audit.Verdict.ALLOW.value
        record[audit.DETAIL] = ended.error
        record[audit.NOTE] = "; ".join((*ended.notes, audit.TUNNEL_NOTE))
    else:
        record |= audit.denial_fields(ended.denial)
    record[audit.BYTES_FROM_CLIENT] = ended.bytes_from_client
    record[audit.BYTES_TO_CLIENT] = ended.bytes_to_client
    record[audit.DURATION_SECONDS] = _seconds(connection.began)
    return record


def exchange_record(ended: ExchangeEnded, now: datetime.datetime) -> audit.Record:
    """Return the record of a request."""
    first, rest = _exchange_fields(ended, now)
    return {**first, **_connection_fields(ended.connection), **rest}


def _exchange_fields(
    ended: ExchangeEnded, now: datetime.datetime
) -> tuple[dict[str, str], audit.Record]:
    """Return the fields before those of the connection, and the fields after them."""
    first = _first_fields(audit.Event.REQUEST, ended.reference, now)
    record: audit.Record = {}
    head, decision, authorized = ended.head, ended.decision, ended.authorized
    if head is not None:
        record[audit.METHOD] = head.method[: audit.MAX_TEXT].decode("ascii")
        record[audit.TARGET] = audit.target_field(head.target.raw)
    if isinstance(decision, Approved):
        record |= audit.observed_fields(ended.would_refuse)
        record |= audit.approved_fields(decision, ended.observed)
    else:
        record |= audit.denial_fields(decision)
    if authorized is not None:
        record.setdefault(audit.RULE, authorized.rule)
        record[audit.ROLE] = authorized.role.name
        if authorized.packet is not None:
            record[audit.UPLOAD] = authorized.packet.describe()
        record[audit.SITE_SYSTEM] = _site_system(ended, authorized)
        record[audit.DROPPED_HEADERS] = audit.dropped_field(authorized.dropped)
        record[audit.FORWARDED] = ended.forwarded
        record[audit.RESENT] = ended.resent or None
    record[audit.SHADOW] = audit.shadow_field(ended.shadow)
    record[audit.STATUS] = int(ended.status) if ended.status else None
    record[audit.BYTES_FROM_CLIENT] = len(ended.body)
    record[audit.BYTES_TO_CLIENT] = ended.bytes_out
    record[audit.NOTE] = "; ".join(filter(None, (ended.note, *ended.connection.notes)))
    record[audit.DURATION_SECONDS] = _seconds(ended.began)
    first[audit.VERDICT] = str(record.pop(audit.VERDICT))
    return first, record


def _site_system(ended: ExchangeEnded, authorized: Authorized) -> str | None:
    """Return the one that was tried last, or the only one that there is for the request."""
    listed = authorized.site_systems.listed
    return ended.site_system or (listed[0].name if len(listed) == 1 else None)


def _client(connection: ConnectionRecord) -> str | None:
    client = connection.authenticated
    return client.name if isinstance(client, AuthenticatedClient) else None


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 4)
