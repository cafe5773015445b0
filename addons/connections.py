"""The state of each open client connection and of the requests on it."""

from __future__ import annotations

import datetime
import math
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mitmproxy import connection

from ibcm_bridge.addons.tls.connection import LegConnection
from ibcm_bridge.addons.tls.current_trust import WITHOUT_END, Accepted
from ibcm_bridge.addons.tls.publication_tls import PublicationTls
from ibcm_bridge.addons.tls.verification import CertificationPath
from ibcm_bridge.audit.shadow import Judged, Outcome
from ibcm_bridge.authentication.certificate import CertificateFacts
from ibcm_bridge.authentication.client import AuthenticatedClient, Client
from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.decisions.observing import Observed
from ibcm_bridge.identity.approval import Approved
from ibcm_bridge.policy.addresses import Address, socket_address
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.policy.publications import (
    Listener,
    PlaintextListener,
    PlaintextPublication,
    Publication,
    TunnelPublication,
)
from ibcm_bridge.request.authorization import Authorized
from ibcm_bridge.request.head import RequestHead
from ibcm_bridge.shares import Hold, Holder, Shares, Total, source_holder
from ibcm_bridge.sources import Elsewhere, Sources


def new_reference() -> str:
    """Return an id for a record. It is sent to clients, so it is random and carries no data."""
    return secrets.token_hex(6)


class Origin(NamedTuple):
    """Scheme, host and port in the URLs of a client's requests (RFC 9110 §4.3.1)."""

    scheme: bytes
    host: str
    port: int


def _nothing(_denial: Deny) -> None:
    pass


@dataclass(slots=True, eq=False)
class ConnectionRecord:
    """One client connection. Its fields are set as they become known."""

    client: connection.Client
    listener: Listener | PlaintextListener
    policy: str = ""
    """The digest of the policy that the connection began with."""
    ends_after_response: bool = False
    """True if the next response is the last one, because the bridge is stopping."""
    reference: str = field(default_factory=new_reference)
    began: float = field(default_factory=time.monotonic)
    server_name: str | None = None
    publication: Publication | PlaintextPublication | None = None
    via: Address | None = None
    """The load balancer that named the client in a PROXY header."""
    certificate: CertificateFacts | None = None
    """The certificate that the client presented, accepted or not."""
    client_hello: bytes = b""
    """The records of the ClientHello, until the handshake ends."""
    alert: str | None = None
    """The TLS alert that was sent to the client."""
    handshake_refusal: Deny | None = None
    """Why the verify callback refused the certificate."""
    authorities: CertificationPath = ()
    """What the client sent with its certificate when it began the session that it resumed."""
    due: bool = True
    """True if the client must be judged before its next request."""
    accepted_until: datetime.datetime = WITHOUT_END.until
    """When it becomes due, if no newer list or policy comes before."""
    tls_connection: LegConnection | None = None
    """OpenSSL's side of the client leg, which has the client's certificates."""
    resumed: bool = False
    """True if a TLS session was resumed."""
    notes: tuple[str, ...] = ()
    """Notes for the audit on how the certificate was accepted."""
    tls: PublicationTls | None = None
    """TLS contexts and trusts of its publication, from the generation that it began with."""
    accepted: AuthenticatedClient | None = None
    """The client that the certificate names. It becomes `authenticated` after the handshake."""
    authenticated: Client | None = None
    """The client that `authentication` accepted, with a certificate or, if allowed, without."""
    tunneled: bool = False
    """True while it is a tunnel."""
    may_dial: Address | None = None
    """The only address that may be connected to now, set by a decision."""
    shadow: ShadowJudge | None = None
    """Judges its requests by another policy, for the audit."""
    audit_members: str = ""
    """Its fields in the audit records of its requests, after the first of them."""
    written: bool = False
    """True if the connection itself has an audit record."""
    under_way: tuple[UnderWay, ...] = ()
    """The request under way, and after a refused one the withdrawal that it causes."""
    idle_since: float = -math.inf
    """When the last request ended, by `time.monotonic`."""
    entered: str | None = None
    """The host that it is counted for, among the connections of its source."""
    over: Deny | None = None
    """The limit of its source that it is over."""
    capacity: Capacity = field(kw_only=True)
    """What all connections share."""
    holder: Holder = field(init=False)
    """Who this connection counts for: a client's key, or a source address."""
    slot: Hold = field(init=False)
    """One connection: in its handshake, then of a tunnel or a client."""
    memory: Hold = field(init=False)
    """The bytes that its requests and responses use."""
    give_way: Callable[[Deny], None] = field(default=_nothing, init=False)
    """Called when another client needs what this connection holds. It must not raise."""

    def __post_init__(self) -> None:
        """Count the connection for its source address, until a client is admitted."""
        shared = self.capacity
        self.holder = source_holder(self.client.peername[0])
        self.slot = Hold(shared.handshakes, self.holder, self._slot_taken, lambda: self.is_busy)
        self.memory = Hold(shared.anonymous_memory, self.holder, self._memory_taken)

    def set_client(self, source: Address) -> None:
        """Count the connection for the client that a load balancer names."""
        self.via, self.client.peername = socket_address(self.client.peername), source
        self.holder = source_holder(source[0])
        for hold in (self.slot, self.memory):
            hold.count_for(self.holder)

    def hold_handshake(self) -> bool:
        """Hold a connection in its handshake. Return False, and note why, if there is no room."""
        return self._has_room(self.slot.change(1), self.capacity.handshakes)

    def open_tunnel(self) -> bool:
        """Hold a tunnel instead of a handshake. Return False, and note why, if there is no room."""
        if not self._hold_anonymous():
            return False
        self.tunneled = True
        self.capacity.tunnels += 1
        return True

    def admit(self, client: Client) -> bool:
        """Store a client that `authentication` accepted, and count the connection for its key.

        Return False, and note why, if there is no room for another one without a certificate.
        """
        if isinstance(client, AuthenticatedClient):
            self.holder = client.certificate.public_key
            self.slot.count_for(self.holder, self.capacity.slots)
            self.memory.count_for(self.holder, self.capacity.memory)
        elif not self._hold_anonymous():
            return False
        self.authenticated = client
        return True

    def _hold_anonymous(self) -> bool:
        anonymous = self.capacity.anonymous
        return self._has_room(self.slot.move(anonymous), anonymous)

    def _has_room(self, found: bool, shares: Shares) -> bool:
        if not found:
            self.over = self.capacity.refusal(shares)
        return found

    def judged(self, accepted: Accepted) -> None:
        """Note that the client is accepted, until the end of that or a newer list or policy."""
        self.notes, self.accepted_until = accepted
        self.due = False

    def begin_request(self, request: UnderWay) -> None:
        """Note that a request is under way."""
        self.capacity.requests += 1
        self.under_way = (request,)

    def end_request(self) -> None:
        """Note that no request is under way."""
        self.capacity.requests -= bool(self.under_way)
        self.under_way, self.idle_since = (), time.monotonic()

    def end(self) -> None:
        """Release what the connection holds, except its slot, and what refers back to it."""
        self.memory.end()
        self.end_request()
        self.capacity.tunnels -= self.tunneled
        self.tunneled = False
        self.give_way, self.tls_connection = _nothing, None

    def _slot_taken(self) -> None:
        detail = "the connection was closed for another client"
        self.give_way(Deny(Reason.OVERLOADED, rules.LIMITS_CONNECTIONS, detail))

    def _memory_taken(self) -> None:
        detail = "the memory was needed for another client"
        self.give_way(Deny(Reason.OVERLOADED, rules.LIMITS_BUFFERED_BYTES, detail))

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way, or a tunnel is open."""
        return bool(self.under_way) or isinstance(self.publication, TunnelPublication)

    @property
    def scheme(self) -> bytes:
        """The scheme in the URLs of the client's requests."""
        return b"http" if isinstance(self.listener, PlaintextListener) else b"https"

    @property
    def origin(self) -> Origin:
        """The origin that the client has connected to, from its point of view."""
        scheme = self.scheme
        if self.publication is None:
            return Origin(scheme, self.server_name or "", self.listener.address[1])
        host = self.server_name or self.publication.name
        return Origin(scheme, host, self.publication.public_port)


@dataclass(frozen=True, slots=True)
class ExchangeEnded:
    """An ended request and its response, for the audit record."""

    connection: ConnectionRecord
    reference: str
    began: float
    head: RequestHead | None
    """The head as received; None if it could not be read."""
    body: bytes
    decision: Approved | Deny
    authorized: Authorized | None
    """The authorization of the head. It stays set if a later stage refuses."""
    forwarded: bool
    """True if the request was sent to the site system, even if that failed."""
    resent: bool
    """True if it was sent again because the site system had closed the kept leg."""
    status: int | None
    bytes_out: int
    """The bytes of the response body that were sent to the client."""
    observed: tuple[str, ...]
    """The reasons to refuse the response if the policy did not set `observe`."""
    note: str
    site_system: str | None = None
    """The site system that it was sent to, or that was tried last; None if none was tried."""
    inspection_seconds: float | None = None
    """The time to decide on the body; None if that was not reached."""
    shadow: Outcome | None = None
    """The outcome of another policy, if it differs, or is not known."""
    reply_would_refuse: tuple[Observed, ...] = ()
    """The refusals of the response that only the publication's `observe` does not enforce."""
    site_system_seconds: float | None = None
    """The time from connecting or sending to the head of the response; None without one."""

    @property
    def would_refuse(self) -> tuple[Observed, ...]:
        """The refusals of an allowed request that only the publication's `observe` allows."""
        decision = self.decision
        if isinstance(decision, Deny):
            return ()
        return decision.would_refuse + self.reply_would_refuse


class ShadowJudge(Protocol):
    """Judges requests by another policy, at their end."""

    def judge(
        self, connection: ConnectionRecord, head: RequestHead, body: bytes, judged: Judged
    ) -> Outcome | None:
        """Return the outcome if it differs, or is not known. Never raises."""


class UnderWay(Protocol):
    """A request whose end is still to be recorded."""

    def end(self, defect: Deny | None = None, *, refused: bool = False) -> ExchangeEnded | None:
        """End the request, possibly by a defect that the client gets a response to if `refused`.

        Return its end, or None after the first call.
        """


ANONYMOUS_PART = 4
"""Clients without a certificate may hold at most a quarter of the memory. Otherwise many sources
could block authenticated clients."""

HANDSHAKE_PART = 2
"""Connections without an admitted client may hold at most half of the connections."""

KEPT_FROM_ANONYMOUS = 2
KEPT_FROM_UNAUTHENTICATED = 4
"""Half of the connections is kept from tunnels and clients without a certificate, and a quarter
from these and connections in their handshake together. So authenticated clients have at least a
quarter, and always find room for a handshake, as long as too many do not begin at the same time."""


class Totals(NamedTuple):
    """The total of each part of a `Capacity` that several processes have together."""

    slots: Total | None = None
    unauthenticated: Total | None = None
    handshakes: Total | None = None
    anonymous: Total | None = None
    memory: Total | None = None
    anonymous_memory: Total | None = None


ONE_PROCESS = Totals()


class Capacity:
    """What all connections share."""

    def __init__(self, connections: int, buffered_bytes: int, totals: Totals = ONE_PROCESS) -> None:
        """`totals` are those of all processes that have the capacity."""
        self.slots = slots = Shares(connections, total=totals.slots)
        self.unauthenticated = Shares(connections, slots, totals.unauthenticated)
        """Connections without an authenticated client."""
        self.handshakes = Shares(
            max(1, connections // HANDSHAKE_PART), self.unauthenticated, totals.handshakes
        )
        self.anonymous = Shares(connections, self.unauthenticated, totals.anonymous)
        """Tunnels, and clients without a certificate."""
        self.keep_for_authenticated(keep=True)
        self.requests = 0
        """The number of connections with a request under way."""
        self.tunnels = 0
        """The number of open tunnels."""
        self.memory = Shares(buffered_bytes, total=totals.memory)
        self.anonymous_memory = Shares(
            buffered_bytes // ANONYMOUS_PART, self.memory, totals.anonymous_memory
        )

    def keep_for_authenticated(self, *, keep: bool) -> None:
        """Keep a share for authenticated clients, if the policy has such clients."""
        limit = self.slots.limit
        for shares, part in (
            (self.unauthenticated, KEPT_FROM_UNAUTHENTICATED),
            (self.anonymous, KEPT_FROM_ANONYMOUS),
        ):
            shares.limit = limit - limit // part if keep else limit

    def refusal(self, shares: Shares) -> Deny:
        """Return why there is no room in these shares."""
        if self.slots.is_full:
            return Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_CONNECTIONS)
        if shares is self.handshakes and shares.is_full:
            return Deny(Reason.TOO_MANY_HANDSHAKES, rules.LIMITS_CONNECTIONS)
        return Deny(Reason.CONNECTIONS_RESERVED, rules.LIMITS_CONNECTIONS)


class Connections:
    """The records of the open connections, by mitmproxy's connection id."""

    def __init__(self, capacity: Capacity, elsewhere: Elsewhere | None = None) -> None:
        """`elsewhere`: what sources have at other processes of the bridge."""
        self.capacity = capacity
        self.flushing = 0
        """The number of closed connections with data that is still to be sent."""
        self._sources = Sources(elsewhere)
        self._records: dict[str, ConnectionRecord] = {}
        self._ending = False

    def open(
        self,
        client: connection.Client,
        listener: Listener | PlaintextListener,
        policy: str = "",
    ) -> ConnectionRecord:
        """Add a record for a new connection. `policy` is a digest."""
        record = ConnectionRecord(client, listener, policy, self._ending, capacity=self.capacity)
        self._records[client.id] = record
        return record

    def enter(self, record: ConnectionRecord, limits: PerSource) -> bool:
        """Count a connection for its source. Return False if that has too many."""
        host = record.client.peername[0]
        record.over = self._sources.enter(host, limits, time.monotonic())
        if record.over is not None:
            return False
        record.entered = host
        return True

    def of(self, client: connection.Client) -> ConnectionRecord:
        """Return the record of a connection. A KeyError is a defect of the bridge."""
        return self._records[client.id]

    def __iter__(self) -> Iterator[ConnectionRecord]:
        return iter(self._records.values())

    def __contains__(self, record: ConnectionRecord) -> bool:
        return record.client.id in self._records

    def end_after_response(self) -> None:
        """Let every connection end with its next response."""
        self._ending = True
        for record in self._records.values():
            record.ends_after_response = True

    def close(self, client: connection.Client) -> None:
        """Remove the record of a connection, and release what it holds except its slot."""
        record = self._records.pop(client.id, None)
        if record is not None:
            record.end()

    def release(self, record: ConnectionRecord) -> None:
        """Release the slot of a connection, after its last data was sent."""
        record.slot.end()
        if record.entered is not None:
            self._sources.leave(record.entered)
            record.entered = None
