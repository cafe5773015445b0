"""Held bytes are counted, limited, and released completely."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.request.memory_budget import Budget, Hold


def test_a_hold_over_the_limit_changes_nothing() -> None:
    budget = Budget(10)
    one, two = Hold(budget), Hold(budget)
    assert one.change(6)
    assert not two.change(5)
    assert budget.held == 6
    assert two.change(4)
    assert not one.change(7)
    assert budget.held == 10


def test_a_hold_can_always_shrink() -> None:
    budget = Budget(10)
    hold = Hold(budget)
    assert hold.change(10)
    budget.limit = 1
    assert hold.change(5)
    assert budget.held == 5


def test_the_end_releases_all_bytes_and_nothing_is_held_after_it() -> None:
    budget = Budget(10)
    hold = Hold(budget)
    hold.change(7)
    hold.end()
    assert hold.change(9)
    hold.end()
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50))))
def test_the_total_is_the_sum_of_the_holds_and_never_over_the_limit(
    changes: list[tuple[int, int]],
) -> None:
    budget = Budget(100)
    holds, held = [Hold(budget) for _ in range(4)], [0] * 4
    for which, to in changes:
        if holds[which].change(to):
            held[which] = to
        assert budget.held == sum(held) <= 100
    for hold in holds:
        hold.end()
    assert budget.held == 0


def test_anonymous_clients_cannot_use_the_whole_budget() -> None:
    budget = Budget(100)
    nobody, another, client = Hold(budget), Hold(budget), Hold(budget)
    nobody.count_as_anonymous()
    another.count_as_anonymous()
    assert nobody.change(20)
    assert not another.change(6), "a quarter is for all of them together"
    assert another.change(5)
    assert client.change(75)
    assert not client.change(76)
    nobody.end()
    another.end()
    assert (budget.held, budget.held_by_anonymous) == (75, 0)


def test_bytes_held_before_the_client_is_anonymous_are_counted() -> None:
    budget = Budget(100)
    hold = Hold(budget)
    assert hold.change(20)
    hold.count_as_anonymous()
    hold.count_as_anonymous()
    assert budget.held_by_anonymous == 20
    assert not hold.change(26)
    hold.end()
    assert (budget.held, budget.held_by_anonymous) == (0, 0)
