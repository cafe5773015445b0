"""Fixtures of the addons' tests: the lab, a running bridge, and layers without a bridge."""

from __future__ import annotations

import dataclasses
import gc
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

with warnings.catch_warnings():
    # mitmproxy 12.2's filter language uses names that pyparsing 3.3 has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import mitmproxy.addons  # noqa: F401 - here so that the runner's import does not warn

from ibcm_bridge.addons.layers import deadline as timers
from ibcm_bridge.addons.layers import site_system_leg
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.addons.stand_ins.driver import Clock
from tests.addons.stand_ins.exchange_driver import ExchangeDriver, PlainLeg
from tests.addons.stand_ins.lab import Lab, write_policy
from tests.addons.stand_ins.running import Running


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Collect what a module leaves, in the main thread.

    A scanner of YARA-X that the collector drops in another thread fails the test that runs then.
    """
    yield
    gc.collect()


@pytest.fixture(scope="session")
def running_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    pki = LabPki.make(now=datetime.now(UTC))
    directory = tmp_path_factory.mktemp("lab")
    pki.write(directory / "pki")
    with SiteSystems(pki, download_bytes=300_000) as site:
        yield Lab(pki, pki.computer("pc1.corp.example"), site, write_policy(directory, site))


@pytest.fixture
def lab(running_lab: Lab) -> Lab:
    running_lab.site.clear()
    return running_lab


@pytest.fixture
def running(lab: Lab, tmp_path: Path) -> Iterator[Running]:
    """A new bridge for the test."""
    policy = dataclasses.replace(lab.policy, audit_file=tmp_path / "audit.jsonl")
    with Running(lab, policy) as running:
        yield running


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timers, "time", clock)
    monkeypatch.setattr(site_system_leg, "time", clock)
    return clock


@pytest.fixture
def exchange(lab: Lab, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ExchangeDriver:
    """A started exchange layer."""
    monkeypatch.setattr(site_system_leg, "_LegTls", PlainLeg)
    driver = ExchangeDriver(lab, clock)
    driver.start()
    return driver
