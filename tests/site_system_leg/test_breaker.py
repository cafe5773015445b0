"""The breaker: when it opens, who probes, and what closes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.policy.site_systems import PerSiteSystem
from ibcm_bridge.site_system_leg.breaker import CLOSED, Breaker

DEFAULT = PerSiteSystem()
FAILURES, PROBE_SECONDS = DEFAULT.failures, DEFAULT.probe_seconds
WINDOW_SECONDS = DEFAULT.within_seconds
MOMENTS = st.lists(st.floats(0, 200), max_size=12).map(sorted)


def failed(*times: float) -> Breaker:
    state = CLOSED
    for now in times:
        state = state.failed(now)
    return state


def test_it_opens_after_failures_in_a_row_within_the_window() -> None:
    assert not failed(0, 1).is_open
    assert failed(0, 1, 2).is_open
    assert failed(0, 1, WINDOW_SECONDS).is_open


def test_it_stays_closed_if_the_failures_are_too_far_apart() -> None:
    assert not failed(0, 1, WINDOW_SECONDS + 0.1).is_open
    assert failed(0, 50, 70, 100).is_open, "the last three are near each other"


@given(MOMENTS)
def test_it_opens_only_at_three_failures_within_the_window(times: list[float]) -> None:
    near = any(
        times[n + FAILURES - 1] - times[n] <= WINDOW_SECONDS
        for n in range(len(times) - FAILURES + 1)
    )
    assert failed(*times).is_open is near


def test_one_request_probes_it_and_the_others_wait_for_the_next_time() -> None:
    state = failed(0, 1, 2)
    assert not state.is_due(2 + PROBE_SECONDS - 0.1)
    assert state.is_due(2 + PROBE_SECONDS)
    probing = state.probed(2 + PROBE_SECONDS)
    assert probing.is_open
    assert not probing.is_due(2 + PROBE_SECONDS)
    assert probing.is_due(2 + 2 * PROBE_SECONDS), "also if the probe has no result"


def test_a_failed_probe_keeps_it_open_for_as_long_again() -> None:
    state = failed(0, 1, 2).probed(40).failed(55)
    assert state.is_open
    assert not state.is_due(84)
    assert state.is_due(85)


def test_a_policy_chooses_the_limits() -> None:
    limits = PerSiteSystem(failures=2, within_seconds=5, probe_seconds=7)
    state = Breaker(limits=limits).failed(0).failed(6)
    assert not state.is_open
    state = state.failed(10)
    assert state.is_open
    assert not state.is_due(16.9)
    assert state.is_due(17)
    assert not state.probed(17).is_due(23.9)
    assert state.probed(17).is_due(24)
    assert state.connected() == Breaker(limits=limits)
    assert Breaker(limits=PerSiteSystem(failures=1)).failed(0).is_open


def test_a_closed_one_is_never_probed() -> None:
    assert not CLOSED.is_due(1e9)
    assert not failed(0, 1).is_due(1e9)
