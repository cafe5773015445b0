"""A real bridge, broken in one way at a time: the cases of the demo notice it, and only then."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from multiprocessing.connection import Listener
from pathlib import Path

import pytest

from ibcm_bridge.lab.bridge import process
from ibcm_bridge.lab.cases.case import Case
from ibcm_bridge.lab.cases.policy import demo_policy
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.perimeter.perimeter import Perimeter
from tests.lab.cases.breaks import BREAKS

BY_ID = {case.id: case for case in CASES}
PROGRAM = str(Path(__file__).with_name("breakable_bridge.py"))

type Problems = Callable[[str], tuple[str, ...]]
type BreakBridge = Callable[[str], None]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Problems, BreakBridge]]:
    """Sends a case to a bridge; breaks this bridge. One process, without ClamAV."""
    with pytest.MonkeyPatch.context() as patch, Listener(("127.0.0.1", 0)) as listener:
        patch.setattr(process, "PROGRAM", (PROGRAM, str(listener.address[1])))
        # With ClamAV, a second process inspects every body.
        perimeter = Perimeter(tmp_path_factory.mktemp("broken"), policy=demo_policy())
        with perimeter as lab, listener.accept() as connection:

            def problems(case: str) -> tuple[str, ...]:
                # The tunnel is the same with any break.
                return lab.comparison.result(bridged_only(BY_ID[case])).problems

            def break_bridge(name: str) -> None:
                connection.send(name)
                connection.recv()

            yield problems, break_bridge


def bridged_only(case: Case) -> Case:
    return dataclasses.replace(case, tunnel=None)


@pytest.mark.parametrize("name", BREAKS)
def test_a_case_notices_the_broken_decision(
    bridge: tuple[Problems, BreakBridge], name: str
) -> None:
    problems, break_bridge = bridge
    break_bridge(name)
    try:
        noticed = {case: problems(case) for case in BREAKS[name].cases}
    finally:
        break_bridge("")
    assert all(noticed.values()), noticed
    # The case failed because of the break.
    repaired = {case: problems(case) for case in BREAKS[name].cases}
    assert not any(repaired.values()), repaired
