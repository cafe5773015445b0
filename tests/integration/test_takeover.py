"""A bridge is replaced while clients connect, send requests, download and tunnel: none notices."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED, TUNNELED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.worker_bridges import children, runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a takeover requires Linux")

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/setup.exe"
SOON = 60.0
PAUSE = 0.02
MANY = 40


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


class Bridge(RunningBridge):
    """A bridge with a control socket and named files."""

    def __init__(self, directory: Path, pki: LabPki, site: SiteSystems, **settings: Any) -> None:
        policy = {
            **yaml.safe_load(shipped_policy()),
            "uploads": {"spool": "uploads.sqlite"},
            "messages": {"bindings": "bindings.sqlite"},
            "operations": {"listen": f"127.0.0.1:{free_port()}"},
            **settings,
        }
        self.control = directory / "control" / "control.sock"
        super().__init__(
            directory,
            pki,
            site,
            policy=yaml.safe_dump(policy),
            options=["--control", str(self.control)],
        )
        self.pki = pki

    def change(self, **settings: Any) -> None:
        """Change the policy file."""
        policy = yaml.safe_load(self.policy_file.read_text("utf-8")) | settings
        self.policy_file.write_text(yaml.safe_dump(policy), "utf-8")

    @contextlib.contextmanager
    def successor(self, *options: str) -> Iterator[Bridge]:
        """Start another bridge with the same policy, which takes over."""
        other = copy.copy(self)
        other.lines, other._options = [], [*self._options, "--take-over", *options]
        try:
            started = other._start()
            assert started, "".join(other.lines)
            yield other
        finally:
            other.stop()

    def client(self, credentials: Credentials, name: str = BRIDGED) -> LabClient:
        return LabClient(
            self.address, name, trust=self.pki.root, credential=credentials.computer, timeout=SOON
        )

    def has_said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def ended(self) -> int:
        """Wait for the end of the process, and return its exit status."""
        assert self._process is not None
        return self._process.wait(SOON)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "ibcm_bridge", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=SOON,
        )

    def reload(self) -> subprocess.CompletedProcess[str]:
        return self.command("reload", "--control", str(self.control))


@pytest.fixture
def start(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems
) -> Iterator[Callable[..., Bridge]]:
    """Starts a bridge for one test."""
    with contextlib.ExitStack() as stack:
        yield lambda **settings: stack.enter_context(
            Bridge(tmp_path, pki, site_systems, **settings)
        )


def is_closed(client: LabClient) -> bool:
    """Whether the server has closed the connection, as it may before a request (RFC 9112 §9.5)."""
    return bool(select.select([client.connect()], [], [], 0)[0])


class Load:
    """Clients that connect and send requests all the time. Each failure is kept."""

    def __init__(self, bridge: Bridge, credentials: Credentials) -> None:
        self._connect: Callable[..., LabClient] = lambda name: bridge.client(credentials, name)
        self._ended = threading.Event()
        self.served = [0, 0, 0]
        self._pool = ThreadPoolExecutor()
        self._running: list[Future[None]] = []

    def __enter__(self) -> Load:
        self._running = [
            *(self._pool.submit(self._new_connections, BRIDGED) for _ in range(2)),
            self._pool.submit(self._new_connections, TUNNELED["management-point"]),
            self._pool.submit(self._kept_connection),
            self._pool.submit(self._tunnel),
        ]
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Raise the first failure."""
        self._ended.set()
        self._pool.shutdown()
        for future in self._running:
            future.result()

    def goes_on(self) -> None:
        """Wait until each kind of client was served again."""
        before = self.served.copy()

        def has_gone_on() -> bool:
            for future in self._running:
                if future.done():
                    future.result()
            return all(now > then + 5 for now, then in zip(self.served, before, strict=True))

        until(has_gone_on, "the traffic", SOON)

    def _request(self, client: LabClient, kind: int) -> None:
        assert client.request("GET", MP_LIST).status == 200
        self.served[kind] += 1

    def _new_connections(self, name: str) -> None:
        while not self._ended.wait(PAUSE):
            with self._connect(name) as client:
                self._request(client, 0)

    def _kept_connection(self) -> None:
        """A client of HTTP: it connects again only after `Connection: close`."""
        while not self._ended.is_set():
            with self._connect(BRIDGED) as client:
                while not (client.ended or self._ended.wait(PAUSE) or is_closed(client)):
                    self._request(client, 1)

    def _tunnel(self) -> None:
        """One connection from the beginning to the end."""
        with self._connect(TUNNELED["management-point"]) as client:
            connection = client.connect()
            while not self._ended.wait(PAUSE):
                self._request(client, 2)
                assert client.connect() is connection


@pytest.fixture
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, download_bytes=40 * 1024 * 1024) as site:
        yield site


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 2), (3, 2)])
def test_no_client_notices_a_takeover(
    start: Callable[..., Bridge], credentials: Credentials, before: int, after: int
) -> None:
    bridge = start(workers=before)
    bridge.change(workers=after)
    with (
        Load(bridge, credentials) as load,
        bridge.client(credentials) as client,
        client.receiving(FILE) as (response, pieces),
    ):
        received = len(next(pieces))
        with bridge.successor() as successor:
            until(lambda: bridge.has_said("has taken over; this one drains"), "it", SOON)
            load.goes_on()
            assert runs(bridge.pid), "a download and a tunnel are open"
            received += sum(map(len, pieces))
            load.stop()
            assert bridge.ended() == 0
            assert bridge.has_said("ibcm-bridge: drained")
            assert not bridge.has_said("cut off")
            assert received == int(response.header("Content-Length") or 0)
            if after > 1:
                assert len(children(successor.pid)) == after
            assert successor.reload().returncode == 0
            assert not successor.has_said("Traceback")
    assert not bridge.has_said("Traceback")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_cannot_take_over_changes_nothing(
    start: Callable[..., Bridge], credentials: Credentials, workers: int
) -> None:
    bridge = start(workers=workers)
    text = bridge.policy_file.read_text("utf-8")
    command = ["run", "--config", str(bridge.policy_file), *bridge._options]
    with Load(bridge, credentials) as load:
        refused = bridge.command(*command)
        assert refused.returncode == 1
        assert "replace it with --take-over" in refused.stderr
        # It has the sockets, and fails later: the file of another application.
        (bridge.directory / "other.sqlite").write_bytes(b"no database" * 100)
        bridge.change(uploads={"spool": "other.sqlite"})
        failed = bridge.command(*command, "--take-over")
        assert failed.returncode == 1
        assert "other.sqlite is not a database" in failed.stderr
        until(lambda: bridge.has_said("has ended before it took over; this one goes on"), "it")
        load.goes_on()
        # It is killed while it starts.
        bridge.policy_file.write_text(text, "utf-8")
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "ibcm_bridge", *command, "--take-over"],
            stderr=subprocess.DEVNULL,
        ) as process:
            it = f"process {process.pid}"
            until(lambda: bridge.has_said(f"{it} is taking over"), "the takeover", SOON)
            process.kill()
        until(lambda: bridge.has_said(f"{it} has ended before"), "the end of the takeover", SOON)
        load.goes_on()
        # A reload reports each problem, as `check` does.
        bridge.policy_file.write_text(text + "unknown: 1\nother: 2\n", "utf-8")
        checked = bridge.command("check", "--config", str(bridge.policy_file)).stderr.splitlines()
        reloaded = bridge.reload()
        assert (reloaded.returncode, reloaded.stdout) == (1, "")
        assert reloaded.stderr.splitlines()[:-1] == checked[:-1]
        assert reloaded.stderr.splitlines()[-1].startswith("2 problems; reload refused; the policy")
        bridge.policy_file.write_text(text + "# changed\n", "utf-8")
        reloaded = bridge.reload()
        digest = hashlib.sha256(bridge.policy_file.read_bytes()).hexdigest()[:16]
        assert (reloaded.returncode, reloaded.stderr) == (0, "")
        assert reloaded.stdout == f"reload done; the policy in use is {digest}\n"
        load.goes_on()
    assert bridge.stop() == 0
    assert not bridge.control.exists()
    assert not bridge.has_said("Traceback")


@pytest.mark.parametrize("workers", [1, 2])
def test_connections_wait_in_the_sockets_of_systemd_during_a_restart(
    tmp_path: Path,
    pki: LabPki,
    site_systems: SiteSystems,
    credentials: Credentials,
    workers: int,
) -> None:
    bridge = Bridge(tmp_path, pki, site_systems, workers=workers)
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(address))
            for address in bridge.addresses.values()
        ]

        @contextlib.contextmanager
        def started(number: int) -> Iterator[subprocess.Popen[bytes]]:
            numbers = [listener.fileno() for listener in sockets]
            program = ["-P", "-m", "ibcm_bridge", "run", "--config", str(bridge.policy_file)]
            command = [sys.executable, "-c", LAUNCHER, *map(str, numbers), "--", *program]
            log = tmp_path / f"log{number}"
            with (
                log.open("wb") as stderr,
                subprocess.Popen(command, stderr=stderr, pass_fds=numbers) as process,
            ):
                try:
                    until(lambda: b"listening on" in log.read_bytes(), "the start", SOON)
                    yield process
                finally:
                    process.terminate()

        def new_connection() -> int:
            with bridge.client(credentials) as client:
                return client.request("GET", MP_LIST).status

        with ThreadPoolExecutor() as pool:
            with started(1) as process:
                assert new_connection() == 200
            assert process.returncode == 0
            waiting = [pool.submit(new_connection) for _ in range(10)]
            with started(2):
                assert [future.result(SOON) for future in waiting] == [200] * 10
                assert new_connection() == 200
