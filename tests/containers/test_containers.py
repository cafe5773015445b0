"""The image of deploy/Containerfile, and the lab of deploy/compose.yaml in containers.

`make containers` runs this, as root.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from ibcm_bridge.commands.capacity.costs import RECORD_BYTES
from tests.containers.podman import NETWORKS, Podman


def test_the_image_has_the_bridge_and_no_tool_that_downloads(image: Podman) -> None:
    assert image.inside("ibcm-bridge", "--version").stdout.startswith("ibcm-bridge ")
    assert image.inside("id", "--user").stdout == "10001\n"
    for missing in ("pip", "pip3", "curl", "wget"):
        assert image.inside("sh", "-c", f"command -v {missing}").returncode, missing
    assert "No module named pip" in image.inside("python", "-m", "pip").stderr
    # libpq is part of the wheel: Debian's is not in the image.
    library = image.inside(
        "python", "-c", "import psycopg, psycopg_pool; print(psycopg.pq.__impl__)"
    )
    assert library.stdout == "binary\n", library.stderr


def test_the_sbom_names_every_package_of_the_image(image: Podman, tmp_path: Path) -> None:
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    installed = json.loads(image.inside("python", "-c", code).stdout)
    installed.pop("ibcm-bridge")
    file = tmp_path / "sbom.json"
    # As `make sbom` does.
    command = (sys.executable, "-m", "cyclonedx_py", "requirements", "deploy/requirements.txt")
    image.must(*command, "--pyproject", "pyproject.toml", "--output-file", str(file))
    document = json.loads(file.read_text("utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert _normal(installed) == _normal(
        {entry["name"]: entry["version"] for entry in document["components"]}
    )


def _normal(packages: Mapping[str, str]) -> dict[str, str]:
    return {name.lower().replace("_", "-").replace(".", "-"): v for name, v in packages.items()}


@pytest.fixture(scope="module")
def lab(image: Podman) -> Iterator[Podman]:
    try:
        image.compose("up", "--detach", "--no-build")
        yield image
    finally:
        image.compose("down", "--volumes")


def names(lab: Podman) -> Sequence[str]:
    return lab.must("podman", "ps", "--format", "{{.Names}}").split()


def test_a_client_completes_its_life_cycle_in_containers(lab: Podman) -> None:
    (bridge,) = [name for name in names(lab) if "bridge_1" in name]
    deadline = time.monotonic() + 120
    while lab.run("podman", "healthcheck", "run", bridge).returncode:
        assert time.monotonic() < deadline, lab.run("podman", "logs", bridge).stderr
        time.sleep(1)
    lab.compose("--profile", "client", "run", "--rm", "-T", "client")
    audit = lab.must("podman", "exec", bridge, "cat", "/lab/ibcm-bridge/lab/audit.jsonl")
    records = [json.loads(line) for line in audit.splitlines()]
    requests = [record for record in records if "target" in record]
    assert len(requests) > 30
    client = f"{NETWORKS['INTERNET']}.2:"
    assert all(record["client_address"].startswith(client) for record in requests)
    assert {record["verdict"] for record in requests} == {"allow"}
    messages = [line for line in audit.splitlines() if '"CCM_POST"' in line]
    average = sum(map(len, messages)) / len(messages)
    assert average == pytest.approx(RECORD_BYTES, rel=0.2), "a figure of `capacity`"


def test_a_container_has_no_rights_that_it_does_not_need(lab: Podman) -> None:
    (bridge,) = [name for name in names(lab) if "bridge_1" in name]
    status = lab.must("podman", "exec", bridge, "cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Uid"].split()[0] == "10001"
    written = lab.run("podman", "exec", bridge, "touch", "/opt/ibcm-bridge/x")
    assert "Read-only file system" in written.stderr


def test_only_the_bridge_reaches_the_site_systems(lab: Podman) -> None:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 9443), 3)"
    address = f"{NETWORKS['INTRANET']}.2"
    for service, reaches in (("bridge", True), ("microsoft-update", False), ("engine", False)):
        (name,) = [name for name in names(lab) if f"{service}_1" in name]
        done = lab.run("podman", "exec", name, "python", "-c", connect, address)
        assert (done.returncode == 0) is reaches, (service, done.stderr)
