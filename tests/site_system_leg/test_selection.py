"""The order in which a request tries the site systems of its role."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.policy.site_systems import Order, SiteSystem, SiteSystems
from ibcm_bridge.site_system_leg.breaker import CLOSED, Breaker
from ibcm_bridge.site_system_leg.selection import Attempts, attempts, preferred, share_of_time

NAMES = [f"mp{number:02}.corp.example" for number in range(1, 6)]
CLIENTS = [b"key %d" % number for number in range(1_000)]
OPEN = CLOSED.failed(0).failed(0).failed(0)


def listed(*names: str) -> tuple[SiteSystem, ...]:
    return tuple(SiteSystem(("192.0.2.1", 443), name, name) for name in names)


def first_of(names: list[str], client: bytes, order: Order = Order.BY_CLIENT) -> str:
    return preferred(SiteSystems(listed(*names), order), client)[0].name


def test_as_listed_all_clients_have_the_order_of_the_policy() -> None:
    site_systems = SiteSystems(listed(*NAMES))
    for client in CLIENTS[:20]:
        assert preferred(site_systems, client) == site_systems.listed


def test_by_client_the_load_is_spread_evenly() -> None:
    counts = Counter(first_of(NAMES, client) for client in CLIENTS)
    assert set(counts) == set(NAMES)
    assert all(150 < count < 250 for count in counts.values()), counts


@given(st.binary(max_size=300), st.permutations(NAMES))
def test_by_client_the_order_of_the_list_does_not_matter(client: bytes, names: list[str]) -> None:
    site_systems = SiteSystems(listed(*names), Order.BY_CLIENT)
    found = preferred(site_systems, client)
    assert found == preferred(SiteSystems(listed(*NAMES), Order.BY_CLIENT), client)
    assert sorted(found, key=lambda each: each.name) == list(listed(*NAMES))


@pytest.mark.parametrize("removed", NAMES)
def test_if_one_is_removed_only_its_clients_change(removed: str) -> None:
    left = [name for name in NAMES if name != removed]
    for client in CLIENTS:
        before, after = first_of(NAMES, client), first_of(left, client)
        assert after == before or before == removed
        # They go where they would have gone while it was not available.
        if before == removed:
            order = preferred(SiteSystems(listed(*NAMES), Order.BY_CLIENT), client)
            assert after == order[1].name


def breakers(**states: Breaker) -> dict[str, Breaker]:
    return {name: states.get(name, CLOSED) for name in "abc"}


def order(now: float = 1, **states: Breaker) -> Attempts[str]:
    return attempts("abc", breakers(**states).__getitem__, now)


def test_one_that_is_not_available_comes_last() -> None:
    assert order() == Attempts(("a", "b", "c"))
    assert order(a=OPEN) == Attempts(("b", "c", "a"))
    assert order(a=OPEN, b=OPEN) == Attempts(("c", "a", "b"))


def test_if_none_is_available_each_is_tried() -> None:
    assert order(a=OPEN, b=OPEN, c=OPEN) == Attempts(("a", "b", "c"))


def test_one_request_probes_one_that_is_due() -> None:
    assert order(30, b=OPEN) == Attempts(("b", "a", "c"), "b")
    assert order(31, b=OPEN.probed(30)) == Attempts(("a", "c", "b"))
    assert order(30, a=OPEN, b=OPEN) == Attempts(("a", "c", "b"), "a"), "only one at a time"


def test_the_only_one_is_tried_in_any_case_and_never_probed() -> None:
    for now in (1.0, 1e6):
        assert attempts("a", lambda _: OPEN, now) == Attempts(("a",))


@given(
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([OPEN, OPEN.probed(90)])),
    st.floats(0, 200),
)
def test_each_is_tried_exactly_once(states: dict[str, Breaker], now: float) -> None:
    found = order(now, **states)
    assert sorted(found.places) == ["a", "b", "c"]
    assert found.probe in (None, found.places[0])
    if found.probe is not None:
        assert states[found.probe].is_due(now)


def test_one_that_does_not_respond_leaves_time_for_the_others() -> None:
    first = share_of_time(30, 3)
    second = share_of_time(30 - first, 2)
    assert (first, second, share_of_time(30 - first - second, 1)) == (10, 10, 10)
    assert share_of_time(30, 1) == 30
    assert share_of_time(-1, 2) == 0


@pytest.mark.parametrize("names", [[], ["a.example", "a.example"]])
def test_a_role_has_site_systems_with_different_names(names: list[str]) -> None:
    with pytest.raises(ValueError, match="different names"):
        SiteSystems(listed(*names))


def test_any_of_them_may_use_the_names_of_all() -> None:
    one, other = SiteSystem(("h", 1), "a", "x"), SiteSystem(("h", 1), "b", "x")
    assert SiteSystems((one, other)).names == {"a", "b", "x"}
