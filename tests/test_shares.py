"""Holders get what they ask for while there is room; then the one with the most gives way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.shares import Hold, Holder, Shares, source_holder


class Things:
    """Makes holds, and records which of them gave way."""

    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.gave_way: list[str] = []

    def hold(self, name: str, size: int = 0, holder: Holder = None, *, busy: bool = False) -> Hold:
        """Return a hold of `holder`, by default of its own."""
        hold = Hold(self.shares, holder or name, lambda: self.gave_way.append(name), lambda: busy)
        assert hold.change(size)
        return hold


def test_a_hold_over_the_limit_changes_nothing() -> None:
    shares = Shares(10)
    things = Things(shares)
    first = things.hold("first", 6, "client")
    second = things.hold("second", 0, "client")
    assert not second.change(5)
    assert shares.held == 6
    assert second.change(4)
    assert not first.change(7)
    assert shares.held == 10
    assert not things.gave_way


def test_one_holder_may_hold_everything_while_nobody_else_asks() -> None:
    things = Things(Shares(10))
    things.hold("all", 10)
    assert things.shares.held == 10


def test_the_holder_with_the_most_gives_way_when_there_is_no_room() -> None:
    things = Things(Shares(10))
    large = things.hold("large", 6)
    small = things.hold("small", 4)
    newcomer = things.hold("newcomer", 3)
    assert things.gave_way == ["large"]
    assert (large.size, small.size, newcomer.size) == (0, 4, 3)
    assert things.shares.held == 7
    assert not large.change(1), "it may not come back"


def test_a_holder_that_would_have_the_most_is_refused() -> None:
    things = Things(Shares(10))
    things.hold("first", 5)
    second = things.hold("second", 5)
    assert not second.change(6)
    assert not things.hold("third").change(5)
    assert things.hold("fourth", 4).size == 4
    assert things.gave_way == ["first"]


def test_no_holder_with_less_than_an_equal_share_is_refused() -> None:
    things = Things(Shares(90))
    for number in range(82):
        things.hold(f"flood {number}", 1, "flood")
    for number in range(10):
        things.hold(f"client {number}", 4)
    assert set(things.gave_way) == {f"flood {number}" for number in range(32)}


def test_several_holds_give_way_if_one_is_not_enough() -> None:
    things = Things(Shares(10))
    for number in range(5):
        things.hold(f"flood {number}", 2, "flood")
    things.hold("client", 5)
    assert len(things.gave_way) == 3


def test_of_equal_holds_those_that_are_not_busy_give_way_first() -> None:
    things = Things(Shares(3))
    things.hold("old and busy", 1, "flood", busy=True)
    things.hold("older", 1, "flood")
    things.hold("newer", 1, "flood")
    things.hold("client", 1)
    assert things.gave_way == ["older"]
    things.hold("another client", 1)
    assert things.gave_way == ["older", "newer"]


def test_a_hold_that_counts_for_another_holder_counts_for_it_alone() -> None:
    things = Things(Shares(10))
    moved = things.hold("moved", 4, "source")
    things.hold("other", 6, "source")
    moved.count_for("key")
    assert things.shares.held == 10
    assert not things.hold("asking", 0, "key").change(2)
    assert things.hold("asking too", 0, "source").change(0)
    things.hold("third", 3)
    assert things.gave_way == ["other"]


def test_a_part_may_not_use_the_whole() -> None:
    whole = Shares(100)
    part = Shares(25, whole)
    inside, outside = Things(part), Things(whole)
    inside.hold("one", 20, "nobody")
    assert not inside.hold("two", 0, "nobody").change(6)
    inside.hold("three", 5, "nobody")
    outside.hold("client", 75)
    assert (part.held, whole.held) == (25, 100)
    outside.hold("another", 30)
    assert outside.gave_way == ["client"]
    assert not inside.gave_way


def test_a_hold_in_a_part_gives_way_for_a_holder_of_the_whole() -> None:
    whole = Shares(10)
    part = Shares(8, whole)
    inside, outside = Things(part), Things(whole)
    inside.hold("anonymous", 8)
    outside.hold("client", 4)
    assert inside.gave_way == ["anonymous"]
    assert (part.held, whole.held) == (0, 4)


def test_a_hold_can_move_out_of_a_part() -> None:
    whole = Shares(100)
    part = Shares(25, whole)
    hold = Things(part).hold("client", 20)
    hold.count_for("key", whole)
    assert (part.held, whole.held) == (0, 20)
    assert hold.change(60)
    hold.end()
    assert whole.held == 0


def test_a_hold_can_always_shrink() -> None:
    things = Things(Shares(10))
    hold = things.hold("client", 10)
    things.shares.limit = 1
    assert hold.change(5)
    assert things.shares.held == 5


def test_the_end_releases_everything_and_nothing_is_held_after_it() -> None:
    things = Things(Shares(10))
    hold = things.hold("client", 7)
    hold.end()
    assert hold.change(9)
    hold.end()
    assert things.shares.held == 0


CHANGES = st.tuples(st.integers(0, 7), st.integers(0, 60))


@given(st.lists(CHANGES, max_size=60))
def test_the_total_is_the_sum_of_the_holds_and_never_over_the_limit(
    changes: list[tuple[int, int]],
) -> None:
    whole = Shares(100)
    things = Things(whole)
    anonymous = Things(Shares(25, whole))
    holds = [things.hold(f"{n}", holder=f"client {n // 2}") for n in range(4)]
    holds += [anonymous.hold(f"{n}", holder=f"nobody {n // 2}") for n in range(4)]
    for which, to in changes:
        before = [hold.size for hold in holds]
        if not holds[which].change(to):
            assert holds[which].size in (0, before[which])
        assert whole.held == sum(hold.size for hold in holds) <= 100
        assert anonymous.shares.held == sum(hold.size for hold in holds[4:]) <= 25
    for hold in holds:
        hold.end()
    assert whole.held == anonymous.shares.held == 0
    assert not whole._holds
    assert not whole._amounts


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(1, 10))
def test_a_holder_within_its_share_always_gets_room(flood: list[int], wanted: int) -> None:
    """Ten clients and a flood share 110: each client may have ten, whatever the flood holds."""
    things = Things(Shares(110))
    for number, size in enumerate(flood):
        Hold(things.shares, "flood", lambda: None).change(size)
        if number < 10:
            things.hold(f"client {number}", wanted)
    assert not things.gave_way


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_a_source_is_an_address_or_an_ipv6_network(one: str, other: str, same: bool) -> None:
    assert (source_holder(one) == source_holder(other)) is same
