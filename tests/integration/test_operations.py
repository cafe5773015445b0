"""Metrics and probes of a bridge with two workers: one set, which outlives a worker."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from os import kill
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.worker_bridges import MANY, MP_LIST, SOON, Workers
from tests.needs import program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux")

MP = {"publication": BRIDGED, "role": "management-point"}


class Scraped(Workers):
    """A bridge with metrics."""

    port = 0

    def get(self, path: str) -> tuple[int, str]:
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=SOON) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples with these labels."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = [sample for family in families for sample in family.samples]
        return sum(
            s.value for s in samples if s.name == name and labels.items() <= s.labels.items()
        )


class ServiceManager:
    """A socket such as that of systemd, which learns who sends."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.settimeout(SOON)
        self._socket.bind(self.path)

    def wait_for(self, state: bytes, pid: int) -> None:
        """Wait until a process has sent a state."""
        # Other processes send too, so that the timeout of the socket alone would not end it.
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            data, ((_, _, sender),), *_ = self._socket.recvmsg(100, socket.CMSG_SPACE(12))
            if data == state and struct.unpack("3i", sender)[0] == pid:
                return
        raise AssertionError(f"{state!r} was not sent by {pid}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path_factory.mktemp("manager") / "notify")
    with contextlib.closing(manager):
        yield manager


@pytest.fixture(scope="module")
def bridge(
    tmp_path_factory: pytest.TempPathFactory,
    pki: LabPki,
    site_systems: SiteSystems,
    manager: ServiceManager,
) -> Iterator[Scraped]:
    directory, port = tmp_path_factory.mktemp("operations"), free_port()
    operations = {"listen": f"127.0.0.1:{port}"}
    spool = {"spool": "uploads.sqlite"}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NOTIFY_SOCKET", manager.path)
        environment.setenv("WATCHDOG_USEC", "1000000")
        started = Scraped(directory, pki, site_systems, operations=operations, uploads=spool)
        with started as bridge:
            bridge.port = port
            yield bridge
            assert bridge.stop() == 0
    assert "Traceback" not in "".join(bridge.lines)


def test_the_parent_reports_to_the_service_manager(
    bridge: Scraped, manager: ServiceManager
) -> None:
    manager.wait_for(b"READY=1", bridge.pid)
    manager.wait_for(b"WATCHDOG=1", bridge.pid)


def ask(bridge: Scraped, credentials: Credentials) -> None:
    for _ in range(MANY):
        with bridge.client(credentials.computer) as client:
            assert client.request("GET", MP_LIST).status == 200


def test_one_set_of_metrics_counts_the_requests_of_all_workers(
    bridge: Scraped, credentials: Credentials
) -> None:
    ask(bridge, credentials)
    allowed = {**MP, "verdict": "allow"}
    until(lambda: bridge.value("ibcm_requests_total", **allowed) == MANY, "the count", SOON)
    handshakes = bridge.value("ibcm_handshake_seconds_count", publication=BRIDGED)
    assert handshakes == bridge.value("ibcm_handshakes_total") == MANY
    assert bridge.value("ibcm_workers") == 2

    killed = random.choice(bridge.workers)
    kill(killed, signal.SIGKILL)
    until(lambda: killed not in bridge.workers and len(bridge.workers) == 2, "another", SOON)
    # Its successor continues its counters, whichever worker responds.
    for _ in range(10):
        assert bridge.value("ibcm_requests_total", **allowed) == MANY
    ask(bridge, credentials)
    until(lambda: bridge.value("ibcm_requests_total", **allowed) == 2 * MANY, "more", SOON)
    until(lambda: bridge.value("ibcm_workers") == 2, "the successor", SOON)


@pytest.mark.needs("promtool")
def test_prometheus_accepts_every_metric(bridge: Scraped, credentials: Credentials) -> None:
    ask(bridge, credentials)
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=bridge.get("/metrics")[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
    )
    assert (checked.stdout, checked.stderr, checked.returncode) == ("", "", 0)


@pytest.mark.needs("prometheus")
def test_prometheus_scrapes_the_bridge(bridge: Scraped, tmp_path: Path) -> None:
    port = free_port()
    target = f"127.0.0.1:{bridge.port}"
    config = tmp_path / "prometheus.yaml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: bridge, static_configs: [{{targets: ['{target}']}}]}}]\n",
        "utf-8",
    )
    command = [
        program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]

    def value(query: str) -> float | None:
        url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=SOON) as response:
                found = json.load(response)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            return None  # it starts, or reads its data
        return float(found[0]["value"][1]) if found else None

    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: value("up") == 1, "a scrape", 3 * SOON)
        until(lambda: value("ibcm_workers") == 2, "the metrics", SOON)
        assert value("ibcm_ready") == 1
        series = value('count({__name__=~"ibcm_.+"})')
        assert series is not None
        assert series > 30
    finally:
        server.terminate()
        server.wait(SOON)


def test_a_refused_reload_degrades_the_bridge(bridge: Scraped) -> None:
    right = bridge.policy_file.read_text("utf-8")
    for text, successful in ((f"{right}unknown: 1\n", 0), (right, 1)):
        bridge.policy_file.write_text(text, "utf-8")
        kill(bridge.pid, signal.SIGHUP)
        until(
            lambda: bridge.value("ibcm_last_reload_successful") == successful,  # noqa: B023
            "the outcome",
            SOON,
        )
    assert bridge.get("/ready")[0] == 200
    # Both workers have seen both.
    for outcome in ("accepted", "refused"):
        assert bridge.value("ibcm_reloads_total", outcome=outcome) == 1


def test_new_files_that_cannot_be_used_degrade_the_bridge(bridge: Scraped, pki: LabPki) -> None:
    folder = bridge.directory / "pki"
    certificate = folder / "bridge-server.pem"
    before = certificate.read_bytes()

    def problems(kind: str) -> float:
        return bridge.value("ibcm_file_problems", kind=kind)

    certificate.write_bytes(pki.server("bridge.internet.example").chain_pem())
    until(lambda: problems("certificates") > 0, "the certificate without its key", SOON)
    status, body = bridge.get("/ready")
    found = json.loads(body)["degraded"]
    assert status == 200
    assert found
    assert all("does not match the certificate" in problem for problem in found)
    assert all("the current ones stay in use" in problem for problem in found)
    certificate.write_bytes(before)
    until(lambda: json.loads(bridge.get("/ready")[1])["degraded"] == [], "the end of it", SOON)
    assert problems("certificates") == 0


def test_a_deleted_file_of_the_bridge_makes_it_not_ready(bridge: Scraped) -> None:
    assert bridge.get("/live") == (200, '{"live": true}\n')
    assert bridge.get("/ready")[0] == 200
    assert bridge.get("/other")[0] == 404
    spool = bridge.directory / "uploads.sqlite"
    moved = spool.rename(spool.with_suffix(".moved"))
    status, body = bridge.get("/ready")
    problem = f"{spool} was deleted while it was in use; restart the bridge"
    assert (status, json.loads(body)["not_ready"]) == (503, [problem])
    until(lambda: any(f"not ready: {problem}" in line for line in bridge.lines), "the log", SOON)
    moved.rename(spool)
    until(lambda: bridge.get("/ready")[0] == 200, "ready again", SOON)
