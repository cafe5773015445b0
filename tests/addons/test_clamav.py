"""ClamAV through its daemon: the real one, and ones that misbehave."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ibcm_bridge.addons.clamav import CHUNK, MAX_ANSWER, ClamAvEngine, described
from ibcm_bridge.inspection.engines import EngineError
from ibcm_bridge.lab.clamd import DEADLY, SIGNATURE, ScanDaemon
from ibcm_bridge.lab.clamd import MARKER as LAB_MARKER
from ibcm_bridge.policy import ClamAv
from tests.clamd import MARKER, NAME, running_clamd

LIMIT = 3 * CHUNK


@pytest.fixture(scope="module")
def clamd() -> Iterator[tuple[Path, tuple[str, int]]]:
    with (
        tempfile.TemporaryDirectory() as directory,
        running_clamd(Path(directory), f"StreamMaxLength {LIMIT}") as found,
    ):
        yield found


@pytest.fixture(params=["socket", "address"])
def engine(clamd: tuple[Path, tuple[str, int]], request: pytest.FixtureRequest) -> ClamAvEngine:
    return ClamAvEngine(ClamAv(clamd[request.param == "address"], 30.0))


@pytest.mark.parametrize(
    "data",
    [MARKER, b"x" * 100 + MARKER, bytes(CHUNK - 10) + MARKER, bytes(LIMIT - 100) + MARKER],
)
def test_the_real_daemon_finds_what_it_knows(engine: ClamAvEngine, data: bytes) -> None:
    assert engine.scan(data) == f"{NAME}.UNOFFICIAL"


@pytest.mark.parametrize("data", [b"", b"x", bytes(CHUNK), MARKER[:-1], bytes(LIMIT)])
def test_the_real_daemon_finds_nothing_else(engine: ClamAvEngine, data: bytes) -> None:
    assert engine.scan(data) is None


def test_a_stream_that_the_daemon_finds_too_long_has_no_answer(engine: ClamAvEngine) -> None:
    with pytest.raises(EngineError, match="size limit exceeded"):
        engine.scan(bytes(LIMIT + CHUNK))


def test_it_says_its_version(engine: ClamAvEngine) -> None:
    assert engine.version().startswith("ClamAV ")


def test_the_stand_in_of_the_lab_answers_alike() -> None:
    with ScanDaemon() as daemon:
        engine = ClamAvEngine(ClamAv(daemon.address, 5.0))
        assert engine.scan(b"x") is None
        assert engine.scan(b"x" + LAB_MARKER.encode()) == SIGNATURE
        assert engine.version().startswith("ClamAV ")
        with pytest.raises(EngineError, match="closed the connection"):
            engine.scan(DEADLY.encode())


# Daemons that misbehave


Behave = Callable[[socket.socket], None]


@contextmanager
def daemon(behave: Behave) -> Iterator[ClamAvEngine]:
    """One that does this with its one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield ClamAvEngine(ClamAv(listener.getsockname(), 0.5))
        thread.join(10)


def says(answer: bytes) -> Behave:
    def behave(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(bytes(4)):
            received += connection.recv(65_536)
        connection.sendall(answer)

    return behave


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed the connection"),
        (b"stream: OK", "closed the connection"),
        (b"stream: OK\0stream: OK\0", "more than one answer"),
        (b"stream: OK\0x", "more than one answer"),
        (b"stream: \0", "stream: "),
        (b"OK\0", "OK"),
        (b"stream: OKAY\0", "OKAY"),
        (b"xstream: OK\0", "xstream"),
        (b"stream: ok\0", "ok"),
        (b"stream: OK\n\0", "OK"),
        (b"1: stream: OK\0", "1: stream"),
        (b"stream: lstat() failed: ERROR\0", "ERROR"),
        (b"INSTREAM size limit exceeded. ERROR\0", "size limit exceeded"),
        (b"UNKNOWN COMMAND\0", "UNKNOWN COMMAND"),
        (b"stream: two words FOUND\0", "two words FOUND"),
        (b"stream: " + b"x" * 129 + b" FOUND\0", "xxx"),
        (b"stream: \xff\x1b[31m FOUND\0", r"\?"),
        (b"\0", "^$"),
        (b"x" * (MAX_ANSWER + 1), "too long an answer"),
    ],
)
def test_anything_but_a_plain_answer_is_none(answer: bytes, why: str) -> None:
    with daemon(says(answer)) as engine, pytest.raises(EngineError, match=why):
        engine.scan(b"x")


@pytest.mark.parametrize("name", [b"x", b"Win.Test.EICAR_HDB-1", b"x" * 128])
def test_a_find_is_named(name: bytes) -> None:
    with daemon(says(b"stream: %b FOUND\0" % name)) as engine:
        assert engine.scan(b"x") == name.decode()


def test_a_daemon_that_never_answers_is_not_waited_for_long() -> None:
    waiting = threading.Event()
    with daemon(lambda _: waiting.wait(10) and None) as engine:
        with pytest.raises(EngineError, match=r"no answer in 0\.5 s"):
            engine.scan(b"x")
        waiting.set()


def test_one_that_reads_nothing_is_not_either() -> None:
    waiting = threading.Event()
    with daemon(lambda _: waiting.wait(10) and None) as engine:
        with pytest.raises(EngineError, match=r"no answer in 0\.5 s"):
            engine.scan(bytes(64 * CHUNK))
        waiting.set()


def test_one_that_answers_a_letter_at_a_time_is_not_either() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            try:
                connection.sendall(b"x")
            except OSError:
                return

    with daemon(drip) as engine:
        with pytest.raises(EngineError, match=r"no answer in 0\.5 s"):
            engine.scan(b"x")
        stop.set()


def test_one_that_goes_away_in_the_middle_has_not_answered() -> None:
    def leave(connection: socket.socket) -> None:
        connection.recv(10)

    with daemon(leave) as engine, pytest.raises(EngineError):
        engine.scan(bytes(64 * CHUNK))


@pytest.mark.parametrize("path", ["none", "a file"])
def test_without_a_daemon_there_is_no_answer(tmp_path: Path, path: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(EngineError):
        ClamAvEngine(ClamAv(tmp_path / path, 1.0)).scan(b"x")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(EngineError, match="refused"):
            ClamAvEngine(ClamAv(closed.getsockname(), 1.0)).scan(b"x")


def test_where_it_is_is_said_as_the_policy_has_it() -> None:
    assert described(ClamAv(Path("/run/clamd"))) == "/run/clamd"
    assert described(ClamAv(("::1", 3310))) == "[::1]:3310"
