"""The shipped units under a systemd that runs: restarts and takeovers under load, and the watchdog.

It is a system instance that applies each setting of the units. `test_restrictions.py` shows which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.credentials import Credentials
from tests.integration.reading import until
from tests.integration.under_load import FILE_BYTES, MP_LIST, TUNNEL, Bridge, Download, Load
from tests.soak.systemd_instance import SOON, Installed, Manager

pytestmark = pytest.mark.needs("root", "systemd-analyze", "cgroups")

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
SERVICE = "ibcm-bridge.service"
SOCKET = "ibcm-bridge.socket"
A, B = "ibcm-bridge@a.service", "ibcm-bridge@b.service"


@pytest.fixture
def site_systems(pki: LabPki, credentials: Credentials) -> Iterator[SiteSystems]:
    with SiteSystems(pki, download_bytes=FILE_BYTES) as site:
        yield site


@pytest.fixture
def bridge(tmp_path: Path, pki: LabPki, site_systems: SiteSystems) -> Bridge:
    """A bridge that nothing has started: its policy, addresses and clients."""
    (tmp_path / "policy").mkdir()
    return Bridge(tmp_path / "policy", pki, site_systems, workers=2)


@pytest.fixture
def boot(tmp_path: Path, bridge: Bridge) -> Iterator[Callable[..., Manager]]:
    """Start a systemd; arguments are settings of the units."""
    with ExitStack() as stack:

        def booted(**settings: str) -> Manager:
            installed = Installed(tmp_path / "installed", bridge)
            for unit in (SERVICE, "ibcm-bridge@.service"):
                installed.drop_in(unit, **settings)
            return stack.enter_context(Manager(installed))

        yield booted


def documented(section: str) -> list[str]:
    """The blocks of shell commands in a section of docs/operating.md."""
    text = OPERATING.read_text("utf-8").split(f"### {section}\n")[1]
    return re.findall(r"^```sh\n(.*?)^```$", re.split("^##", text, flags=re.M)[0], re.M | re.S)


def ask(bridge: Bridge, credentials: Credentials) -> int:
    with bridge.client(credentials) as client:
        return client.request("GET", MP_LIST).status


def ended_well(manager: Manager, unit: str) -> None:
    until(lambda: manager.property(unit, "ActiveState") == "inactive", "the end", SOON)
    assert manager.property(unit, "Result") == "success"


def test_a_restart_with_the_socket_unit_refuses_and_cuts_nobody(
    boot: Callable[..., Manager], bridge: Bridge, credentials: Credentials
) -> None:
    change, again = documented("Keep the sockets in systemd")
    manager = boot()
    manager.must("start", SERVICE)
    manager.type(change)
    before = manager.property(SERVICE, "MainPID")
    with (
        Load(bridge, credentials) as load,
        Download(bridge, credentials) as download,
        ThreadPoolExecutor() as pool,
    ):
        restart = pool.submit(manager.type, again)
        until(lambda: manager.property(SERVICE, "ActiveState") == "deactivating", "the drain", SOON)
        load.goes_on(TUNNEL)
        assert not restart.done(), "a download and a tunnel are open"
        download.finish()
        load.end_tunnel()
        restart.result(SOON)
        assert manager.property(SERVICE, "MainPID") != before
        load.goes_on()
        load.stop()
    assert manager.log().count("ibcm-bridge: drained") == 2, "with the change to the sockets"
    assert "cut off" not in manager.log()
    assert manager.property(SOCKET, "ActiveState") == "active"
    assert manager.property(SOCKET, "UnitFileState") == "enabled"


def test_two_instances_take_over_from_each_other_and_from_the_service(
    boot: Callable[..., Manager], bridge: Bridge, credentials: Credentials
) -> None:
    first, again = documented("Replace a running bridge")
    manager = boot()
    manager.must("enable", "--now", SERVICE)
    assert ask(bridge, credentials) == 200, "`start` returns when the bridge serves"
    with Load(bridge, credentials) as load:
        for old, new, commands in (
            (SERVICE, A, first),
            (A, B, again),
            (B, A, again.replace("@b", "@a")),
        ):
            with Download(bridge, credentials) as download:
                manager.type(commands)
                assert manager.property(new, "ActiveState") == "active"
                load.goes_on()
                assert manager.property(old, "ActiveState") == "active", "a download is open"
                download.finish()
                load.end_tunnel()
                ended_well(manager, old)
        load.goes_on()
        load.stop()
    assert manager.log().count("ibcm-bridge: drained") == 3
    assert "cut off" not in manager.log()
    states = [manager.property(unit, "UnitFileState") for unit in (SERVICE, A, B)]
    assert states == ["disabled", "enabled", "disabled"]
    # The control socket is that of the last one.
    policy = manager.root / "etc/ibcm-bridge/bridge.yaml"
    policy.write_text(policy.read_text("utf-8") + "# new\n", "utf-8")
    manager.must("reload", A)
    policy.write_text(policy.read_text("utf-8") + "new: 1\n", "utf-8")
    assert manager.systemctl("reload", A).returncode != 0
    assert ask(bridge, credentials) == 200


def test_the_watchdog_restarts_a_bridge_that_hangs(
    boot: Callable[..., Manager], bridge: Bridge, credentials: Credentials
) -> None:
    # A stopped process takes no SIGABRT, so that systemd kills it after this time.
    manager = boot(WatchdogSec="10", TimeoutAbortSec="1")
    manager.must("start", SERVICE)
    before = manager.property(SERVICE, "MainPID")
    manager.must("kill", "--kill-whom=main", "--signal=STOP", SERVICE)
    until(lambda: manager.property(SERVICE, "NRestarts") == "1", "a restart", SOON)
    until(lambda: manager.property(SERVICE, "ActiveState") == "active", "the bridge", SOON)
    assert manager.property(SERVICE, "MainPID") != before
    assert ask(bridge, credentials) == 200


def test_a_hangup_before_the_bridge_handles_signals_restarts_it(
    boot: Callable[..., Manager], bridge: Bridge, credentials: Credentials
) -> None:
    run = "/opt/ibcm-bridge/bin/ibcm-bridge run --config /etc/ibcm-bridge/bridge.yaml"
    manager = boot(ExecStart=f"/bin/sh -c 'sleep 2; exec {run}'")
    # An end by SIGHUP is a success, except for Type=notify before the service is ready.
    manager.must("start", "--no-block", SERVICE)
    until(lambda: manager.property(SERVICE, "MainPID") != "0", "the process", SOON)
    manager.must("kill", "--kill-whom=main", "--signal=HUP", SERVICE)
    until(lambda: manager.property(SERVICE, "NRestarts") == "1", "a restart", SOON)
    until(lambda: manager.property(SERVICE, "ActiveState") == "active", "the bridge", SOON)
    assert ask(bridge, credentials) == 200
