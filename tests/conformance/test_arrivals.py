"""What arrives belongs to the check that sent it, also when several run at the same time."""

from __future__ import annotations

from datetime import UTC, datetime

from ibcm_bridge.conformance.arrivals import Arrivals
from ibcm_bridge.lab.site_systems.records import ReceivedRequest, Records


def record(target: str) -> ReceivedRequest:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return ReceivedRequest(now, "x", "GET", target, (), b"", 0, "", None, None, "", 1, 200)


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
