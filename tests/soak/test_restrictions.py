"""The restrictions of the shipped units, tried under a systemd that runs.

A probe replaces the bridge, and tries what each setting refuses. Without the settings, it succeeds.
`NOT_TRIED` has the settings that this cannot show. `tests/repository/test_service.py` verifies all.
"""

from __future__ import annotations

import json
import re
import shlex
import sysconfig
from pathlib import Path

import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.reading import until
from tests.integration.under_load import Bridge
from tests.soak.systemd_instance import UNITS, Installed, Manager

PROBE = Path(__file__).with_name("restrictions_probe.py")
PYTHON = f"/opt/python/bin/python{sysconfig.get_python_version()}"
OUTPUT = "/run/log/probe"

_ROOT = "only root could do it otherwise"
NOT_TRIED = {
    "DevicePolicy": "a container may have no controller of devices",
    "KeyringMode": "it is the default of a system instance",
    "ProtectClock": _ROOT,
    "ProtectKernelLogs": _ROOT,
    "ProtectKernelModules": _ROOT,
    "RemoveIPC": "the bridge has no objects of System V",
    "RestrictRealtime": _ROOT,
    "SystemCallArchitectures": "it needs a program of another architecture",
    "SystemCallErrorNumber": "the filter's refusals below have this number",
}

UNRESTRICTED = """[Service]
Type=oneshot
User=ibcm-bridge
Group=ibcm-bridge
StateDirectory=ibcm-bridge
LogsDirectory=ibcm-bridge
RuntimeDirectory=ibcm-bridge
"""


def restrictions(unit: Path) -> list[str]:
    """The settings of a unit from AmbientCapabilities on, and UMask."""
    text = unit.read_text("utf-8")
    names = re.findall(r"^(\w+)=", text[text.index("\nAmbientCapabilities=") :], re.MULTILINE)
    return sorted({*names, "UMask"} - {"WantedBy"})


def test_each_restriction_is_tried_or_has_a_reason() -> None:
    tried = re.findall(r'^    "(\w+)[ \w@]*":', PROBE.read_text("utf-8"), re.MULTILINE)
    for unit in UNITS.glob("*.service"):
        assert restrictions(unit) == sorted({*tried, *NOT_TRIED})


@pytest.mark.needs("root", "systemd-analyze", "cgroups")
def test_the_restrictions_of_the_units_apply(
    tmp_path: Path, pki: LabPki, site_systems: SiteSystems
) -> None:
    (tmp_path / "policy").mkdir()
    bridge = Bridge(tmp_path / "policy", pki, site_systems)
    with Manager(Installed(tmp_path / "installed", bridge)) as manager:
        refused, granted = probed(manager, "ibcm-bridge.service")
        assert [name for name, error in refused.items() if error is None] == []
        assert errors(granted) == {}
        filtered = {name: error for name, error in refused.items() if "SystemCall" in name}
        assert {*filtered.values()} == {"Operation not permitted"}
        assert probed(manager, "ibcm-bridge@a.service") == (refused, granted)
        unrestricted = manager.root / "etc/systemd/system/unrestricted.service"
        unrestricted.write_text(UNRESTRICTED, "ascii")
        refused, _ = probed(manager, unrestricted.name)
        assert errors(refused) == {}


def errors(outcomes: dict[str, str | None]) -> dict[str, str]:
    return {name: error for name, error in outcomes.items() if error}


def probed(manager: Manager, unit: str) -> tuple[dict[str, str | None], dict[str, str | None]]:
    """Run the probe with the settings of a unit: the errors of refused and of granted attempts."""
    (manager.root / "opt/probe.py").write_bytes(PROBE.read_bytes())
    init = manager.root.parent
    spaces = [str((init / "ns" / name).readlink()) for name in ("mnt", "uts")]
    device = str((manager.root / "dev").stat().st_dev)
    command = shlex.join([PYTHON, "/opt/probe.py", device, *spaces, str(manager.groups[0])])
    folder = manager.root / f"etc/systemd/system/{unit}.d"
    folder.mkdir(exist_ok=True)
    (folder / "probe.conf").write_text(
        "[Service]\nType=oneshot\nRestart=no\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n"
        f"ExecStart=\nExecStart={command}\nStandardOutput=truncate:{OUTPUT}\n"
        "StandardError=append:/run/log/bridge\n",
        "ascii",
    )
    manager.must("daemon-reload")
    manager.must("start", unit)
    output = manager.root / OUTPUT.removeprefix("/")
    until(lambda: output.read_text("ascii").count("\n") == 2, "the output")
    refused, granted = output.read_text("ascii").splitlines()
    return json.loads(refused), json.loads(granted)
