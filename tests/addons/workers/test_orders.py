"""A worker gets the texts of a policy as its parent has read them, and its new sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.run.reload import PolicyText
from ibcm_bridge.addons.workers.orders import Prepare


class Worker:
    """Gets its orders from the same process."""

    def __init__(self) -> None:
        self.message, self.files = b"", list[int]()

    def order(self, message: bytes, files: Sequence[int] = ()) -> None:
        self.message, self.files = message, [os.dup(file) for file in files]


@pytest.mark.parametrize("shadow", [None, b"", b"shadow" * 100_000])
def test_an_order_has_both_texts_and_the_sockets(shadow: bytes | None) -> None:
    worker, text = Worker(), PolicyText(b"policy" * 100_000, shadow)
    address = ("127.0.0.1", 8_443)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Prepare(7, text, {address: [listener] * 2}).send_to(worker)  # type: ignore[arg-type]
        received = Prepare.received(worker.message, worker.files)
        assert (received.number, received.text) == (7, text)
        ((known, opened),) = received.sockets.items()
        assert known == address
        assert {found.getsockname() for found in opened} == {listener.getsockname()}
        for found in opened:
            found.close()
    assert len(worker.message) < 1_000
