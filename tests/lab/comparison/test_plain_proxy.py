"""The third path of a lab: a proxy that runs, or recorded results with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ibcm_bridge.lab.cases.case import Case, Disposition
from ibcm_bridge.lab.cases.table import CASES
from ibcm_bridge.lab.comparison.outcomes import PlainResult
from ibcm_bridge.lab.comparison.plain_proxy import PathOnDemand, PlainPath

(CASE, *_) = CASES
LIVE = PlainResult("nginx 1.22.1", Disposition.ACCEPTED, "200 OK", dropped_arrived=False)


class Running:
    """A proxy that can end."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.has_ended = False

    @contextmanager
    def path(self) -> Iterator[PlainPath]:
        self.events.append("start")
        yield self
        self.events.append("stop")

    def result(self, case: Case) -> PlainResult | None:
        if self.has_ended:
            raise ConnectionRefusedError(111, "Connection refused")
        self.events.append(case.id)
        return LIVE


def test_the_proxy_starts_with_the_first_case_and_stops_with_the_lab() -> None:
    running = Running()
    with PathOnDemand(running.path) as path:
        assert running.events == []
        assert path.result(CASE) == LIVE
        path.result(CASE)
    assert running.events == ["start", CASE.id, CASE.id, "stop"]


def test_a_lab_without_a_case_starts_no_proxy() -> None:
    running = Running()
    with PathOnDemand(running.path):
        pass
    assert running.events == []


def test_a_proxy_that_ended_has_recorded_results_with_the_reason() -> None:
    running = Running()
    with PathOnDemand(running.path) as path:
        path.result(CASE)
        running.has_ended = True
        found = path.result(CASE)
        assert found is not None
        assert found.recorded
        assert found.why_recorded == "nginx cannot be reached: Connection refused"
    assert running.events[-1] == "stop"
