"""What is held is counted, bounded, and returned whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.budget import Budget, Hold


def test_what_is_too_much_is_not_held_at_all() -> None:
    budget = Budget(10)
    one, two = Hold(budget), Hold(budget)
    assert one.change(6)
    assert not two.change(5)
    assert budget.held == 6
    assert two.change(4)
    assert not one.change(7)
    assert budget.held == 10


def test_less_is_always_possible() -> None:
    budget = Budget(10)
    hold = Hold(budget)
    assert hold.change(10)
    budget.limit = 1
    assert hold.change(5)
    assert budget.held == 5


def test_the_end_returns_everything_and_nothing_is_held_after_it() -> None:
    budget = Budget(10)
    hold = Hold(budget)
    hold.change(7)
    hold.end()
    assert hold.change(9)
    hold.end()
    assert budget.held == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 50))))
def test_the_sum_is_that_of_the_parts_and_never_over_the_limit(
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
