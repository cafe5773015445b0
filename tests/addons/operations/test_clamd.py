"""Whether clamd responds is a metric, and a problem that all machines may share."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibcm_bridge.addons.engines.clamav import ClamAvEngine
from ibcm_bridge.addons.operations import metrics
from ibcm_bridge.addons.operations.clamd import Clamd
from ibcm_bridge.lab.site_systems.clamd import ScanDaemon
from ibcm_bridge.policy.policy import ClamAv

UP, SECONDS = (metrics.CLAMAV_UP.name, ()), (metrics.CLAMAV_SECONDS.name, ())


def checked(settings: ClamAv | None) -> Clamd:
    clamd = Clamd()
    asyncio.run(clamd.check(settings))
    return clamd


def test_a_daemon_that_responds() -> None:
    with ScanDaemon() as daemon:
        clamd = checked(ClamAv(daemon.address))
    found = dict(clamd.readings())
    assert found[UP] == 1
    assert 0 < found[SECONDS] < 5
    assert clamd.problem is None


def test_a_daemon_that_does_not_respond(tmp_path: Path) -> None:
    clamd = checked(ClamAv(tmp_path / "nothing"))
    assert dict(clamd.readings()) == {UP: 0}
    text = f"clamd at {tmp_path / 'nothing'} does not respond: No such file or directory"
    assert clamd.problem == text


def test_a_problem_stays_known_while_the_daemon_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clamd = checked(ClamAv(tmp_path / "nothing"))
    known = clamd.problem, dict(clamd.readings())
    assert known[0] is not None
    during = []

    def ping(_: ClamAvEngine) -> None:
        during.append((clamd.problem, dict(clamd.readings())))

    monkeypatch.setattr(ClamAvEngine, "ping", ping)
    asyncio.run(clamd.check(ClamAv(tmp_path / "nothing")))
    assert during == [known]
    assert clamd.problem is None
    assert dict(clamd.readings())[UP] == 1


def test_without_clamd_there_is_no_metric() -> None:
    clamd = checked(None)
    assert not list(clamd.readings())
    assert clamd.problem is None


def test_the_daemon_can_come_back_and_be_removed_from_the_policy(tmp_path: Path) -> None:
    clamd = checked(ClamAv(tmp_path / "nothing"))
    with ScanDaemon() as daemon:
        asyncio.run(clamd.check(ClamAv(daemon.address)))
    assert (clamd.problem, dict(clamd.readings())[UP]) == (None, 1)
    asyncio.run(clamd.check(None))
    assert not list(clamd.readings())
