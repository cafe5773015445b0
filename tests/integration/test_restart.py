"""A bridge restarts while systemd has its sockets (LISTEN_FDS): no client notices more than a wait.

`tests/soak/test_under_systemd.py` does the same with systemd itself.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.under_load import (
    FILE_BYTES,
    MP_LIST,
    SOON,
    TUNNEL,
    Bridge,
    Download,
    Load,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="as systemd does on Linux")

WAITING = 10

LAUNCHER = """
import fcntl, os, sys
place = sys.argv.index("--")
files = [fcntl.fcntl(int(file), fcntl.F_DUPFD, 100) for file in sys.argv[1:place]]
for number, file in enumerate(files, 3):
    os.dup2(file, number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(files)))
os.execv(sys.executable, [sys.executable, *sys.argv[place + 1 :]])
"""
"""Starts a program as systemd does: sockets have the numbers from 3 on."""


class Restarted:
    """A bridge with sockets that stay open while its process is replaced."""

    def __init__(self, bridge: Bridge, log: Path) -> None:
        self._bridge, self._log = bridge, log
        self._sockets = [socket.create_server(address) for address in bridge.addresses.values()]

    def __enter__(self) -> Restarted:
        self._process = self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(SOON)
        for listener in self._sockets:
            listener.close()

    @property
    def lines(self) -> list[str]:
        """The log of all processes."""
        return self._log.read_text("utf-8").splitlines()

    def said(self, text: str) -> int:
        """The number of lines with this text."""
        return sum(text in line for line in self.lines)

    def terminate(self) -> None:
        self._process.terminate()

    def ended(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        return self._process.wait(SOON)

    def start_again(self) -> None:
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        numbers = [listener.fileno() for listener in self._sockets]
        config = ["--config", str(self._bridge.policy_file)]
        program = ["-P", "-m", "ibcm_bridge", "run", *config]
        command = [sys.executable, "-c", LAUNCHER, *map(str, numbers), "--", *program]
        with self._log.open("ab") as log:
            before = self.said("listening on")
            process = subprocess.Popen(command, stderr=log, pass_fds=numbers)
        until(
            lambda: self.said("listening on") > before or process.poll() is not None,
            "the start",
            SOON,
        )
        assert process.poll() is None, self.lines
        return process


@pytest.fixture
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, download_bytes=FILE_BYTES) as site:
        yield site


@pytest.mark.parametrize("workers", [1, 2])
def test_no_client_is_refused_or_cut_off_by_a_restart(
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
    credentials: Credentials,
    workers: int,
) -> None:
    bridge = Bridge(tmp_path, pki, site_systems, workers=workers)

    def new_connection() -> int:
        with bridge.client(credentials) as client:
            return client.request("GET", MP_LIST).status

    with (
        Restarted(bridge, tmp_path / "log") as restarted,
        Load(bridge, credentials) as load,
        Download(bridge, credentials) as download,
        ThreadPoolExecutor() as pool,
    ):
        restarted.terminate()
        load.goes_on(TUNNEL)
        download.finish()
        load.end_tunnel()
        assert restarted.ended() == 0
        assert restarted.said("ibcm-bridge: drained") == 1
        assert restarted.said("cut off") == 0
        # Only the sockets exist now.
        served = load.served.copy()
        waiting = [pool.submit(new_connection) for _ in range(WAITING)]
        with contextlib.suppress(TimeoutError):
            waiting[0].result(1)
        assert not any(client.done() for client in waiting)
        assert load.served == served
        restarted.start_again()
        assert [client.result(SOON) for client in waiting] == [200] * WAITING
        load.goes_on()
        load.stop()
        assert restarted.said("Traceback") == 0
