"""The unit under a systemd that runs: readiness, the watchdog, and two instances that take over.

It is a user instance of systemd in namespaces of its own. Settings of the unit that only the system
instance applies, such as the user and the restrictions, are left out (`test_service`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ibcm_bridge.lab.bridge.process import Listen, free_ports, with_listen_address
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED
from tests.integration.reading import until
from tests.needs import own_cgroups

pytestmark = pytest.mark.needs("root", "systemd-analyze", "cgroups")

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "ibcm-bridge.service"
SYSTEMD = "/lib/systemd/systemd"
SOON = 90.0

BOOT = f"""
for group; do
    mkdir "$group"
    echo $$ >"$group/cgroup.procs"
done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user
chmod 700 /run/user
export XDG_RUNTIME_DIR=/run/user
exec {SYSTEMD} --user --unit=test.target
"""
KEPT = (
    *("Type", "WatchdogSec", "Restart", "RestartSec", "KillMode", "TimeoutStopSec"),
    *("OOMPolicy", "UMask", "RuntimeDirectory", "RuntimeDirectoryMode", "NoNewPrivileges"),
)
"""The settings of the shipped unit that a user instance applies."""


class Manager:
    """A systemd with the units of a folder, in its own cgroups, whose processes it moves."""

    def __init__(self, units: Path) -> None:
        self._units = units
        self._groups = [group / f"ibcm-bridge-test-{os.getpid()}" for group in own_cgroups()]

    def __enter__(self) -> Manager:
        (self._units / "test.target").write_text("[Unit]\nDefaultDependencies=no\n", "ascii")
        self._process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", BOOT, "sh", *map(str, self._groups)],
            env={**os.environ, "SYSTEMD_UNIT_PATH": str(self._units)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: self._run("list-units").returncode == 0, "systemd", SOON)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run("stop", "bridge@*.service")
        finally:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()
            self._remove_groups()

    def _remove_groups(self) -> None:
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--mount=/proc/{self._process.pid}/ns/mnt"]
        command = [*enter, "env", "XDG_RUNTIME_DIR=/run/user", "systemctl", "--user", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)

    def must(self, *arguments: str) -> None:
        done = self._run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def property(self, unit: str, name: str) -> str:
        return self._run("show", unit, "--value", "--property", name).stdout.strip()


class Installed:
    """A policy, and a template unit that starts the bridge with it."""

    def __init__(self, folder: Path, before_it: int = 0, **changes: str) -> None:
        """With seconds `before_it`: a process that handles no signal begins, as Python itself."""
        self._pki = LabPki.make(now=datetime.now(UTC))
        self._pki.write(folder / "pki")
        self._credential = self._pki.computer("pc1.corp.example")
        tls, updates, plaintext = free_ports(3)
        listen = Listen(IPv4Address("127.0.0.1"), (tls, updates, plaintext))
        self._address = ("127.0.0.1", tls)
        policy = shipped_policy() + (
            "workers: 2\nuploads: {spool: uploads.sqlite}\nmessages: {bindings: bindings.sqlite}\n"
        )
        config = folder / "bridge.yaml"
        config.write_text(with_listen_address(policy, listen), "utf-8")
        lines = [line for line in UNIT.read_text("utf-8").splitlines() if "=" in line]
        shipped = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        program = f"{sys.executable} -P -m ibcm_bridge"
        run = f"{program} run --config {config} --take-over"
        settings = {name: shipped[name] for name in KEPT} | {
            "ExecStart": f"/bin/sh -c 'sleep {before_it}; exec {run}'" if before_it else run,
            "ExecReload": f"{program} reload --control %t/ibcm-bridge/control.sock",
            "RuntimeDirectoryPreserve": "yes",
            **changes,
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        self.units = folder / "units"
        self.units.mkdir()
        unit = self.units / "bridge@.service"
        unit.write_text(f"[Unit]\nDefaultDependencies=no\n[Service]\n{text}", "utf-8")
        self.config = config

    def ask(self) -> int:
        """Return the status of the response to a new client. There are no site systems: 502."""
        with LabClient(
            self._address, BRIDGED, trust=self._pki.root, credential=self._credential, timeout=SOON
        ) as client:
            return client.request("GET", "/SMS_MP/.sms_aut?MPLIST").status


@contextlib.contextmanager
def asked_all_the_time(installed: Installed) -> Iterator[list[object]]:
    """New clients, one after the other: the status of each, or how it failed."""
    ended, outcomes = threading.Event(), list[object]()

    def ask() -> None:
        while not ended.wait(0.02):
            try:
                outcomes.append(installed.ask())
            except Exception as error:
                outcomes.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        thread.join(SOON)


def test_two_instances_of_a_template_unit_take_over_from_each_other(tmp_path: Path) -> None:
    installed = Installed(tmp_path)
    with Manager(installed.units) as manager:
        manager.must("start", "bridge@a")
        assert installed.ask() == 502, "`start` returns when the bridge serves"
        with asked_all_the_time(installed) as outcomes:
            for old, new in (("a", "b"), ("b", "a")):
                manager.must("start", f"bridge@{new}")
                until(
                    lambda: manager.property(f"bridge@{old}", "ActiveState") == "inactive",  # noqa: B023
                    "the end of the other instance",
                    SOON,
                )
                assert manager.property(f"bridge@{old}", "Result") == "success"
                assert manager.property(f"bridge@{new}", "ActiveState") == "active"
                count = len(outcomes)
                until(lambda: len(outcomes) > count + 3, "more clients", SOON)  # noqa: B023
        assert {*outcomes} == {502}, "none was refused or cut off"
        # The control socket is that of the last one.
        installed.config.write_text(installed.config.read_text("utf-8") + "# new\n", "utf-8")
        manager.must("reload", "bridge@a")
        installed.config.write_text(installed.config.read_text("utf-8") + "new: 1\n", "utf-8")
        with pytest.raises(AssertionError):
            manager.must("reload", "bridge@a")
        assert installed.ask() == 502


def test_the_watchdog_restarts_a_bridge_that_hangs(tmp_path: Path) -> None:
    # A stopped process takes no SIGABRT, so that systemd kills it after this time.
    installed = Installed(tmp_path, WatchdogSec="3", TimeoutAbortSec="1")
    with Manager(installed.units) as manager:
        manager.must("start", "bridge@a")
        before = manager.property("bridge@a", "MainPID")
        os.kill(int(before), signal.SIGSTOP)
        until(lambda: manager.property("bridge@a", "NRestarts") == "1", "a restart", SOON)
        until(lambda: manager.property("bridge@a", "ActiveState") == "active", "the bridge", SOON)
        assert manager.property("bridge@a", "MainPID") != before
        assert installed.ask() == 502


def test_a_hangup_before_the_bridge_handles_signals_restarts_it(tmp_path: Path) -> None:
    installed = Installed(tmp_path, before_it=2)
    with Manager(installed.units) as manager:
        # An end by SIGHUP is a success, except for Type=notify before the service is ready.
        manager.must("start", "--no-block", "bridge@a")
        until(lambda: manager.property("bridge@a", "MainPID") != "0", "the process", SOON)
        os.kill(int(manager.property("bridge@a", "MainPID")), signal.SIGHUP)
        until(lambda: manager.property("bridge@a", "NRestarts") == "1", "a restart", SOON)
        until(lambda: manager.property("bridge@a", "ActiveState") == "active", "the bridge", SOON)
        assert installed.ask() == 502
