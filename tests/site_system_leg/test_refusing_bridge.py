"""A site system that responds with 403 to nearly every client."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from ibcm_bridge.site_system_leg.refusing_bridge import (
    CLIENTS,
    RESPONSES,
    WINDOW_SECONDS,
    ResponseCounts,
)


def counted(
    statuses: Iterable[int], clients: int = CLIENTS, counts: ResponseCounts | None = None
) -> ResponseCounts:
    counts = counts or ResponseCounts()
    for number, status in enumerate(statuses):
        counts.count(status, number % clients, 1.0)
    return counts


def test_it_refuses_the_bridge_if_several_clients_get_403() -> None:
    assert counted([403] * RESPONSES).refuses_bridge


@pytest.mark.parametrize(
    ("statuses", "clients"),
    [
        ([403] * (RESPONSES - 1), CLIENTS),  # too few
        ([403] * 1_000, CLIENTS - 1),  # a client could do that alone
        ([403] * RESPONSES + [200] * 2, CLIENTS),  # too small a share
        ([401, 404, 500, 200] * 100, CLIENTS),
    ],
)
def test_otherwise_it_does_not(statuses: list[int], clients: int) -> None:
    # The other responses come first.
    assert not counted(reversed(statuses), clients).refuses_bridge


def test_a_few_other_responses_do_not_matter() -> None:
    assert counted([200] * 3 + [403] * 30).refuses_bridge
    assert not counted([200] * 4 + [403] * 30).refuses_bridge


def test_each_change_is_reported_once() -> None:
    counts = ResponseCounts()
    statuses = [403] * RESPONSES * 2 + [200] * RESPONSES * 4 + [404] * 9
    changes = [n for n, status in enumerate(statuses) if counts.count(status, n, 1.0)]
    assert changes == [RESPONSES - 1, RESPONSES * 4]
    assert not counts.refuses_bridge


def test_only_the_responses_of_a_window_count() -> None:
    counts = counted([403] * (RESPONSES - 1))
    assert not counts.count(403, 9, 1.0 + WINDOW_SECONDS)
    assert not counts.refuses_bridge


def test_it_refuses_the_bridge_until_enough_clients_get_another_response() -> None:
    counts = counted([403] * RESPONSES)
    later = 1.0 + WINDOW_SECONDS
    changes = [counts.count(200, 0, later) for _ in range(RESPONSES)]
    assert changes == [False] * (RESPONSES - 1) + [True]
