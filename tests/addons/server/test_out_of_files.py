"""Out of file descriptors, new connections wait, and the log has one line a minute."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Any

import pytest

from ibcm_bridge.addons.run import master
from tests.addons.stand_ins.running import Running, wait_for


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_new_connections_wait_until_files_can_be_opened(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    accept = socket.socket.accept
    attempts = 0

    def fail(listening: socket.socket) -> Any:
        nonlocal attempts
        if listening.getsockname()[1] != running.address[1]:
            return accept(listening)
        attempts += 1
        raise OSError(number, "as the system says it")

    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(socket.socket, "accept", fail)
        with socket.create_connection(running.address):
            assert wait_for(lambda: attempts)
            # asyncio tries as often as its backlog allows, again after a second.
            before = attempts
            assert wait_for(lambda: attempts > 2 * before or attempts > 1_500)
    lines = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert lines == ["cannot accept connections: as the system says it; new ones wait"]
    running.assert_serves()


def test_the_line_is_written_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = master.RefusedAccepts()
    for now in (1_000.0, 1_030.0, 1_059.9, 1_060.0, 1_100.0):
        refusals.report(OSError(errno.EMFILE, "too many"), now)
    assert len(caplog.records) == 2


def test_another_error_is_reported_as_before(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    context = {"message": "Task exception", "exception": OSError(errno.EMFILE, "elsewhere")}
    running._loop.call_soon_threadsafe(running._loop.call_exception_handler, context)
    assert wait_for(lambda: "Unhandled error in task." in caplog.messages)
    running.unhandled.clear()
