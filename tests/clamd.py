"""ClamAV's real daemon, with a signature base of the tests' own.

No update is fetched, and nothing but loopback and a folder of the test is used.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.needs import demand, program

NAME = "Test.Only.Marker"
MARKER = b"a marker that one signature knows"
START_SECONDS = 60.0


@contextmanager
def running_clamd(directory: Path, *options: str) -> Iterator[tuple[Path, tuple[str, int]]]:
    """Its Unix socket, and its address on loopback."""
    demand("clamd")
    base = directory / "base"
    base.mkdir()
    (base / "test.ndb").write_text(f"{NAME}:0:*:{MARKER.hex()}\n", "ascii")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    # Short: the path of a Unix socket has room for 100 characters or so.
    path = directory / "s"
    lines = (
        "Foreground yes",
        f"DatabaseDirectory {base}",
        f"LocalSocket {path}",
        f"TCPSocket {port}",
        "TCPAddr 127.0.0.1",
        f"LogFile {directory / 'clamd.log'}",
        "SelfCheck 0",
        *options,
    )
    config = directory / "clamd.conf"
    config.write_text("\n".join(lines) + "\n", "utf-8")
    process = subprocess.Popen(
        [program("clamd"), f"--config-file={config}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, path, directory / "clamd.log")
        yield path, ("127.0.0.1", port)
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(path))
                return
            except OSError:
                said = log.read_text("utf-8", "replace") if log.exists() else ""
                assert process.poll() is None, f"clamd ended: {said}"
                assert time.monotonic() < deadline, f"clamd does not answer: {said}"
        time.sleep(0.05)
