"""The Debian package is built, installed and purged in a new Debian system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import demand
from tests.postgresql_server import DATABASE, USER, postgresql_server

ROOT = Path(__file__).parents[2]
RELEASE = "trixie"
PACKAGES = "adduser,ca-certificates,curl,dbus,logrotate,python3,python3-venv,systemd,systemd-sysv"
POLICY = "/etc/ibcm-bridge/bridge.yaml"
IN_FILES = ("bindings:", "uploads:", "spool:")
"""What `state` replaces."""


class System:
    """A Debian system in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = ["env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        whole = ["chroot", str(self.folder), *environment, *command]
        return subprocess.run(whole, capture_output=True, text=True, check=False)

    def must(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    demand("debootstrap", "root")
    folder = tmp_path_factory.mktemp("debian")
    # The root of the system, which its users other than root must enter.
    folder.chmod(0o755)
    bootstrap = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(folder)]
    subprocess.run(bootstrap, check=True, capture_output=True)
    # Behind a proxy that inspects TLS, pip needs the authorities of this machine.
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/ssl/certs")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, tracked.stdout.decode().split("\0")):
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    subprocess.run(["mount", "-t", "proc", "proc", folder / "proc"], check=True)
    try:
        yield System(folder)
    finally:
        subprocess.run(["umount", folder / "proc"], check=True)
        shutil.rmtree(folder)


def check_with_postgresql(system: System) -> None:
    """The package connects to a server of this machine, whose socket is in the system."""
    policy = system.folder / "etc/ibcm-bridge/state.yaml"
    text = (system.folder / POLICY.removeprefix("/")).read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.strip().startswith(IN_FILES)]
    socket = system.folder / "run/postgresql"
    with postgresql_server() as server:
        socket.mkdir()
        subprocess.run(["mount", "--bind", server.socket, socket], check=True)
        try:
            state = f"state: postgresql://{USER}@/{DATABASE}?host=/run/postgresql"
            policy.write_text("\n".join([*lines, state, ""]), "utf-8")
            command = "ibcm-bridge", "check", "--connect", "--config", "/etc/ibcm-bridge/state.yaml"
            # The site systems of the policy are not here.
            found = [line for line in system.run(*command).stdout.splitlines() if "state:" in line]
        finally:
            subprocess.run(["umount", socket], check=True)
    assert found
    assert [line for line in found if line.startswith("PROBLEM")] == []


def test_the_package_is_built_installed_and_purged(system: System) -> None:
    system.must(
        "sh", "-c", "PIP_CERT=/etc/ssl/certs/ca-certificates.crt /source/deploy/debian/build"
    )
    (package,) = (system.folder / "source" / "dist").glob("*.deb")
    assert "ibcm-bridge check --config" in system.must("dpkg", "-i", f"/source/dist/{package.name}")
    assert system.must("dpkg", "--verify", "ibcm-bridge") == ""
    assert system.must("stat", "-c", "%U:%G %a", "/etc/ibcm-bridge") == "root:ibcm-bridge 750\n"

    # The certificates that the policy names are missing; then the lab's are there.
    missing = system.run("ibcm-bridge", "check", "--config", POLICY)
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)
    system.must("ibcm-bridge", "pki", "/etc/ibcm-bridge")
    system.must("mkdir", "-p", "/var/lib/ibcm-bridge", "/var/log/ibcm-bridge")
    assert "0 problems" in system.must("ibcm-bridge", "check", "--config", POLICY)
    for name in ("ibcm-bridge.service", "ibcm-bridge@.service", "ibcm-bridge.socket"):
        unit = f"/usr/lib/systemd/system/{name}"
        assert system.must("systemd-analyze", "--man=no", "verify", unit) == ""

    copyright_file = (system.folder / "usr/share/doc/ibcm-bridge/copyright").read_text("utf-8")
    assert "psycopg-binary 3." in copyright_file
    assert "hypothesis" not in copyright_file, "only the libraries of the package"
    check_with_postgresql(system)

    # A changed policy survives an upgrade.
    policy = system.folder / POLICY.removeprefix("/")
    policy.write_text(text := policy.read_text("utf-8") + "workers: 1\n", "utf-8")
    system.must("dpkg", "-i", f"/source/dist/{package.name}")
    assert policy.read_text("utf-8") == text

    system.must("dpkg", "--purge", "ibcm-bridge")
    for gone in ("opt/ibcm-bridge", "usr/bin/ibcm-bridge", "var/log/ibcm-bridge"):
        assert not (system.folder / gone).exists()
    assert (system.folder / "etc/ibcm-bridge/pki").exists()
