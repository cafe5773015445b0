"""One source has a limit of connections and of handshakes; the others are not affected."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ibcm_bridge.decisions import rules
from ibcm_bridge.decisions.denial import Deny, Reason
from ibcm_bridge.policy.policy import PerSource
from ibcm_bridge.sources import MINUTE, MOST_SOURCES, Sources

OVER_CONNECTIONS = Deny(Reason.TOO_MANY_CONNECTIONS, rules.LIMITS_PER_SOURCE_CONNECTIONS)
OVER_HANDSHAKES = Deny(Reason.TOO_MANY_HANDSHAKES, rules.LIMITS_PER_SOURCE_HANDSHAKES)

CONNECTIONS = PerSource(connections=2)
HANDSHAKES = PerSource(handshakes_per_minute=3)


def test_without_limits_nothing_is_refused() -> None:
    sources = Sources()
    assert {sources.enter("192.0.2.1", PerSource(), 0) for _ in range(1_000)} == {None}


def test_connections_of_one_source() -> None:
    sources = Sources()
    entered = [sources.enter("192.0.2.1", CONNECTIONS, 0) for _ in range(3)]
    assert entered == [None, None, OVER_CONNECTIONS]
    assert sources.enter("192.0.2.2", CONNECTIONS, 0) is None
    sources.leave("192.0.2.1")
    assert sources.enter("192.0.2.1", CONNECTIONS, 0) is None
    assert sources.enter("192.0.2.1", CONNECTIONS, 0) == OVER_CONNECTIONS


def test_a_source_that_has_left_uses_no_memory() -> None:
    sources = Sources()
    for _ in range(2):
        sources.enter("192.0.2.1", CONNECTIONS, 0)
    for _ in range(2):
        sources.leave("192.0.2.1")
    assert not sources._connections


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("fe80::1%2", "fe80::2%2", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    sources, limit = Sources(), PerSource(connections=1)
    assert sources.enter(one, limit, 0) is None
    assert (sources.enter(other, limit, 0) is not None) is same


def test_handshakes_of_a_minute_may_come_at_once_and_then_evenly() -> None:
    sources = Sources()

    def enter(now: float) -> Deny | None:
        return sources.enter("192.0.2.1", HANDSHAKES, now)

    assert [enter(100), enter(100), enter(100)] == [None] * 3
    assert enter(100) == OVER_HANDSHAKES
    assert enter(119.9) == OVER_HANDSHAKES
    assert enter(120) is None
    assert enter(120) == OVER_HANDSHAKES
    assert sources.enter("192.0.2.2", HANDSHAKES, 120) is None
    assert [enter(120 + MINUTE) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("rate", [1, 7, 60, 1_000])
def test_a_source_at_its_rate_is_never_refused(rate: int) -> None:
    sources, limits = Sources(), PerSource(handshakes_per_minute=rate)
    moments = [1_000 + number * MINUTE / rate for number in range(3_000)]
    assert {sources.enter("192.0.2.1", limits, now) for now in moments} == {None}


def test_a_refused_connection_does_not_count() -> None:
    sources, limits = Sources(), PerSource(1, 3)
    assert sources.enter("192.0.2.1", limits, 0) is None
    for _ in range(10):
        assert sources.enter("192.0.2.1", limits, 0) == OVER_CONNECTIONS
    sources.leave("192.0.2.1")
    assert sources.enter("192.0.2.1", limits, 0) is None, "its handshakes are not used up"


def test_an_exception_has_no_limit_and_others_keep_theirs() -> None:
    limits = PerSource(1, 1, {ip_network("192.0.2.0/24"): "a branch", ip_network("::1"): "itself"})
    sources = Sources()
    for host in ("192.0.2.1", "::ffff:192.0.2.1", "::1"):
        assert {sources.enter(host, limits, 0) for _ in range(10)} == {None}
    assert sources.enter("192.0.3.1", limits, 0) is None
    assert sources.enter("192.0.3.1", limits, 0) is not None


def test_the_number_of_counted_sources_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibcm_bridge.sources.MOST_SOURCES", 10)
    sources = Sources()
    for number in range(20):
        sources.enter(f"192.0.2.{number}", HANDSHAKES, 0)
    assert len(sources._full) == 10
    assert MOST_SOURCES > 10_000
