"""The records of the simulated site systems, and their limits."""

from __future__ import annotations

from datetime import UTC, datetime

from ibcm_bridge.lab.site_systems.records import Handshake, ReceivedRequest, Records


def record(number: int, size: int = 10) -> ReceivedRequest:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    body = bytes(size)
    return ReceivedRequest(
        now, "x", "GET", f"/{number}", (), body, size, "", None, None, "", number, 200
    )


def targets(records: Records) -> list[str]:
    return [request.target for request in records.received()]


def test_the_latest_records_are_kept() -> None:
    records = Records(kept=3)
    for number in range(5):
        records.add(record(number))
        records.add(Handshake("x", str(number)))
    assert targets(records) == ["/2", "/3", "/4"]
    assert [handshake.sni for handshake in records.handshakes()] == ["2", "3", "4"]


def test_the_bytes_of_bodies_are_limited() -> None:
    records = Records(kept_bytes=100)
    for number, size in enumerate((60, 10, 30, 20, 0)):
        records.add(record(number, size))
    assert targets(records) == ["/1", "/2", "/3", "/4"]
    records.add(record(5, 100))
    assert targets(records) == ["/4", "/5"]
    records.clear()
    records.add(record(6, 100))
    assert targets(records) == ["/6"]


def test_records_can_be_filtered() -> None:
    records = Records()
    for number in range(4):
        records.add(record(number))
    assert [request.target for request in records.received(lambda r: r.peer_port > 2)] == ["/3"]


def test_records_are_read_from_a_position_on() -> None:
    records = Records(kept=3)
    assert records.since(0) == ((), 0)
    for number in range(5):
        records.add(record(number))
    requests, position = records.since(3)
    assert ([request.target for request in requests], position) == (["/3", "/4"], 5)
    assert len(records.since(0)[0]) == 3
    assert records.since(99) == ((), 5)
    records.clear()
    records.add(record(5))
    assert [request.target for request in records.since(position)[0]] == ["/5"]
