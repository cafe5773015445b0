"""Two bridges that share their state, behind HAProxy: the files of deploy/haproxy/one-machine."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ibcm_bridge.lab.bridge.process import free_ports, with_site_systems
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, run_steps
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import (
    ConnectionEnded,
    HandshakeRefused,
    LabClient,
    Request,
    Response,
)
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.reading import until
from tests.needs import program
from tests.whole_lines import whole_lines

HAPROXY = Path(__file__).parents[2] / "deploy" / "haproxy"
NAMES = ("bridge-1", "bridge-2")
BACKENDS = ("bridges-https", "bridges-updates")
FRONT = "127.0.0.10"
PORTS = (8443, 8531, 9100)
SOON = 60.0
START_SECONDS = 180.0
"""A busy machine compiles the rules for a long time."""

MP_LIST = "/SMS_MP/.sms_aut?MPLIST"


@dataclass
class Bridge:
    """A bridge as a process, which can be killed, drained and started again."""

    policy: Path
    log: Path
    audit_file: Path
    program: Sequence[str] = (sys.executable, "-P", "-m", "ibcm_bridge")
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [*self.program, "run", "--config", str(self.policy)]
        begins = len(self.said())
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log)
        until(
            lambda: "listening on" in self.said()[begins:] or self.has_ended(),
            "start",
            START_SECONDS,
        )
        assert not self.has_ended(), self.said()[begins:]

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def send(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)

    def end(self, by: signal.Signals) -> int:
        """Send a signal that ends the process; return the exit status."""
        self.send(by)
        assert self._process is not None
        return self._process.wait(SOON)

    def said(self) -> str:
        return self.log.read_text("utf-8") if self.log.exists() else ""

    def audit(self) -> list[dict[str, Any]]:
        lines = whole_lines(self.audit_file)
        return [record for line in lines if "reference" in (record := json.loads(line))]


class TwoBridges:
    """HAProxy, the bridges and the ports. A context manager."""

    def __init__(self, folder: Path, pki: LabPki, site: SiteSystems, *state: str) -> None:
        """`state`: the address of a PostgreSQL database, instead of SQLite files."""
        self.pki, self.site = pki, site
        kit, self.files = folder / "kit", folder / "scale"
        kit.mkdir()
        pki.write(kit / "pki")
        subprocess.run([HAPROXY / "one-machine", self.files, kit, *state], check=True)
        tls, updates, self.operations = ports = free_ports(len(PORTS))
        self.address, self.updates = (FRONT, tls), (FRONT, updates)
        for file in self.files.iterdir():
            text = with_site_systems(file.read_text("utf-8"), site)
            for port, own in zip(PORTS, ports, strict=True):
                text = re.sub(rf"(127\.0\.0\.1[012]:|port ){port}\b", rf"\g<1>{own}", text)
            # One process each, so that a kill ends it.
            file.write_text(text + "workers: 1\n" * (file.suffix == ".yaml"), "utf-8")
        self.bridges = {
            name: Bridge(
                self.files / f"{name}.yaml",
                folder / f"{name}.log",
                self.files / f"audit-127.0.0.1{number}.jsonl",
            )
            for number, name in enumerate(NAMES, 1)
        }
        self.haproxy: Sequence[str] = (program("haproxy"),)
        self._log = folder / "haproxy.log"
        self._haproxy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor() as pool:
                list(pool.map(Bridge.start, self.bridges.values()))
            self.start_haproxy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for bridge in self.bridges.values():
            if not bridge.has_ended():
                bridge.end(signal.SIGTERM)
        if self._haproxy is not None:
            self._haproxy.terminate()
            self._haproxy.wait(SOON)

    def start_haproxy(self) -> None:
        """Start it, and wait until it has found both bridges."""
        with self._log.open("ab") as log:
            command = [*self.haproxy, "-f", str(self.files / "haproxy.cfg")]
            self._haproxy = subprocess.Popen(command, stderr=log)
        until(self._is_up, "HAProxy", SOON)
        for name in NAMES:
            self.wait_for(name, "UP")

    def kill_haproxy(self) -> None:
        """End it by SIGKILL."""
        assert self._haproxy is not None
        self._haproxy.kill()
        self._haproxy.wait(SOON)
        (self.files / "admin.sock").unlink()

    def _is_up(self) -> bool:
        assert self._haproxy is not None
        assert self._haproxy.poll() is None, self._log.read_text("utf-8")
        try:
            self.command("show info")
        except (FileNotFoundError, ConnectionRefusedError):
            # HAProxy makes the file of the socket before it listens.
            return False
        return True

    def command(self, text: str) -> str:
        """A command of HAProxy's admin socket; its output."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(SOON)
            connection.connect(str(self.files / "admin.sock"))
            connection.sendall(text.encode() + b"\n")
            output = bytearray()
            while piece := connection.recv(65_536):
                output += piece
        return output.decode()

    def set_state(self, name: str, state: str) -> None:
        """`drain` or `ready`, as docs/scale.md shows."""
        for backend in BACKENDS:
            assert self.command(f"set server {backend}/{name} state {state}").strip() == ""

    def status(self, name: str) -> str:
        """The state of a bridge in HAProxy's statistics."""
        rows = csv.DictReader(self.command("show stat").removeprefix("# ").strip().splitlines())
        (row,) = [r for r in rows if (r["pxname"], r["svname"]) == (BACKENDS[0], name)]
        return row["status"]

    def wait_for(self, name: str, status: str) -> None:
        until(lambda: self.status(name).startswith(status), f"{name} {status}", SOON)

    def client(self, credential: LabCredential) -> LabClient:
        return LabClient(
            self.address, BRIDGED, trust=self.pki.root, credential=credential, timeout=SOON
        )


@dataclass
class Load:
    """Clients that live through LIFE again and again, each request on a new connection, and one
    that keeps its connection. Each failure is kept, with the time at which its connection began.
    """

    two: TwoBridges
    devices: tuple[tuple[LabCredential, Device], ...]
    lives: int = 0
    kept: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._futures: list[Future[None]] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor() as pool:
            futures = [pool.submit(self._live, *device) for device in self.devices]
            futures.append(pool.submit(self._keep, self.devices[0][0]))
            self._futures = futures
            try:
                self.goes_on()
                yield
                self.goes_on()
            finally:
                self._ended.set()
        for future in futures:
            future.result()

    def goes_on(self) -> None:
        """Wait until whole lives, and requests of the kept connection, have succeeded again."""
        lives, kept = self.lives + 1, self.kept + 3

        def has() -> bool:
            for future in self._futures:
                if future.done():
                    future.result()
            return self.lives >= lives and self.kept >= kept

        until(has, "the load", 2 * SOON)

    def _live(self, credential: LabCredential, device: Device) -> None:
        while not self._ended.is_set():
            began = time.monotonic()

            def send(request: Request) -> Response:
                nonlocal began
                began = time.monotonic()
                with self.two.client(credential) as client:
                    return client.send(request)

            try:
                for result in run_steps(send, device, LIFE):
                    if result.response.header("Retry-After"):
                        break
                    assert result.good, (result.step.name, result.response)
                else:
                    self.lives += 1
            except (ConnectionEnded, HandshakeRefused, OSError) as error:
                self.failures.append((began, repr(error)))

    def _keep(self, credential: LabCredential) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            try:
                with self.two.client(credential) as client:
                    client.connect()
                    while not (client.ended or self._ended.wait(0.02) or is_closed(client)):
                        assert client.request("GET", MP_LIST).status == 200
                        self.kept += 1
            except (ConnectionEnded, HandshakeRefused, OSError) as error:
                self.failures.append((began, repr(error)))


def is_closed(client: LabClient) -> bool:
    """Whether the server has closed the connection, as it may before a request (RFC 9112 §9.5)."""
    return bool(select.select([client.connect()], [], [], 0)[0])
