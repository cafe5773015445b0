"""A share of the connections is kept for authenticated clients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from mitmproxy.connection import Client, ConnectionState

from ibcm_bridge.addons.connections import Capacity, ConnectionRecord
from ibcm_bridge.authentication.client import AnonymousClient, AuthenticatedClient, ClientKind
from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.policy.publications import Listener, TunnelPublication

LIMIT = 16
HALF, THREE_QUARTERS = 8, 12
TOO_MANY, HANDSHAKES, RESERVED = (
    Reason.TOO_MANY_CONNECTIONS,
    Reason.TOO_MANY_HANDSHAKES,
    Reason.CONNECTIONS_RESERVED,
)


class Door:
    """Connections of a bridge, each from another source unless one is named."""

    def __init__(self, limit: int = LIMIT, *, keep: bool = True) -> None:
        self.capacity = Capacity(limit, 1)
        self.capacity.keep_for_authenticated(keep=keep)
        self.closed: list[ConnectionRecord] = []
        """The connections that gave way."""
        self._hosts: Iterator[int] = itertools.count(1)

    def begin(self, host: str | None = None) -> ConnectionRecord | Reason:
        """Accept a connection. Return it, or why it is refused."""
        host = host or f"192.0.2.{next(self._hosts)}"
        client = Client(
            peername=(host, 50_000),
            sockname=("127.0.0.1", 443),
            timestamp_start=1.0,
            state=ConnectionState.OPEN,
        )
        record = ConnectionRecord(client, Listener(("", 1), {}), capacity=self.capacity)
        record.give_way = lambda _: self.closed.append(record)
        return record if record.hold_handshake() else self._reason(record)

    def tunnel(self, host: str | None = None) -> ConnectionRecord | Reason:
        """Open a tunnel."""
        record = self.begin(host)
        if isinstance(record, Reason):
            return record
        record.publication = TunnelPublication("t", 443, (("192.0.2.254", 443),), ())
        return record if record.open_tunnel() else self._reason(record)

    def anonymous(self) -> ConnectionRecord | Reason:
        """Admit a client without a certificate."""
        return self._admit(AnonymousClient("p"))

    def authenticated(self, key: str | None = None) -> ConnectionRecord | Reason:
        """Admit a client with a certificate."""
        certificate = type("Facts", (), {"public_key": key or next(self._hosts)})
        return self._admit(AuthenticatedClient("p", certificate, ClientKind.COMPUTER, "pc"))  # type: ignore[arg-type]

    def _admit(self, client: AnonymousClient | AuthenticatedClient) -> ConnectionRecord | Reason:
        record = self.begin()
        if isinstance(record, Reason):
            return record
        return record if record.admit(client) else self._reason(record)

    @staticmethod
    def _reason(record: ConnectionRecord) -> Reason:
        assert record.over is not None
        assert not record.slot.size, "a refused connection holds nothing"
        assert record.authenticated is None
        return record.over.reason


@pytest.fixture
def door() -> Door:
    return Door()


def refused(found: ConnectionRecord | Reason) -> Reason | None:
    return found if isinstance(found, Reason) else None


@pytest.mark.parametrize("kind", ["tunnel", "anonymous"])
def test_tunnels_and_anonymous_clients_have_at_most_half(door: Door, kind: str) -> None:
    for _ in range(HALF - 1):
        assert refused(getattr(door, kind)()) is None
    assert refused(door.anonymous()) is None
    for _ in range(3):
        assert refused(getattr(door, kind)()) is RESERVED
    for _ in range(LIMIT - HALF):
        assert refused(door.authenticated()) is None
    assert refused(door.authenticated()) is TOO_MANY
    assert not door.closed


def test_handshakes_have_at_most_half_and_take_no_share_of_authenticated_clients(
    door: Door,
) -> None:
    began = [door.begin() for _ in range(HALF)]
    assert refused(door.begin()) is HANDSHAKES
    assert refused(door.tunnel()) is HANDSHAKES
    client = AuthenticatedClient("p", type("F", (), {"public_key": 1}), ClientKind.COMPUTER, "pc")  # type: ignore[arg-type]
    (first, *_) = began
    assert isinstance(first, ConnectionRecord)
    assert first.admit(client)
    assert refused(door.begin()) is None, "an admitted client holds no handshake"


def test_all_without_an_authenticated_client_have_at_most_three_quarters(door: Door) -> None:
    for _ in range(HALF):
        assert refused(door.tunnel()) is None
    began = [door.begin() for _ in range(THREE_QUARTERS - HALF)]
    assert all(refused(found) is None for found in began)
    assert refused(door.begin()) is RESERVED
    assert door.capacity.unauthenticated.held == THREE_QUARTERS
    # Those in their handshake can still become clients, and the others then find room again.
    (first, *_) = began
    assert isinstance(first, ConnectionRecord)
    assert first.admit(
        AuthenticatedClient("p", type("F", (), {"public_key": 1}), ClientKind.COMPUTER, "pc")  # type: ignore[arg-type]
    )
    assert refused(door.authenticated()) is None


def test_authenticated_clients_may_have_everything(door: Door) -> None:
    assert [refused(door.authenticated()) for _ in range(LIMIT)] == [None] * LIMIT
    assert refused(door.authenticated()) is TOO_MANY


def test_without_authenticated_clients_nothing_is_kept_for_them() -> None:
    door = Door(keep=False)
    assert [refused(door.tunnel()) for _ in range(LIMIT)] == [None] * LIMIT
    assert refused(door.tunnel()) is TOO_MANY


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_least_limits_still_serve_each_kind(limit: int) -> None:
    for kind in ("tunnel", "anonymous", "authenticated"):
        assert refused(getattr(Door(limit), kind)()) is None


def test_a_source_with_many_tunnels_gives_way_to_another_one(door: Door) -> None:
    flood = [door.tunnel("203.0.113.1") for _ in range(HALF)]
    assert refused(door.tunnel("203.0.113.1")) is RESERVED
    assert refused(door.tunnel()) is None
    assert door.closed == flood[:1]


def test_a_source_keeps_its_tunnels_rather_than_an_idle_connection(door: Door) -> None:
    flood = [door.tunnel("203.0.113.1") for _ in range(HALF - 1)]
    idle = door.begin("203.0.113.1")
    assert isinstance(idle, ConnectionRecord)
    assert idle.admit(AnonymousClient("p"))
    assert refused(door.tunnel()) is None
    assert door.closed == [idle]
    assert refused(door.tunnel()) is None
    assert door.closed == [idle, flood[0]]


def test_everything_is_released(door: Door) -> None:
    records = [door.tunnel(), door.anonymous(), door.authenticated(), door.begin()]
    for record in records:
        assert isinstance(record, ConnectionRecord)
        record.end()
        record.slot.end()
    capacity = door.capacity
    assert [
        shares.held
        for shares in (
            capacity.slots,
            capacity.unauthenticated,
            capacity.handshakes,
            capacity.anonymous,
        )
    ] == [0, 0, 0, 0]
    assert (capacity.requests, capacity.tunnels) == (0, 0)
