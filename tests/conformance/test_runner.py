"""Checks that run at the same time, one after the other, and last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from ibcm_bridge.conformance.collection import Check, Level
from ibcm_bridge.conformance.judgement import Judgement, Outcome
from ibcm_bridge.conformance.order import Order
from ibcm_bridge.conformance.runner import run_checks
from ibcm_bridge.conformance.subject import Subject
from ibcm_bridge.lab.errors import LabError

from .conftest import SuiteLab

GOOD = Judgement(Outcome.PASS, "")


def check(name: str, judge: Callable[[Subject], Judgement], order: Order = Order.ALONE) -> Check:
    return Check(name, Level.MUST, "", "VERB-MP", "", judge, order)


def test_checks_beside_others_run_at_the_same_time(suite_lab: SuiteLab) -> None:
    together = threading.Barrier(3)

    def wait(_subject: Subject) -> Judgement:
        together.wait(20)
        return GOOD

    checks = [check("a", wait, Order.BESIDE), check("b", wait), check("c", wait, Order.BESIDE)]
    results = list(run_checks(checks, suite_lab.subject, {}))
    assert [(result.check.id, result.judgement) for result in results] == [
        (name, GOOD) for name in "abc"
    ]


def test_the_others_run_one_after_the_other_and_the_last_ones_last(suite_lab: SuiteLab) -> None:
    running: list[str] = []
    order: list[str] = []

    def judge(name: str, seconds: float, alone: bool) -> Callable[[Subject], Judgement]:
        def run(_subject: Subject) -> Judgement:
            running.append(name)
            assert not alone or running == [name]
            time.sleep(seconds)
            running.remove(name)
            order.append(name)
            return GOOD

        return run

    checks = [
        check("last", judge("last", 0, alone=True), Order.LAST),
        check("slow", judge("slow", 1.5, alone=False), Order.BESIDE),
        *(check(name, judge(name, 0.1, alone=False)) for name in ("one", "two")),
    ]
    results = run_checks(checks, suite_lab.subject, {})
    assert [result.check.id for result in results] == ["last", "slow", "one", "two"]
    assert order == ["one", "two", "slow", "last"]


def test_each_check_beside_others_has_its_own_marker(suite_lab: SuiteLab) -> None:
    markers = []

    def judge(subject: Subject) -> Judgement:
        markers.append(subject.marker)
        return GOOD

    checks = [check(name, judge, Order.BESIDE) for name in "abc"]
    results = list(run_checks(checks, suite_lab.subject, {}))
    assert {result.judgement for result in results} == {GOOD}
    assert len({*markers, suite_lab.subject.marker}) == 4


def test_without_records_the_run_ends(suite_lab: SuiteLab) -> None:
    def judge(_subject: Subject) -> Judgement:
        raise LabError("cannot read the records")

    results = run_checks([check("a", judge), check("b", judge)], suite_lab.subject, {})
    with pytest.raises(LabError, match="cannot read the records"):
        next(results)
