"""A Prometheus server scrapes the bridge, and evaluates the shipped alerts."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import free_port
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.faults import SOON, FaultyBridge
from tests.integration.reading import until
from tests.needs import demand, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers require Linux")

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"


class Prometheus:
    """A server that scrapes one bridge each second."""

    def __init__(self, folder: Path, bridge: FaultyBridge) -> None:
        self._port = free_port()
        job = {
            "job_name": "ibcm-bridge",
            "static_configs": [{"targets": [f"127.0.0.1:{bridge.operations}"]}],
        }
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [job],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
        self._command = [
            program("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        ]

    def __enter__(self) -> Prometheus:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(SOON)

    def get(self, path: str, **query: str) -> Any:
        """Return the data of a response; None before the server responds."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=SOON) as response:
                return json.load(response)["data"]
        except OSError:
            return None

    def value(self, expression: str) -> float | None:
        found = self.get("query", query=expression)
        return float(found["result"][0]["value"][1]) if found and found["result"] else None


@pytest.fixture
def bridge(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Iterator[FaultyBridge]:
    with FaultyBridge(tmp_path / "bridge", pki, site_systems, workers=2) as bridge:
        yield bridge


def test_a_server_scrapes_the_bridge_and_evaluates_the_alerts(
    tmp_path: Path, bridge: FaultyBridge, credentials: Credentials
) -> None:
    demand("prometheus")
    with Prometheus(tmp_path, bridge) as server:
        assert bridge.serves(credentials.computer)
        allowed = 'sum(ibcm_requests_total{verdict="allow"})'
        until(lambda: server.value(allowed) == 1, "the request", SOON)
        assert server.value('up{job="ibcm-bridge"}') == server.value("ibcm_ready") == 1

        def rules() -> list[dict[str, Any]]:
            return [rule for group in server.get("rules")["groups"] for rule in group["rules"]]

        until(lambda: all(rule["health"] == "ok" for rule in rules()), "every rule", SOON)
        shipped = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
        named = [rule["alert"] for group in shipped for rule in group["rules"]]
        assert [rule["name"] for rule in rules()] == named
        assert [rule["name"] for rule in rules() if rule["state"] != "inactive"] == []
        assert bridge.stop() == 0

        def not_ready() -> str:
            return next(r["state"] for r in rules() if r["name"] == "IbcmBridgeNotReady")

        until(lambda: not_ready() == "pending", "the alert", SOON)
