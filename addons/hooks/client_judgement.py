"""Judges connected clients again, as at the resumption of a TLS session.

1. The acceptance of a client has an end: the first end of a certificate of its path, or of a
   revocation list. A newer list or policy ends it for all clients at once.
2. An ended acceptance makes a connection `due`. Before each request the layer looks only at this
   flag, and asks for a decision if it is set (`client_due`): a client that is refused gets no
   further request through.
3. Every second, due connections without a request are judged too. Those whose client is refused
   are closed and recorded. A response under way ends first.

A client is judged by the policy of new connections, whatever policy its connection began with: by
the publication at the address of the connection, or if that is gone, by those of the same name that
have its roles. Its connection keeps these roles. Tunnels have no client to judge.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ibcm_bridge.addons.clock import Clock
from ibcm_bridge.addons.connections import ConnectionRecord, Connections
from ibcm_bridge.addons.events import RefusedConnection
from ibcm_bridge.addons.stages import ClientDue
from ibcm_bridge.addons.tls.current_trust import WITHOUT_END
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.authentication.client import Client, admit_anonymous, authenticate
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import (
    BridgePublication,
    HttpPublication,
    Listener,
    PlaintextListener,
)

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""The interval at which ends are looked for, and connections without a request are judged."""

SLICE_SECONDS = 0.005
"""How long clients are judged before other work has a turn. Thousands can be due at once."""


class Published(Protocol):
    """The parts of a policy that decide which clients are accepted."""

    @property
    def listeners(self) -> Mapping[Address, Listener | PlaintextListener]:
        """The listeners by their address."""

    @property
    def publication_tls(self) -> Sequence[PublicationTls]:
        """The TLS of each bridged publication."""


@dataclass(frozen=True, slots=True)
class _Nothing:
    """Before the first policy."""

    listeners: Mapping[Address, Listener | PlaintextListener] = field(default_factory=dict)
    publication_tls: Sequence[PublicationTls] = ()


class ClientJudgement:
    """Judges the clients of all open connections by the policy of new connections."""

    def __init__(
        self,
        connections: Connections,
        refused: Callable[[RefusedConnection], None],
        clock: Clock,
    ) -> None:
        """`refused` records a connection that ends without a request under way."""
        self._connections = connections
        self._refused = refused
        self._clock = clock
        self._policy: Published = _Nothing()

    def use(self, policy: Published) -> None:
        """Judge all clients by another policy, and again after each renewal of its lists."""
        for tls in self._policy.publication_tls:
            tls.replaced = True
        self._policy = policy
        for tls in policy.publication_tls:
            if tls.client_trust is not None:
                tls.client_trust.renewed = self.judge_all
        self.judge_all()

    def judge_all(self) -> None:
        """Judge every client before its next request, and soon without one."""
        for record in self._connections:
            record.due = True

    def client_due(self, known: ClientDue) -> Client | Deny:
        """Judge a client before its request."""
        return self._judge(known.connection)

    async def keep_judging(self) -> None:
        """Judge connections without a request until it is cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            due = self._due(self._clock())
            if due:
                await self._judge_idle(due)

    def _due(self, now: datetime.datetime) -> list[ConnectionRecord]:
        found = []
        for record in self._connections:
            if now >= record.accepted_until:
                record.due = True
            if record.due and record.authenticated is not None and not record.under_way:
                found.append(record)
        return found

    async def _judge_idle(self, due: Iterable[ConnectionRecord]) -> None:
        turn_ends = time.monotonic() + SLICE_SECONDS
        for record in due:
            # Meanwhile it can have been judged before a request, or closed.
            if record.due and not record.under_way and record in self._connections:
                self._end_if_refused(record)
            if time.monotonic() >= turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.monotonic() + SLICE_SECONDS

    def _end_if_refused(self, record: ConnectionRecord) -> None:
        try:
            if isinstance(judged := self._judge(record), Deny):
                # Its layer closes it in a moment. The flag stays, so no request passes before.
                record.give_way(judged)
                self._refused(RefusedConnection(record, judged))
        except Exception as error:  # a defect must not stop the judging of other clients
            logger.error("defect in the judgement of a client: %s", type(error).__name__)
            where = rules.DEFECT_IN.of("client judgement")
            record.give_way(Deny(Reason.BRIDGE_DEFECT, where, type(error).__name__))

    def _judge(self, record: ConnectionRecord) -> Client | Deny:
        refusals = []
        for publication in self._publications(record):
            judged = self._judge_by(publication, record)
            if not isinstance(judged, Deny):
                return judged
            refusals.append(judged)
        if refusals:
            return refusals[0]
        text = "the policy no longer publishes this server name over HTTP with the same roles"
        return Deny(Reason.UNKNOWN_NAME, rules.LISTENER_PUBLICATIONS, text)

    def _judge_by(self, publication: HttpPublication, record: ConnectionRecord) -> Client | Deny:
        certificate, is_open = record.certificate, not _requests_certificates(publication)
        # Nothing judges the certificate later, so all roles of the connection must be open to all.
        if certificate is None or (is_open and _has_roles_of(publication, record)):
            anonymous = admit_anonymous(publication)
            if not isinstance(anonymous, Deny):
                record.judged(WITHOUT_END)
            return anonymous
        tls = next(tls for tls in self._policy.publication_tls if tls.publication is publication)
        connection, trust = record.tls_connection, tls.client_trust
        assert connection is not None
        if trust is None:
            text = "the policy requests no client certificates, and lacks a role of the connection"
            return Deny(Reason.CERTIFICATE_UNTRUSTED, rules.CLIENTS_TRUST, text)
        accepted = trust.verify_again(*connection.sent_path(record.authorities))
        if isinstance(accepted, Deny):
            return accepted
        client = authenticate(tls.publication, certificate)
        if not isinstance(client, Deny):
            record.judged(accepted)
        return client

    def _publications(self, record: ConnectionRecord) -> Sequence[HttpPublication]:
        """Return the publications that may accept the client of a connection; one is enough.

        The connection keeps all its roles. So no publication without one of them may accept its
        client at another address, and none without certificates if another one requests them.
        """
        own = self._named(record, self._policy.listeners.get(record.listener.address))
        if any(_has_roles_of(publication, record) for publication in own):
            return own
        moved = [
            publication
            for listener in self._policy.listeners.values()
            for publication in self._named(record, listener)
            if _has_roles_of(publication, record)
        ]
        if record.certificate is not None:
            moved = [each for each in moved if _requests_certificates(each)] or moved
        return moved or own

    @staticmethod
    def _named(
        record: ConnectionRecord, listener: Listener | PlaintextListener | None
    ) -> Sequence[HttpPublication]:
        """Return the publication of a connection at a listener, if it is there."""
        before = record.publication
        assert before is not None
        return [
            publication
            for publication in (() if listener is None else listener.published)
            if isinstance(publication, HttpPublication)
            and (publication.name, type(publication)) == (before.name, type(before))
        ]


def _requests_certificates(publication: HttpPublication) -> bool:
    return isinstance(publication, BridgePublication) and publication.client_trust is not None


def _has_roles_of(publication: HttpPublication, record: ConnectionRecord) -> bool:
    before = record.publication
    assert isinstance(before, HttpPublication)
    return _roles(before) <= _roles(publication)


def _roles(publication: HttpPublication) -> set[tuple[str, str]]:
    """Return the directories of a publication, each with its role."""
    return {(directory, role.profile.name) for directory, role in publication.directories.items()}
