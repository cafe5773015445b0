"""What is known of each client connection and each request on it, while they last."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Protocol

from mitmproxy import connection

from ibcm_bridge.addons.tls.published_legs import PublishedLegs
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.addresses import Address
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
)
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.request.memory_budget import Budget, Hold


def new_reference() -> str:
    """A name for a record that a client may be told. Random, so it says nothing."""
    return uuid.uuid4().hex[:12]


@dataclass(slots=True, eq=False)
class ConnectionRecord:
    """One client connection. Filled in as it goes; never reused."""

    client: connection.Client
    listener: Listener | PlaintextListener
    reference: str = field(default_factory=new_reference)
    began: float = field(default_factory=time.monotonic)
    server_name: str | None = None
    publication: Publication | PlaintextPublication | None = None
    certificate: CertificateFacts | None = None
    """What the client presented, accepted or not."""
    alert: str | None = None
    """The TLS alert that was sent to the client."""
    handshake_refusal: Deny | None = None
    """Why the verify callback refused."""
    resumed: bool = False
    """Whether a TLS session was resumed."""
    notes: tuple[str, ...] = ()
    """What the audit should say of how the certificate was accepted."""
    legs: PublishedLegs | None = None
    """TLS of its publication, as the policy had it that the connection began under."""
    accepted: AuthenticatedClient | None = None
    """Whom its certificate names; `authenticated` once the handshake is finished."""
    authenticated: Client | None = None
    """Whom `authentication` has let in; by its certificate or, where none is needed, without."""
    may_dial: Address | None = None
    """The one address that a decision has allowed to connect to, now."""
    written: bool = False
    """Whether the connection itself has its audit record."""
    hold: Hold = field(kw_only=True)
    """What of its requests is kept in memory, counted."""
    under_way: tuple[UnderWay, ...] = ()
    """The request under way; and after a refused one, what the bridge sends because of it."""


@dataclass(frozen=True, slots=True)
class ExchangeEnded:
    """A request and its response, once they have ended: what there is to say of them."""

    connection: ConnectionRecord
    reference: str
    began: float
    head: RequestHead | None
    """As it came; None where it could not be read."""
    body: bytes
    decision: Approved | Deny
    authorized: Authorized | None
    """What the head was allowed; kept when something later is refused."""
    forwarded: bool
    """Whether the site system was sent the request, whatever came of it."""
    resent: bool
    """Whether it was sent a second time, as the leg that it came on was closed."""
    status: int | None
    bytes_out: int
    """Of the body of the response."""
    observed: tuple[str, ...]
    """What the response would have been refused for, did the policy not say to observe."""
    note: str


class UnderWay(Protocol):
    """A request whose end is still to be recorded."""

    def end(self, defect: Deny | None = None) -> ExchangeEnded | None:
        """What there is to record now, by a defect or not; None after the first call."""


class Connections:
    """The records of the open connections, by mitmproxy's connection id.

    At most `limit` at once; what their requests hold in memory comes out of one `memory_budget`.
    """

    def __init__(self, limit: int, budget: Budget) -> None:
        self.limit = limit
        self.budget = budget
        self._records: dict[str, ConnectionRecord] = {}

    @property
    def full(self) -> bool:
        """Whether there can be no other one."""
        return len(self._records) >= self.limit

    def open(
        self, client: connection.Client, listener: Listener | PlaintextListener
    ) -> ConnectionRecord:
        """Begin a record."""
        record = ConnectionRecord(client, listener, hold=Hold(self.budget))
        self._records[client.id] = record
        return record

    def of(self, client: connection.Client) -> ConnectionRecord:
        """The record of a connection. KeyError for one we did not accept: a defect."""
        return self._records[client.id]

    def close(self, client: connection.Client) -> None:
        """Forget a connection, and what it held."""
        record = self._records.pop(client.id, None)
        if record is not None:
            record.hold.end()
