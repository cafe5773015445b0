"""What is known of each client connection and each request on it, while they last."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

import h11
from mitmproxy import connection
from mitmproxy.http import HTTPFlow

from ibcm_bridge.addons.tls.published_legs import PublishedLegs
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions.denial import Deny
from ibcm_bridge.inspection.response import InspectedReply
from ibcm_bridge.messages.ccm_reply import CcmReply
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
from ibcm_bridge.site_system_leg.gate import Decision
from ibcm_bridge.uploads.session import Session, UploadPart

_EXCHANGE = "ibcm_bridge.exchange"


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
    exchange: Exchange | None = None
    """The request under way."""


@dataclass(frozen=True, slots=True)
class CollectedReply:
    """An answer that is to be read before it is passed on."""

    content_type: bytes
    body: bytes | Deny
    """All of it, or why it cannot be had."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its answer, on a connection."""

    connection: ConnectionRecord
    head: RequestHead | None
    reference: str = field(default_factory=new_reference)
    began: float = field(default_factory=time.monotonic)
    body: bytes = b""
    decision: Decision = None
    authorized: Authorized | None = None
    """What the head was allowed; kept when something later is refused."""
    forwarded: bool = False
    """Whether the site system was sent the request, whatever came of it."""
    resent: bool = False
    """Whether it was sent a second time, as the leg that it came on was closed."""
    status: int | None = None
    bytes_out: int = 0
    upload_session: Session | None = None
    """Of an upload, the client's own session that the request is of."""
    withdraws: Exchange | None = None
    """Of the bridge's own Cancel-Session, the refused request that waits for it."""
    upload: UploadPart | None = None
    """What the request carries of it, once that is kept."""
    response: h11.Response | None = None
    """The head of the site system's answer."""
    collected: CollectedReply | None = None
    """While it is decided on."""
    reply: CcmReply | None = None
    """The answer to a CCM_POST, once it has been read."""
    inspected_reply: InspectedReply | None = None
    """That an answer which is read may be passed on."""
    observed: tuple[str, ...] = ()
    """What the answer would have been refused for, did the policy not say to observe."""
    note: str = ""
    written: bool = False


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


def attach_exchange(flow: HTTPFlow, exchange: Exchange) -> None:
    """Let the addons find the exchange by the flow."""
    flow.metadata[_EXCHANGE] = exchange


def exchange_of(flow: HTTPFlow) -> Exchange:
    """The exchange of a flow. KeyError for a flow that is not ours: a defect."""
    exchange: Exchange = flow.metadata[_EXCHANGE]
    return exchange
