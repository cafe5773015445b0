"""A system instance of systemd in namespaces of its own, and the bridge installed as a service.

The units are those of `deploy/systemd`, unchanged. Drop-ins name only what differs on this machine:
the addresses of the sockets, and a file for the log instead of the journal, which does not run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

from ibcm_bridge.lab.bridge.process import free_port
from tests.integration.reading import until
from tests.integration.under_load import Bridge
from tests.integration.worker_bridges import children
from tests.needs import own_cgroups

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SOON = 120.0
LOG = "/run/log"
PARTS = ("ibcm_bridge", "ibcm_bridge.addons", "ibcm_bridge.config")

TARGETS = ("sysinit", "basic", "sockets", "network-online", "multi-user", "shutdown", "test")
"""Targets without the units of this machine."""

BOOT = """
for group; do
    mkdir "$group"
    echo $$ >"$group/cgroup.procs"
done
mount -t tmpfs tmpfs /run
for folder in /etc /var; do
    mkdir -p /run/changed$folder/upper /run/changed$folder/work
    mount -t overlay overlay $folder \
        -o lowerdir=$folder,upperdir=/run/changed$folder/upper,workdir=/run/changed$folder/work
done
mount -t tmpfs tmpfs /etc/systemd/system
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/ibcm-bridge/bin /opt/ibcm-bridge/lib /opt/python /opt/packages
while read -r name folder; do
    mkdir -p "/opt/ibcm-bridge/lib/$name"
    cp -r "$folder/." "/opt/ibcm-bridge/lib/$name"
done <"$FILES/parts"
cp "$FILES/ibcm-bridge" /opt/ibcm-bridge/bin
cp -r "$FILES/units/." /etc/systemd/system
mount --bind "$PYTHON" /opt/python
mount --bind "$PACKAGES" /opt/packages
id ibcm-bridge >/dev/null 2>&1 || useradd --system --user-group \
    --home-dir /var/lib/ibcm-bridge --shell /usr/sbin/nologin ibcm-bridge
install -d -g ibcm-bridge -m 0750 /etc/ibcm-bridge
cp -r "$FILES/policy/." /etc/ibcm-bridge
chgrp -R ibcm-bridge /etc/ibcm-bridge
chmod -R u=rwX,g=rX,o= /etc/ibcm-bridge
for folder in /tmp /home /srv; do
    mount -t tmpfs -o mode=1777 tmpfs $folder
    echo outside >$folder/outside
done
mkdir -p /run/log /run/systemd/system
mount -o remount,bind,ro /
exec unshare --pid --uts --ipc --mount-proc --fork --kill-child sh -ec '
    mount -o bind,ro /proc/sys /proc/sys
    exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH=/etc/systemd/system \
        /lib/systemd/systemd --system --unit=test.target --show-status=no
'
"""

PROGRAM = """#!/bin/sh
export LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH=/opt/ibcm-bridge/lib:/opt/packages
exec /opt/python/bin/python{version} -P -m ibcm_bridge "$@"
"""


class Installed:
    """The files of a service: units with drop-ins, a program, the policy of a bridge."""

    def __init__(self, folder: Path, bridge: Bridge) -> None:
        self.folder = folder
        (folder / "units").mkdir(parents=True)
        for target in TARGETS:
            text = "[Unit]\nDefaultDependencies=no\n"
            (folder / "units" / f"{target}.target").write_text(text, "ascii")
        for unit in UNITS.iterdir():
            (folder / "units" / unit.name).write_bytes(unit.read_bytes())
            if unit.suffix == ".service":
                self.drop_in(unit.name, StandardError=f"append:{LOG}/bridge")
        listeners = "".join(f"ListenStream={host}:{port}\n" for host, port in _listeners(bridge))
        self._write("ibcm-bridge.socket", f"[Socket]\nListenStream=\n{listeners}")
        bridge.change(
            audit={"file": "/var/log/ibcm-bridge/audit.jsonl"},
            uploads={"spool": "/var/lib/ibcm-bridge/uploads.sqlite"},
            messages={"bindings": "/var/lib/ibcm-bridge/bindings.sqlite"},
            operations={"listen": f"127.0.0.1:{free_port()}"},
        )
        (folder / "policy").symlink_to(bridge.policy_file.parent)
        program = folder / "ibcm-bridge"
        program.write_text(PROGRAM.format(version=sysconfig.get_python_version()), "ascii")
        program.chmod(0o755)
        modules = ((name, importlib.import_module(name)) for name in PARTS)
        lines = (f"{name.replace('.', '/')} {module.__path__[0]}\n" for name, module in modules)
        (folder / "parts").write_text("".join(lines), "utf-8")

    def drop_in(self, unit: str, **settings: str) -> None:
        """Add settings to the section [Service] of a unit. `ExecStart` replaces the unit's."""
        lines = (
            f"{'ExecStart=\n' if name == 'ExecStart' else ''}{name}={value}\n"
            for name, value in settings.items()
        )
        self._write(unit, "[Service]\n" + "".join(lines))

    def _write(self, unit: str, text: str) -> None:
        folder = self.folder / "units" / f"{unit}.d"
        folder.mkdir(exist_ok=True)
        (folder / f"{len(list(folder.iterdir()))}.conf").write_text(text, "ascii")


def _listeners(bridge: Bridge) -> list[tuple[str, int]]:
    return list(bridge.addresses.values())


class Manager:
    """A systemd that is process 1 of its namespace, in cgroups of its own."""

    def __init__(self, installed: Installed) -> None:
        self._files = installed.folder
        self.groups = [group / f"ibcm-bridge-test-{os.getpid()}" for group in own_cgroups()]

    def __enter__(self) -> Manager:
        with (self._files / "boot").open("wb") as output:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", BOOT, "sh", *map(str, self.groups)],
                env={
                    **os.environ,
                    "FILES": str(self._files),
                    "PYTHON": sys.base_prefix,
                    "PACKAGES": sysconfig.get_path("purelib"),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            until(self._is_running, "systemd", SOON)
        except BaseException:
            self._end()
            raise
        return self

    def _is_running(self) -> bool:
        assert self._process.poll() is None, (self._files / "boot").read_text("utf-8")
        return bool(children(self._process.pid)) and self.systemctl("list-units").returncode == 0

    def __exit__(self, *_: object) -> None:
        try:
            self.systemctl("stop", "ibcm-bridge*")
        finally:
            self._end()

    def _end(self) -> None:
        # Its only child is killed with it, and all processes with process 1 of their namespace.
        self._process.kill()
        self._process.wait()
        for group in self.groups:
            until(lambda: not _processes(group), "the end of all processes")  # noqa: B023
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()

    @property
    def root(self) -> Path:
        """The root folder as systemd sees it."""
        (init,) = children(self._process.pid)
        return Path(f"/proc/{init}/root")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root where systemd runs."""
        (init,) = children(self._process.pid)
        enter = ["nsenter", f"--target={init}", "--mount", "--pid", *command]
        return subprocess.run(enter, capture_output=True, text=True, timeout=SOON, check=False)

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", *arguments)

    def must(self, *arguments: str) -> None:
        self.type(shlex.join(["systemctl", *arguments]))

    def type(self, commands: str) -> None:
        """Run lines of a shell. Fail if one does."""
        done = self.run("sh", "-ec", commands)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()

    def property(self, unit: str, name: str) -> str:
        return self.systemctl("show", unit, "--value", "--property", name).stdout.strip()

    def log(self) -> str:
        """The log of all bridges."""
        file = self.root / LOG.removeprefix("/") / "bridge"
        return file.read_text("utf-8") if file.exists() else ""


def _processes(group: Path) -> list[str]:
    found = list[str]()
    for folder, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found += Path(folder, "cgroup.procs").read_text("ascii").split()
    return found
