"""A bridge that is reloaded, replaced or restarted, and clients that must not notice it."""

from __future__ import annotations

import contextlib
import copy
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED, TUNNELED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"
FILE = "/SMS_DP_SMSPKG$/Content_00000000-0000-0000-0000-000000000007.1/sccm?/setup.exe"
FILE_BYTES = 40 * 1024 * 1024
"""More than the buffers between a site system and a client."""

SOON = 60.0
PAUSE = 0.02
SLOW = 1.0
"""The seconds between two pieces (256 KB) of a slow download: it lasts longer than any start."""

NEW, KEPT, TUNNEL = range(3)
"""The kinds of clients: with a connection for each request, with one for many, in a tunnel."""


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


def is_closed(client: LabClient) -> bool:
    """Whether the server has closed the connection, as it may before a request (RFC 9112 §9.5)."""
    return bool(select.select([client.connect()], [], [], 0)[0])


class Load:
    """Clients that connect and send requests all the time. Each failure is kept."""

    def __init__(self, bridge: Bridge, credentials: Credentials) -> None:
        self._connect: Callable[..., LabClient] = lambda name: bridge.client(credentials, name)
        self._ended = threading.Event()
        self._tunnel_ends = threading.Event()
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

    def end_tunnel(self) -> None:
        """Let the tunnel end after its request, and begin again."""
        self._tunnel_ends.set()

    def goes_on(self, *kinds: int) -> None:
        """Wait until each kind of client, or each of these, was served again."""
        before, kinds = self.served.copy(), kinds or (NEW, KEPT, TUNNEL)

        def has_gone_on() -> bool:
            for future in self._running:
                if future.done():
                    future.result()
            return all(
                self.served[kind] > before[kind] + 5 for kind in kinds or (NEW, KEPT, TUNNEL)
            )

        until(has_gone_on, "the traffic", SOON)

    def _request(self, client: LabClient, kind: int) -> None:
        assert client.request("GET", MP_LIST).status == 200
        self.served[kind] += 1

    def _new_connections(self, name: str) -> None:
        while not self._ended.wait(PAUSE):
            with self._connect(name) as client:
                self._request(client, NEW)

    def _kept_connection(self) -> None:
        """A client of HTTP: it connects again only after `Connection: close`."""
        while not self._ended.is_set():
            with self._connect(BRIDGED) as client:
                while not (client.ended or self._ended.wait(PAUSE) or is_closed(client)):
                    self._request(client, KEPT)

    def _tunnel(self) -> None:
        """One connection from the beginning to the end, or until `end_tunnel`."""
        while not self._ended.is_set():
            self._tunnel_ends.clear()
            with self._connect(TUNNELED["management-point"]) as client:
                connection = client.connect()
                while not (self._tunnel_ends.is_set() or self._ended.wait(PAUSE)):
                    self._request(client, TUNNEL)
                    assert client.connect() is connection


class Download:
    """A client that downloads slowly, until `finish`."""

    def __init__(self, bridge: Bridge, credentials: Credentials) -> None:
        self._connect = lambda: bridge.client(credentials)
        self._started, self._hurry = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor()

    def __enter__(self) -> Download:
        self._running = self._pool.submit(self._receive)
        until(lambda: self._started.is_set() or self._running.done(), "the download", SOON)
        return self

    def __exit__(self, *_: object) -> None:
        self._hurry.set()
        self._pool.shutdown()

    def finish(self) -> None:
        """Take the rest. Fail unless it was under way until now, and the file is complete."""
        assert not self._running.done(), self._running.result()
        self._hurry.set()
        assert self._running.result(SOON) == FILE_BYTES

    def _receive(self) -> int:
        """The number of received bytes."""
        received = 0
        with self._connect() as client, client.receiving(FILE) as (response, pieces):
            assert response.status == 200
            for piece in pieces:
                received += len(piece)
                self._started.set()
                self._hurry.wait(SLOW)
        return received
