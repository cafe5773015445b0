"""The bridge passes each check; its broken twin fails it."""

from __future__ import annotations

from collections import defaultdict

import pytest

from ibcm_bridge.conformance.collection import all_checks
from ibcm_bridge.conformance.judgement import Outcome, Stop
from ibcm_bridge.conformance.runner import Result
from ibcm_bridge.conformance.subject_file import KIT_LIMITS

from .conftest import SuiteLab
from .twins import checks_with_an_own_twin, twin_of

CHECKS_OF = defaultdict[str, list[str]](list)
for check in all_checks():
    CHECKS_OF[twin_of(check)].append(check)


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest, suite_lab: SuiteLab) -> dict[str, Result]:
    """The results of the selected checks, in one run."""
    selected = [
        item.callspec.params["check"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_the_bridge_passes"
    ]
    return {result.check.id: result for result in suite_lab.run(*selected)}


@pytest.mark.parametrize("check", all_checks())
def test_the_bridge_passes(results: dict[str, Result], check: str) -> None:
    result = results[check]
    assert result.judgement.outcome is Outcome.PASS, result.judgement
    assert result.exchanges


@pytest.mark.parametrize("twin", CHECKS_OF)
def test_a_broken_twin_fails(suite_lab: SuiteLab, twin: str) -> None:
    suite_lab.break_bridge(twin)
    try:
        results = suite_lab.run(*CHECKS_OF[twin])
    finally:
        suite_lab.break_bridge("")
    unnoticed = {
        result.check.id: result.judgement
        for result in results
        # A bridge that forwards nothing valid would prove nothing.
        if result.judgement.outcome not in _noticed(result)
        or result.judgement.difference.startswith(("before the check", "after the check"))
    }
    assert unnoticed == {}


def _noticed(result: Result) -> set[Outcome]:
    """A bridge without a time limit never ends what the check sends."""
    slow = twin_of(result.check.id).endswith(tuple(f"patient {limit}" for limit in KIT_LIMITS))
    return {Outcome.HANG} if slow else {Outcome.FAIL}


def test_the_twins_are_those_of_checks() -> None:
    assert all_checks().keys() >= checks_with_an_own_twin()


def test_an_intranet_name_that_reached_the_client_was_not_stopped(suite_lab: SuiteLab) -> None:
    suite_lab.break_bridge("replies")
    try:
        (broken,) = suite_lab.run("leaks::location_reply")
    finally:
        suite_lab.break_bridge("")
    (whole,) = suite_lab.run("leaks::location_reply")
    assert [each.judgement.stop for each in (broken, whole)] == [Stop.NOT_AT_ALL, Stop.AT_PERIMETER]
