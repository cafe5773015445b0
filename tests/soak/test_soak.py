"""A bridge with two workers under mixed load, reloads and rotations does not grow."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.clients.device import Device
from ibcm_bridge.lab.clients.life_cycle import LIFE, run_steps
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import HandshakeRefused, LabClient
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.lab.site_systems.published import TUNNELED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.faults import MP_LIST, SOON, FaultyBridge
from tests.integration.reading import until
from tests.soak.processes import Sample, measure, problems, table

CLIENTS = 3
SAMPLE_SECONDS = 2.0
RELOAD_SECONDS = 15.0
ROTATION_SECONDS = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The temporary folder of the bridge."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def bridge(
    tmp_path: Path, folder: Path, pki: LabPki, site_systems: SiteSystems
) -> Iterator[FaultyBridge]:
    with ScanDaemon(("127.0.0.1", free_port())) as daemon:
        bridge = FaultyBridge(
            tmp_path / "bridge",
            pki,
            site_systems,
            prefix=("env", f"TMPDIR={folder}"),
            workers=2,
            engines={"clamav": {"address": "{}:{}".format(*daemon.address)}},
            messages={"identity": "enforce", "bindings": "bindings.sqlite"},
        )
        with bridge:
            yield bridge
            assert bridge.stop() == 0
    said = "".join(bridge.lines)
    assert "Traceback" not in said, said
    assert "reload refused" not in said, said


class Load:
    """Clients that do everything that clients do, good and bad, until `ended`."""

    def __init__(self, bridge: FaultyBridge, credentials: Credentials) -> None:
        self._bridge, self._credentials = bridge, credentials
        self.ended = threading.Event()
        self.requests, self.problems = 0, list[str]()
        self._counting = threading.Lock()
        self._threads = [
            threading.Thread(target=self._live, args=(number,)) for number in range(CLIENTS)
        ]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join(SOON)

    def _live(self, number: int) -> None:
        name = f"soak{number}.corp.example"
        computer = self._bridge.pki.computer(name)
        while not self.ended.is_set():
            try:
                self._good(computer, name)
                self._bad(computer)
            except Exception as error:
                self.problems.append(f"{type(error).__name__}: {error}")

    def _good(self, computer: LabCredential, name: str) -> None:
        with self._bridge.client(computer) as client:
            for done in run_steps(client.send, Device.of(computer, name), LIFE):
                assert done.good, done
                self._count()
        with self._bridge.client(computer, TUNNELED["management-point"]) as tunneled:
            assert tunneled.request("GET", MP_LIST).status == 200
            self._count()

    def _bad(self, computer: LabCredential) -> None:
        with self._bridge.client(computer) as client:
            assert client.request("DELETE", "/SMS_MP/").status == 405
        with self._bridge.client(computer) as client:
            response = client.request("CCM_POST", "/ccm_system/request", (), b"x" * 100_000)
            assert response.status >= 400
        with (
            self._bridge.client(self._credentials.revoked) as client,
            pytest.raises(HandshakeRefused),
        ):
            client.request("GET", MP_LIST)
        for data in (b"", b"GET / HTTP/1.1\r\n\r\n", bytes(300)):
            with socket.create_connection(self._bridge.address, SOON) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while connection.recv(65_536):
                        pass
        self._count()

    def _count(self) -> None:
        with self._counting:
            self.requests += 1


class Operator:
    """Reloads the policy, and rotates the audit."""

    def __init__(self, bridge: FaultyBridge) -> None:
        self._bridge = bridge
        self._reload_at, self._rotate_at = RELOAD_SECONDS, ROTATION_SECONDS
        self.reloads = 0

    def act(self, seconds: float) -> None:
        if seconds >= self._reload_at:
            self._reload_at += RELOAD_SECONDS
            text = self._bridge.policy_file.read_text("utf-8").partition("# reload")[0]
            self._bridge.policy_file.write_text(f"{text}# reload {seconds}\n", "utf-8")
            os.kill(self._bridge.pid, signal.SIGHUP)
            self.reloads += 1
        if seconds >= self._rotate_at:
            self._rotate_at += ROTATION_SECONDS
            rotated = self._bridge.audit_file.with_suffix(".1")
            with contextlib.suppress(FileNotFoundError):
                self._bridge.audit_file.rename(rotated)


def connections(bridge: FaultyBridge) -> float:
    families = text_string_to_metric_families(bridge.get("/metrics")[1])
    samples = [sample for family in families for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == "ibcm_connections")


def direct_client(
    bridge: FaultyBridge, site_systems: SiteSystems, credential: LabCredential
) -> LabClient:
    return LabClient(
        site_systems.management_point,
        "mp01.corp.example",
        trust=bridge.pki.root,
        credential=credential,
        timeout=SOON,
    )


def probe(client: Callable[[], LabClient]) -> float:
    """The time of a request on a new connection: the median of a few."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        with client() as connected:
            assert connected.request("GET", MP_LIST).status == 200
        times.append(time.monotonic() - began)
    return statistics.median(times)


def test_memory_descriptors_files_and_latency_do_not_grow(
    bridge: FaultyBridge,
    folder: Path,
    credentials: Credentials,
    site_systems: SiteSystems,
    minutes: float,
    request: pytest.FixtureRequest,
) -> None:
    samples: list[Sample] = []
    load, operator = Load(bridge, credentials), Operator(bridge)
    began = time.monotonic()
    with load:
        while (seconds := time.monotonic() - began) < minutes * 60:
            latency = probe(lambda: bridge.client(credentials.computer))
            direct = probe(lambda: direct_client(bridge, site_systems, credentials.computer))
            folders = (bridge.directory, folder)
            samples.append(measure(seconds, bridge.pid, folders, latency, direct))
            operator.act(seconds)
            # The records of the stand-ins would fill the memory of this process.
            site_systems.clear()
            time.sleep(SAMPLE_SECONDS)
    writer = request.config.get_terminal_writer()
    writer.line(f"\n{load.requests} requests, {operator.reloads} reloads\n{table(samples)}")
    assert load.problems == []
    assert problems(samples, minutes * 60) == []
    # Nothing of the load remains.
    until(lambda: connections(bridge) == 0, "the end of all connections", SOON)
