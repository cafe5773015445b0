"""The parent calls a function for each of its sockets that is readable."""

from __future__ import annotations

import socket
import sys
import time

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.workers.poll_readers import PollReaders


def test_a_function_may_remove_the_next_socket() -> None:
    readers, called = PollReaders(), list[str]()
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:

        def remove() -> None:
            called.append("one")
            readers.remove_reader(two)

        readers.add_reader(one, remove)
        readers.add_reader(two, lambda: called.append("two"))
        readers.add_reader(three, lambda: called.append("three"))
        assert readers.files == [one.fileno(), two.fileno(), three.fileno()]
        readers.run([one.fileno(), two.fileno(), 10_000])
    assert called == ["one"]


def test_a_function_is_called_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    readers, called = PollReaders(), list[str]()
    assert readers.due is None
    readers.call_later(2.0, lambda: called.append("second"))
    readers.call_later(1.0, lambda: called.append("first"))
    assert readers.due == 101.0
    readers.run([])
    assert called == []
    now = 101.0
    readers.run([])
    assert (called, readers.due) == (["first"], 102.0)
    now = 103.0
    readers.run([])
    assert (called, readers.due) == (["first", "second"], None)


def test_a_socket_can_be_removed_twice() -> None:
    readers = PollReaders()
    with socket.socket() as one:
        readers.add_reader(one, lambda: None)
        readers.remove_reader(one)
        readers.remove_reader(one)
    assert readers.files == []
