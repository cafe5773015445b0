"""The parent calls a function for each of its sockets that is readable."""

from __future__ import annotations

import socket
import sys

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
