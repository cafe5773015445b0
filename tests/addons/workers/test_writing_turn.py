"""Workers write the audit in turns, so its lines are whole, also in a pipe and on a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import cast

import pytest

if sys.platform != "linux":
    pytest.skip("several workers require Linux", allow_module_level=True)

from ibcm_bridge.addons.audit.file import AuditFile
from ibcm_bridge.addons.audit.trail import AuditTrail
from ibcm_bridge.addons.stages import HeadRead
from ibcm_bridge.addons.workers.writing_turn import WritingTurn
from ibcm_bridge.policy.policy import WhenUnwritable

# The bridge forks without threads. Here they belong to other tests, and wait.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

LINES = 200


def forked(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def test_lines_of_several_processes_in_a_pipe_are_whole() -> None:
    turn = WritingTurn()
    reading, writing = os.pipe()

    def write(character: str) -> Callable[[], None]:
        def work() -> None:
            file = AuditFile(Path(f"/proc/self/fd/{writing}"), turn)
            for number in range(LINES):
                # A pipe keeps 4,096 bytes whole.
                file.write(json.dumps([number, character * 9_000]) + "\n")

        return work

    pids = [forked(write(character)) for character in "abc"]
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.readlines()
    for pid in pids:
        os.waitpid(pid, 0)
    read = [json.loads(line) for line in lines]
    for character in "abc":
        assert [n for n, text in read if text[0] == character] == list(range(LINES))


def test_a_line_that_one_process_could_not_finish_is_ended_by_the_next(tmp_path: Path) -> None:
    path, turn = tmp_path / "audit.jsonl", WritingTurn()

    def torn() -> None:
        file = AuditFile(path, turn)
        os.write(file._stream.fileno(), b"half of a li")
        with turn:
            turn.torn = True

    os.waitpid(forked(torn), 0)
    with contextlib.closing(AuditFile(path, turn)) as file:
        file.write("second\n")
        file.write("third\n")
    assert path.read_text() == "half of a li\nsecond\nthird\n"


def test_a_line_of_a_process_killed_during_its_write_is_ended_by_the_next(tmp_path: Path) -> None:
    path, turn = tmp_path / "audit.jsonl", WritingTurn()

    class Killed:
        def write(self, data: bytes) -> int:
            with path.open("ab") as file:
                file.write(data[:4])
            os.kill(os.getpid(), signal.SIGKILL)
            return 4

    def work() -> None:
        file = AuditFile(path, turn)
        file._stream = cast("RawIOBase", Killed())
        file.write("first line\n")

    os.waitpid(forked(work), 0)
    with contextlib.closing(AuditFile(path, turn)) as file:
        file.write("second\n")
    assert path.read_text() == "firs\nsecond\n"


@pytest.mark.parametrize("text", ["", "whole\n"])
def test_a_process_killed_beside_its_write_leaves_no_empty_line(tmp_path: Path, text: str) -> None:
    path, turn = tmp_path / "audit.jsonl", WritingTurn()
    path.write_text(text)
    turn.torn = True
    with contextlib.closing(AuditFile(path, turn)) as file:
        file.write("next\n")
    assert path.read_text() == f"{text}next\n"


def test_a_killed_process_leaves_its_turn_to_others(tmp_path: Path) -> None:
    turn = WritingTurn()
    reading, writing = os.pipe()

    def hold() -> None:
        with turn:
            os.write(writing, b"x")
            threading.Event().wait()

    pid = forked(hold)
    assert os.read(reading, 1) == b"x"
    threading.Timer(0.05, os.kill, (pid, signal.SIGKILL)).start()
    with contextlib.closing(AuditFile(tmp_path / "audit.jsonl", turn)) as file:
        file.write("after it\n")
    os.waitpid(pid, 0)
    assert (tmp_path / "audit.jsonl").read_text() == "after it\n"


def test_a_stopped_process_keeps_others_from_writing_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, waits = WritingTurn(), []
    wait = turn._wait
    monkeypatch.setattr(turn, "_wait", lambda: waits.append(1) or wait())
    reading, writing = os.pipe()

    def hold() -> None:
        with turn:
            os.write(writing, b"x")
            os.kill(os.getpid(), signal.SIGSTOP)

    pid = forked(hold)
    assert os.read(reading, 1) == b"x"
    os.waitpid(pid, os.WUNTRACED)
    path = tmp_path / "audit.jsonl"
    with contextlib.closing(AuditFile(path, turn)) as file:
        for line in ("one\n", "two\n"):
            file.write(line)
        assert (len(waits), turn._is_ours) == (1, False)
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
        file.write("three\n")
        assert turn._is_ours
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_failure_is_that_of_all_processes_until_one_of_them_can_write(tmp_path: Path) -> None:
    turn = WritingTurn()
    trail = AuditTrail(tmp_path / "audit.jsonl", turn=turn)
    read = cast("HeadRead", object())
    assert trail.head_read(read) is read

    def fail() -> None:
        file = AuditFile(Path("/dev/full"), turn)
        with contextlib.suppress(OSError):
            file.write("lost\n")

    os.waitpid(forked(fail), 0)
    with pytest.raises(OSError, match="not writable"):
        trail.head_read(read)
    # As the record of the refusal does.
    trail._file.write("written\n")
    assert trail.head_read(read) is read
    trail.close()


def test_with_continue_the_failure_of_another_process_refuses_nothing(tmp_path: Path) -> None:
    turn = WritingTurn()
    trail = AuditTrail(tmp_path / "audit.jsonl", WhenUnwritable.CONTINUE, turn=turn)
    turn.failed = True
    read = cast("HeadRead", object())
    assert trail.head_read(read) is read
    trail.close()
