"""A listener counts the open connections of each generation."""

from __future__ import annotations

import socket

import pytest

from ibcm_bridge.addons.connections import Connections
from tests.addons.stand_ins.running import SOON, Running


def test_a_connection_that_cannot_be_recorded_is_not_counted(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("made to fail")

    with monkeypatch.context() as patch:
        patch.setattr(Connections, "open", fail)
        with socket.create_connection(running.address, SOON) as connection:
            assert not connection.recv(1)
    assert running.bridge.generation.connections == 0, "the generation can retire"
    running.assert_serves()
