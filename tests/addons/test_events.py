"""Received data that is lent to a layer is either read at once, or copied."""

from __future__ import annotations

import pytest
from mitmproxy.connection import Server

from ibcm_bridge.addons.events import DataLent

SERVER = Server(address=("192.0.2.1", 443))


def test_a_layer_that_reads_at_once_gets_the_memory_itself() -> None:
    memory = bytearray(b"received")
    event = DataLent(SERVER, view := memoryview(memory))
    assert event.view() is view
    event.take_back()
    view.release()
    memory.clear()  # a BufferError if anything had kept the memory


@pytest.mark.parametrize("early", [False, True], ids=["the event waits", "data is read first"])
def test_any_other_layer_gets_a_copy(early: bool) -> None:
    memory = bytearray(b"received")
    event = DataLent(SERVER, view := memoryview(memory))
    if early:
        assert event.data == b"received"
    event.take_back()
    view.release()
    memory[:] = b"of other"
    assert event.data == event.view() == b"received"
