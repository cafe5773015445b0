"""deploy/: the systemd unit, and the policy of the service."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ibcm_bridge.lab.pki.authorities import LabPki
from tests.integration.reading import until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "systemd" / "ibcm-bridge.service"
TEMPLATE = DEPLOY / "systemd" / "ibcm-bridge@.service"
SOCKETS = DEPLOY / "systemd" / "ibcm-bridge.socket"
POLICY = DEPLOY / "bridge.yaml"
EXPOSURE = 20
"""In tenths: `systemd-analyze security` calls more than 50 unsafe."""


def directives(unit: Path = UNIT) -> dict[str, list[str]]:
    """Every directive of a unit -> its values, in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text("utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def analyzed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--man=no", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(params=[UNIT, TEMPLATE], ids=lambda unit: unit.name)
def unit(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A unit with a program that this machine has; an instance of a template."""
    text = request.param.read_text("utf-8")
    copy = tmp_path / request.param.name.replace("@", "@a")
    copy.write_text(text.replace("/opt/ibcm-bridge/bin/ibcm-bridge", sys.executable), "utf-8")
    return copy


@pytest.mark.needs("systemd-analyze")
def test_systemd_verifies_the_unit(unit: Path) -> None:
    done = analyzed("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text("utf-8").replace("KillMode=mixed", "KillMode=some"), "utf-8")
    assert "kill mode" in analyzed("verify", str(unit)).stderr


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", [UNIT], indirect=True)
def test_systemd_verifies_the_socket_unit(unit: Path) -> None:
    sockets = Path(shutil.copy(SOCKETS, unit.parent))
    done = analyzed("verify", str(unit), str(sockets))
    assert (done.returncode, done.stderr) == (0, "")
    sockets.write_text(sockets.read_text("utf-8").replace("0.0.0.0:443", "0.0.0.0:x"), "utf-8")
    assert "0.0.0.0:x" in analyzed("verify", str(sockets)).stderr


@pytest.mark.needs("systemd-analyze")
def test_the_exposure_of_the_unit_is_low(unit: Path) -> None:
    security = ("security", "--offline=true", f"--threshold={EXPOSURE}")
    done = analyzed(*security, str(unit))
    assert done.returncode == 0, done.stdout
    unit.write_text(unit.read_text("utf-8").replace("SystemCallFilter=", "#"), "utf-8")
    assert analyzed(*security, str(unit)).returncode != 0


def test_the_unit_starts_the_bridge_with_the_policy_of_the_service() -> None:
    (command,) = directives()["ExecStart"]
    assert command == "/opt/ibcm-bridge/bin/ibcm-bridge run --config /etc/ibcm-bridge/bridge.yaml"


def test_the_template_differs_from_the_unit_only_by_the_takeover() -> None:
    service, template = directives(), directives(TEMPLATE)
    assert template.pop("ExecStart") == [f"{service.pop('ExecStart')[0]} --take-over"]
    assert template.pop("Description") == [f"{service.pop('Description')[0]}, instance %i"]
    assert template == service
    assert service["RuntimeDirectoryPreserve"] == ["yes"], "the control socket of the successor"


def test_the_socket_unit_has_the_listeners_of_the_policy() -> None:
    listened = re.findall(r"^ListenStream=(\S+)$", SOCKETS.read_text("utf-8"), re.MULTILINE)
    policy = yaml.safe_load(POLICY.read_text("utf-8"))
    assert listened == [publication["listen"] for publication in policy["publications"]]


def test_the_policy_writes_only_to_folders_of_the_unit() -> None:
    folders = {
        f"{parent}/{name}"
        for kind, parent in (("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log"))
        for name in directives()[kind]
    }
    written = re.findall(r"(?:file|spool|bindings): (\S+)", POLICY.read_text("utf-8"))
    assert len(written) == 3
    assert {str(Path(path).parent) for path in written} == folders


# The command of the unit, as the unit restricts it: its only capability, its folders, the policy of
# the service, port 443. No systemd is needed.

RESTRICTED = """
ip link set lo up
mount -t tmpfs tmpfs /mnt
for folder in /etc /var; do
    upper=/mnt$folder/upper work=/mnt$folder/work
    mkdir -p $upper $work
    mount -t overlay overlay -o lowerdir=$folder,upperdir=$upper,workdir=$work $folder
done
mkdir -p /etc/ibcm-bridge /var/log/ibcm-bridge /var/lib/ibcm-bridge /var/tmp
cp -r "$FILES/." /etc/ibcm-bridge
for folder in /etc /var; do mount -o remount,ro $folder; done
for folder in /var/log/ibcm-bridge /var/lib/ibcm-bridge /var/tmp; do
    mount -t tmpfs tmpfs $folder
done
mount -o remount,bind,ro /
export TMPDIR=/var/tmp
umask "$UMASK"
exec setpriv --no-new-privs --bounding-set="$CAPABILITIES" --inh-caps="$CAPABILITIES" "$@"
"""


class Service:
    """A running service, in namespaces of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.root = Path(f"/proc/{process.pid}/root")

    def curl(self, url: str) -> str:
        enter = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net"]
        command = [*enter, "curl", "--silent", "--noproxy", "*", url]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def service(tmp_path: Path, pki: LabPki) -> Iterator[Service]:
    files = tmp_path / "files"
    files.mkdir()
    shutil.copy(POLICY, files)
    pki.write(files / "pki")
    (command,) = directives()["ExecStart"]
    _, *arguments = shlex.split(command)
    (capability,) = directives()["AmbientCapabilities"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        restricted = ["unshare", "--mount", "--net", "sh", "-ec", RESTRICTED, "sh"]
        process = subprocess.Popen(
            [*restricted, sys.executable, "-P", "-m", "ibcm_bridge", *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "FILES": str(files),
                "UMASK": directives()["UMask"][0],
                "CAPABILITIES": f"-all,+{capability.removeprefix('CAP_').lower()}",
                "NOTIFY_SOCKET": str(tmp_path / "notify"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if "listening on 0.0.0.0:443" in line:
                    break
            else:
                raise AssertionError("".join(lines))
            while manager.recv(100) != b"READY=1":
                pass
            yield Service(process)
        finally:
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=60)
            assert process.returncode == 0, rest


@pytest.mark.needs("root", "ip", "curl")
def test_the_command_of_the_unit_starts_with_the_policy_of_the_service(service: Service) -> None:
    assert json.loads(service.curl("http://127.0.0.1:9100/ready"))["not_ready"] == []
    assert "ibcm_ready 1.0" in service.curl("http://127.0.0.1:9100/metrics")
    service.curl("http://127.0.0.1:443/")
    audit = service.root / "var/log/ibcm-bridge/audit.jsonl"
    until(lambda: "plaintext" in audit.read_text("utf-8"), "the record", 30)
    assert audit.stat().st_mode & 0o777 == 0o640
    state = service.root / "var/lib/ibcm-bridge"
    assert {"bindings.sqlite", "uploads.sqlite"} <= {path.name for path in state.iterdir()}


# The Debian package: tests/soak builds and installs it

DEBIAN = DEPLOY / "debian"


@pytest.mark.parametrize("script", ["build", "postinst", "prerm", "postrm"])
def test_a_script_of_the_package_is_a_program(script: str) -> None:
    path = DEBIAN / script
    assert path.stat().st_mode & 0o111
    done = subprocess.run(["sh", "-n", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("fails", ["none", "ibcm-bridge.socket"])
def test_a_removed_package_leaves_no_unit_enabled(tmp_path: Path, fails: str) -> None:
    """The socket is first: an active one would start the service again. It can be missing."""
    called = tmp_path / "called"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$*" >>{called}\n! echo "$*" | grep -q {fails}\n')
    systemctl.chmod(0o755)
    script = (DEBIAN / "prerm").read_text("utf-8").replace("/run/systemd/system", str(tmp_path))
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = ["sh", "-c", script, "prerm", "remove"]
    subprocess.run(command, env={**os.environ, "PATH": path}, check=True)
    assert called.read_text("utf-8").splitlines() == [
        "--quiet disable --now ibcm-bridge.socket",
        "--quiet disable --now ibcm-bridge.service ibcm-bridge@a.service ibcm-bridge@b.service",
    ]


@pytest.mark.parametrize(
    ("active", "started"),
    [
        ("none", []),
        ("ibcm-bridge@a.service", ["start ibcm-bridge@b.service"]),
        ("ibcm-bridge@b.service", ["start ibcm-bridge@a.service"]),
        # The one that drains, b, ends after two seconds.
        ("both", ["sleep 1", "sleep 1", "start ibcm-bridge@b.service"]),
    ],
)
def test_an_upgrade_of_the_package_replaces_what_runs(
    tmp_path: Path, active: str, started: list[str]
) -> None:
    called = tmp_path / "called"
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        f"#!/bin/sh\ncase $* in *is-active*) [ $3 = {active} ] && exit\n"
        f"[ {active} = both ] && {{ [ ${{3%a.*}} != $3 ] || [ $(grep -c sleep {called}) -lt 2 ]; }}"
        f";; *) echo $* >>{called};; esac\n"
    )
    systemctl.chmod(0o755)
    sleep = tmp_path / "sleep"
    sleep.write_text(f"#!/bin/sh\necho sleep $* >>{called}\n")
    sleep.chmod(0o755)
    for name in ("getent", "chown", "chmod", "install"):
        (tmp_path / name).symlink_to("/bin/true")
    script = (DEBIAN / "postinst").read_text("utf-8")
    script = script.replace("/run/systemd/system", str(tmp_path))
    path = f"{tmp_path}:{os.environ['PATH']}"
    for version, then in (("0.0.9", ["try-restart ibcm-bridge.service", *started]), ("", [])):
        command = ["sh", "-c", script, "postinst", "configure", version]
        subprocess.run(command, env={**os.environ, "PATH": path}, check=True)
        assert called.read_text("utf-8").splitlines() == ["daemon-reload", *then]
        called.unlink()


def test_the_package_installs_the_files_that_it_names() -> None:
    build = (DEBIAN / "build").read_text("utf-8")
    for path in (DEBIAN / "conffiles").read_text("utf-8").split():
        assert f'"$root{path}"' in build
    for path in re.findall(r"(?<!\$)\b((?:deploy|config|docs)/[\w./-]+)", build):
        assert (ROOT / path).exists(), path
    control = (DEBIAN / "control").read_text("utf-8")
    assert {*re.findall("@[A-Z]+@", control)} == {*re.findall("s/(@[A-Z]+@)/", build)}
