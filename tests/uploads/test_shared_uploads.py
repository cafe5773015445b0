"""Uploads of several machines, in a PostgreSQL database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import pytest

from ibcm_bridge.decisions.denial import Reason
from ibcm_bridge.policy.policy import StateDatabase
from ibcm_bridge.storage.postgresql_stores import (
    UPLOAD_CONNECTIONS,
    SharedUploads,
    read_shared_object,
)
from ibcm_bridge.storage.stores import Transaction
from ibcm_bridge.storage.upload_table import SpoolError
from ibcm_bridge.uploads.session import StoredObject, UploadPart
from tests.postgresql_server import PostgresqlServer
from tests.uploads.conftest import LIMITS, Clock
from tests.uploads.fragments import CLOSE, DATA, ME, OTHER, acknowledged, fragment, refused, took

pytestmark = pytest.mark.needs("postgresql")

Machine = Callable[[], SharedUploads]


@pytest.fixture
def machine(state: StateDatabase, clock: Clock) -> Iterator[Machine]:
    """Another machine."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(closing(SharedUploads(state, LIMITS, clock)))


def test_another_machine_continues_at_the_acknowledged_offset(machine: Machine) -> None:
    first, second = machine(), machine()
    assert first.begin(ME, "{1}") is None
    assert acknowledged(first, took(first, 0, 200), 200) is None
    # The site system has acknowledged 200 of 300 bytes when the machine dies.
    took(first, 200, 300)
    first.close()
    gap = refused(second.take(fragment(400, 512), ME, DATA[400:512]))
    assert (gap.reason, gap.received) == (Reason.UPLOAD_GAP, 200)
    assert acknowledged(second, took(second, 200, 400), 400) is None
    last = took(second, 400, 512)
    assert last.stored is not None
    assert read_shared_object(last.stored) == DATA
    assert acknowledged(second, last, 512) is None
    assert isinstance(second.take(CLOSE, ME, b""), UploadPart)


def test_a_packet_that_was_not_stored_completely_was_not_stored(
    machine: Machine, postgresql: PostgresqlServer, state: StateDatabase
) -> None:
    first, second = machine(), machine()
    first.begin(ME, "{1}")
    took(first, 0, 100)

    # A machine that dies in its transaction: the server ends it.
    def die() -> None:
        with first._database.transaction() as transaction:
            transaction.execute("UPDATE ibcm_bridge.sessions SET length = 300")
            transaction.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(SpoolError, match="is being shut down"):
        die()
    part = took(second, 100, 512)
    assert part.stored is not None
    assert second.read(part.stored) == DATA


def test_two_machines_cannot_store_different_bytes(machine: Machine) -> None:
    machines = [machine() for _ in range(4)]
    machines[0].begin(ME, "{1}")
    start = threading.Barrier(len(machines))
    results: dict[int, object] = {}

    def take(number: int) -> None:
        start.wait()
        results[number] = machines[number].take(fragment(0, 512), ME, bytes([number]) * 512)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [number for number, result in results.items() if isinstance(result, UploadPart)]
    part = results[winner]
    assert isinstance(part, UploadPart)
    assert part.session is not None
    stored = StoredObject("", part.session.name, 512)
    assert machines[0].read(stored) == bytes([winner]) * 512
    for number in results.keys() - {winner}:
        assert refused(results[number]).reason is Reason.UPLOAD_CHANGED


def test_one_machine_sweeps_at_a_time(machine: Machine, clock: Clock) -> None:
    first, second = machine(), machine()
    first.begin(ME, "{1}")
    clock.now += LIMITS.abandoned_after + 1
    begin_sweep = first._statements.begin_sweep
    assert begin_sweep is not None
    with first._database.transaction() as transaction:
        assert transaction.execute(begin_sweep).fetchone() is not None
        assert second.sweep() == 0
    assert second.sweep() == 1
    assert first.sweep() == 0


def test_a_session_in_use_is_not_swept(machine: Machine, clock: Clock) -> None:
    first, second = machine(), machine()
    first.begin(ME, "{1}")
    clock.now += LIMITS.abandoned_after + 1
    values = (ME.site_system, "{1}")
    with first._database.transaction() as transaction:
        transaction.execute(first._statements.find_to_change, values)
        assert second.sweep() == 0
        # Nor does a client at its limit lose it.
        for number in range(LIMITS.per_client_sessions):
            assert second.begin(ME, f"{{other{number}}}") is None
    took(first, 0, 100)


def test_a_large_object_is_read_in_pieces(
    state: StateDatabase, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibcm_bridge.storage.upload_table._PIECE", 1_000)
    size = 100_000
    data = bytes(range(250)) * (size // 250)
    limits = replace(LIMITS, max_bytes=size, max_total_bytes=2 * size, per_client_bytes=size)
    with closing(SharedUploads(state, limits, clock)) as uploads:
        uploads.begin(ME, "{1}")
        for first in range(0, size, 12_500):
            part = took(uploads, first, first + 12_500, data)
        assert part.stored is not None
        assert read_shared_object(part.stored) == data
        with pytest.raises(SpoolError, match="has an incomplete upload"):
            uploads.read(replace(part.stored, length=size + 1))


def test_a_frozen_server_makes_nobody_wait_for_long(
    machine: Machine, postgresql: PostgresqlServer
) -> None:
    uploads = machine()
    uploads.begin(ME, "{1}")
    took(uploads, 0, 100)
    with postgresql.frozen():
        began = time.monotonic()
        with pytest.raises(SpoolError, match="has not responded for 5 s"):
            uploads.take(fragment(100, 512), ME, DATA[100:512])
        assert time.monotonic() - began < 8.0
    part = took(uploads, 100, 512)
    assert part.stored is not None
    assert uploads.read(part.stored) == DATA


def test_as_many_sessions_as_connections_begin_at_the_same_time(machine: Machine) -> None:
    uploads = machine()
    senders = [replace(ME, key=f"{number:064x}") for number in range(LIMITS.sessions)]
    assert len(senders) == UPLOAD_CONNECTIONS
    together = threading.Barrier(len(senders))
    execute = uploads._database.transaction

    # Each has taken its connection before any goes on.
    @contextmanager
    def transaction() -> Iterator[Transaction]:
        with execute() as found:
            if not together.broken:
                together.wait(5)
            yield found

    uploads.sweep()
    uploads.sweep = lambda: 0  # type: ignore[method-assign]
    uploads._database.transaction = transaction  # type: ignore[method-assign]
    results: list[object] = []

    def begin(number: int) -> None:
        results.append(uploads.begin(senders[number], f"{{{number}}}"))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(len(senders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [None] * len(senders)


def test_a_limit_of_sessions_holds_while_others_are_in_use(machine: Machine) -> None:
    first, second = machine(), machine()
    for number in range(LIMITS.per_client_sessions):
        assert first.begin(ME, f"{{me{number}}}") is None
        assert first.begin(OTHER, f"{{other{number}}}") is None
    third = replace(ME, key="c" * 64)
    with first._database.transaction() as transaction:
        transaction.execute("SELECT name FROM ibcm_bridge.sessions FOR UPDATE")
        assert refused(second.begin(third, "{3}")).reason is Reason.OVERLOADED
    assert second.begin(third, "{3}") is None
    assert second.totals()[0] == LIMITS.sessions
