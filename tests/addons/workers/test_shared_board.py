"""Snapshots of workers survive the workers, and a write that was cut short."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.operations.numbers import Snapshot
from ibcm_bridge.addons.workers.shared_board import SharedBoard

# The bridge forks without threads. Here they belong to other tests, and wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def snapshot(count: float) -> Snapshot:
    return Snapshot(count, {("ibcm_tunnels", ("a", "allow", "")): count})


def test_each_worker_sees_the_last_snapshot_of_all() -> None:
    board = SharedBoard(3)
    first, second = board.of(0), board.of(1)
    assert first.before() is None
    for count in range(5):
        first.publish(snapshot(count))
    second.publish(snapshot(7))
    assert second.all() == first.all() == [snapshot(4), snapshot(7), None]


def test_the_snapshot_of_an_ended_process_remains_for_its_successor() -> None:
    board = SharedBoard(2)
    pid = os.fork()
    if pid == 0:
        board.of(1).publish(snapshot(3))
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.of(1).before() == snapshot(3)
    board.of(1).publish(snapshot(4))
    assert board.of(0).all() == [None, snapshot(4)]


@pytest.mark.parametrize("length", [0, 1, 19, 20, 40])
def test_a_snapshot_that_was_cut_short_does_not_count(length: int) -> None:
    board = SharedBoard(1)
    own = board.of(0)
    own.publish(snapshot(1))
    own.publish(snapshot(2))
    newest = board._places[0]._files[0]
    os.ftruncate(newest, length)
    assert own.all() == [snapshot(1)]
    own.publish(snapshot(3))
    assert own.all() == [snapshot(3)]


def test_a_shorter_snapshot_replaces_a_longer_one() -> None:
    own = SharedBoard(1).of(0)
    long = Snapshot(1, degraded=("a problem that has a long text",) * 10)
    for each in (long, long, snapshot(2), snapshot(3)):
        own.publish(each)
        assert own.all() == [each]
