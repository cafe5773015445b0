"""What arrives belongs to the check that sent it, also when several run at the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ibcm_bridge.conformance.arrivals import Arrivals
from ibcm_bridge.lab.site_systems.records import ReceivedRequest, Records


def record(target: str, port: int = 1, **changes: Any) -> ReceivedRequest:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    found = ReceivedRequest(now, "x", "GET", target, (), b"", 0, "", None, None, "", port, 200)
    return replace(found, **changes)


class Open:
    """Records, and requests whose rest may still arrive."""

    def __init__(self) -> None:
        self.records = Records()
        self.unfinished: list[ReceivedRequest] = []

    def since(self, position: int) -> tuple[tuple[ReceivedRequest, ...], int]:
        found, position = self.records.since(position)
        return (*found, *self.unfinished), position


def targets(requests: tuple[ReceivedRequest, ...]) -> list[str]:
    return [request.target for request in requests]


def test_a_request_with_a_marker_belongs_to_its_check() -> None:
    records = Records()
    arrivals = Arrivals(records)
    first, second, alone = arrivals.beside("m-1"), arrivals.beside("m-2"), arrivals.alone()
    for target in ("/m-1/a", "/other", "/m-2/b", "/m-1/c"):
        records.add(record(target))
    assert targets(second.new()) == ["/m-2/b"]
    assert targets(alone.new()) == ["/other"]
    assert targets(first.new()) == ["/m-1/a", "/m-1/c"]
    assert first.new() == second.new() == alone.new() == ()


def test_a_late_request_does_not_belong_to_another_check() -> None:
    records = Records()
    arrivals = Arrivals(records)
    arrivals.beside("m-1")
    records.add(record("/m-1/late"))
    assert arrivals.alone().new() == ()


def test_requests_of_an_earlier_run_belong_to_no_check() -> None:
    records = Records()
    records.add(record("/earlier"))
    arrivals = Arrivals(records)
    records.add(record("/now"))
    assert targets(arrivals.alone().new()) == ["/now"]


def test_no_request_is_lost_when_old_records_are_removed() -> None:
    records = Records(kept=2)
    arrivals = Arrivals(records)
    for name in "abcde":
        records.add(record(name))
        assert targets(arrivals.alone().new()) == [name]
    records.clear()
    records.add(record("f"))
    assert targets(arrivals.alone().new()) == ["f"]


def unfinished(target: str, port: int, *, ended: bool = False) -> ReceivedRequest:
    return record(target, port, complete=False, ended=ended)


def test_an_unfinished_request_arrives_once() -> None:
    evidence = Open()
    arrivals = Arrivals(evidence)
    evidence.unfinished = [unfinished("/half", 1)]
    assert targets(arrivals.alone().new()) == ["/half"]
    assert arrivals.alone().new() == ()
    evidence.unfinished = []
    evidence.records.add(unfinished("/half", 1, ended=True))
    assert arrivals.alone().new() == ()
    # The next one on another connection.
    evidence.records.add(unfinished("/half", 2, ended=True))
    assert targets(arrivals.alone().new()) == ["/half"]


def test_an_unfinished_request_does_not_belong_to_another_check() -> None:
    evidence = Open()
    arrivals = Arrivals(evidence)
    marked = arrivals.beside("m-1")
    evidence.unfinished = [unfinished("/m-1/half", 1)]
    assert arrivals.alone().new() == ()
    # Its client has now sent the rest.
    evidence.unfinished = []
    evidence.records.add(record("/m-1/half"))
    assert [request.complete for request in marked.new()] == [True]
    evidence.records.add(unfinished("/m-1/other", 2, ended=True))
    assert arrivals.alone().new() == ()
    assert targets(marked.new()) == ["/m-1/other"]
    evidence.records.add(replace(unfinished("/x", 3, ended=True), body=b"POST /x\r\nx: m-1"))
    assert arrivals.alone().new() == ()
    assert targets(marked.new()) == ["/x"]


def test_an_unfinished_request_of_an_earlier_run_belongs_to_no_check() -> None:
    evidence = Open()
    evidence.unfinished = [unfinished("/earlier", 1)]
    assert Arrivals(evidence).alone().new() == ()
