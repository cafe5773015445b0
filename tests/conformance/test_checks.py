"""The bridge passes each check; its broken twin fails it."""

from __future__ import annotations

from collections import defaultdict

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.judgement import Outcome

from .conftest import SuiteLab
from .twins import checks_with_an_own_twin, twin_of

CHECKS_OF = defaultdict[str, list[str]](list)
for check in all_checks():
    CHECKS_OF[twin_of(check)].append(check)


@pytest.mark.parametrize("check", all_checks())
def test_the_bridge_passes(suite_lab: SuiteLab, check: str) -> None:
    result = suite_lab.run(check)
    assert result.judgement.outcome is Outcome.PASS, result.judgement
    assert result.exchanges


@pytest.mark.parametrize("twin", CHECKS_OF)
def test_a_broken_twin_fails(suite_lab: SuiteLab, twin: str) -> None:
    suite_lab.break_bridge(twin)
    try:
        results = [suite_lab.run(check) for check in CHECKS_OF[twin]]
    finally:
        suite_lab.break_bridge("")
    unnoticed = {
        result.check.id: result.judgement
        for result in results
        # A bridge that forwards nothing valid would prove nothing.
        if result.judgement.outcome is not Outcome.FAIL
        or result.judgement.difference.startswith(("before the check", "after the check"))
    }
    assert unnoticed == {}


def test_the_twins_are_those_of_checks() -> None:
    assert all_checks().keys() >= checks_with_an_own_twin()
