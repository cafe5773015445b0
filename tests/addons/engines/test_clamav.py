"""ClamAV through its daemon: the real daemon, and daemons that misbehave."""

from __future__ import annotations

import dataclasses
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibcm_bridge.addons.engines.clamav import (
    CHUNK,
    MAX_RESPONSE,
    ClamAvEngine,
    daemon_address,
    verdict,
)
from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.commands.check.site_systems import check_connections
from ibcm_bridge.inspection.engines import EngineError
from ibcm_bridge.lab.site_systems.clamd import DEADLY, SIGNATURE, ScanDaemon
from ibcm_bridge.lab.site_systems.clamd import MARKER as LAB_MARKER
from ibcm_bridge.policy.policy import ClamAv
from tests.addons.stand_ins.lab import Lab
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
def test_the_real_daemon_detects_known_malware(engine: ClamAvEngine, data: bytes) -> None:
    assert engine.scan(data) == f"{NAME}.UNOFFICIAL"


@pytest.mark.parametrize("data", [b"", b"x", bytes(CHUNK), MARKER[:-1], bytes(LIMIT)])
def test_the_real_daemon_detects_nothing_else(engine: ClamAvEngine, data: bytes) -> None:
    assert engine.scan(data) is None


def test_a_stream_over_the_limit_of_the_daemon_is_an_error(engine: ClamAvEngine) -> None:
    with pytest.raises(EngineError, match="size limit exceeded"):
        engine.scan(bytes(LIMIT + CHUNK))


def test_the_daemon_reports_its_version(engine: ClamAvEngine) -> None:
    assert engine.version().startswith("ClamAV ")


def test_the_lab_daemon_responds_like_the_real_one() -> None:
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
    """An engine whose daemon does this with its only connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield ClamAvEngine(ClamAv(listener.getsockname(), 0.5))
        thread.join(10)


def sends(response: bytes) -> Behave:
    def behave(connection: socket.socket) -> None:
        received = b""
        while not received.endswith(bytes(4)):
            received += connection.recv(65_536)
        connection.sendall(response)

    return behave


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "closed the connection"),
        (b"stream: OK", "closed the connection"),
        (b"stream: OK\0stream: OK\0", "more than one response"),
        (b"stream: OK\0x", "more than one response"),
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
        (b"stream:  FOUND\0", "FOUND"),
        (b"stream: FOUND\0", "FOUND"),
        (b"\xff\x1b[31m\0", r"^\?\?\[31m$"),
        (b"\0", "^$"),
        (b"x" * (MAX_RESPONSE + 1), "response is too long"),
    ],
)
def test_any_other_response_is_an_error(response: bytes, why: str) -> None:
    with daemon(sends(response)) as engine, pytest.raises(EngineError, match=why):
        engine.scan(b"x")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"x", "x"),
        (b"Win.Test.EICAR_HDB-1", "Win.Test.EICAR_HDB-1"),
        # If a role may continue without a response, a detection must not become a missing one.
        (b"two words", "two words"),
        (b"x" * 129, "x" * 128),
        (b"\xff\x1b[31m\n", "??[31m?"),
    ],
)
def test_a_detection_returns_the_signature_name(name: bytes, shown: str) -> None:
    with daemon(sends(b"stream: %b FOUND\0" % name)) as engine:
        assert engine.scan(b"x") == shown


RESPONSES = st.one_of(
    st.binary(max_size=200),
    st.builds(
        b"".join,
        st.lists(st.sampled_from([b"stream:", b" ", b"OK", b"FOUND", b"ERROR", b"\n", b"x", b"1"])),
    ),
)


@given(RESPONSES)
def test_only_one_response_is_clean_and_every_text_is_printable(response: bytes) -> None:
    try:
        found = verdict(response)
    except EngineError as error:
        text = str(error)
        assert not (response.startswith(b"stream: ") and response.endswith(b" FOUND")) or (
            response == b"stream:  FOUND" or len(response) < len(b"stream: x FOUND")
        )
    else:
        assert (found is None) == (response == b"stream: OK")
        assert found is None or response.endswith(b" FOUND")
        text = found or ""
    assert len(text) <= 128
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize("closes", [True, False])
def test_a_clean_response_counts_only_after_the_whole_stream(closes: bool) -> None:
    done = threading.Event()

    def hurry(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"stream: OK\0")
        if not closes:
            done.wait(10)

    why = "before it received everything" if closes else "no response within"
    with daemon(hurry) as engine:
        with pytest.raises(EngineError, match=why):
            engine.scan(bytes(64 * CHUNK))
        done.set()


def test_a_daemon_that_never_responds_times_out() -> None:
    waiting = threading.Event()
    with daemon(lambda _: waiting.wait(10) and None) as engine:
        with pytest.raises(EngineError, match=r"no response within 0\.5 s"):
            engine.scan(b"x")
        waiting.set()


def test_a_daemon_that_reads_nothing_times_out() -> None:
    waiting = threading.Event()
    with daemon(lambda _: waiting.wait(10) and None) as engine:
        with pytest.raises(EngineError, match=r"no response within 0\.5 s"):
            engine.scan(bytes(64 * CHUNK))
        waiting.set()


def test_a_daemon_that_sends_a_byte_at_a_time_times_out() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        while not stop.wait(0.05):
            try:
                connection.sendall(b"x")
            except OSError:
                return

    with daemon(drip) as engine:
        with pytest.raises(EngineError, match=r"no response within 0\.5 s"):
            engine.scan(b"x")
        stop.set()


def test_a_daemon_that_disconnects_during_the_stream_is_an_error() -> None:
    def leave(connection: socket.socket) -> None:
        connection.recv(10)

    with daemon(leave) as engine, pytest.raises(EngineError):
        engine.scan(bytes(64 * CHUNK))


@pytest.mark.parametrize("path", ["none", "a file"])
def test_a_missing_daemon_is_an_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(EngineError):
        ClamAvEngine(ClamAv(tmp_path / path, 1.0)).scan(b"x")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(EngineError, match="refused"):
            ClamAvEngine(ClamAv(closed.getsockname(), 1.0)).scan(b"x")


def test_the_connection_check_contacts_clamav(lab: Lab) -> None:
    def found(address: tuple[str, int]) -> Finding:
        policy = dataclasses.replace(lab.policy, listeners=(), clamav=ClamAv(address, 1.0))
        (finding,) = check_connections(policy)
        return finding

    with ScanDaemon() as daemon:
        working = found(daemon.address)
    assert (working.level, working.text) == (Level.FACT, "ClamAV simulated by the lab")
    gone = found(daemon.address)
    assert (gone.level, gone.requirement) == (Level.PROBLEM, "BRIDGE-INSPECT")
    assert "no response" in gone.text


def test_the_daemon_address_is_shown_as_in_the_policy() -> None:
    assert daemon_address(ClamAv(Path("/run/clamd"))) == "/run/clamd"
    assert daemon_address(ClamAv(("::1", 3310))) == "[::1]:3310"
