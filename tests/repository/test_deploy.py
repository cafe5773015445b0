"""deploy/: the same lab in containers. No container engine is needed to see that it holds.

The services of compose.yaml are run in network namespaces, with the commands, addresses and
networks that stand there.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ibcm_bridge.lab.perimeter import firewall

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text("utf-8")
# With the values that a variable has if it is not set.
COMPOSE = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", TEXT))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NETWORKS = ("internet", "perimeter", "intranet")


def test_the_compose_file_conforms_with_the_specification(tmp_path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    def checked(file: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)

    done = checked(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((DEPLOY / "compose.yaml").read_text("utf-8").replace("read_only", "readonly"))
    assert checked(wrong).returncode


def test_only_the_bridge_is_on_more_than_one_network() -> None:
    """The same three networks; nothing leads out of them."""
    assert set(COMPOSE["networks"]) == set(NETWORKS)
    assert all(network["internal"] is True for network in COMPOSE["networks"].values())
    assert set(SERVICES["bridge"]["networks"]) == set(NETWORKS)
    others = {
        name: set(service["networks"]) for name, service in SERVICES.items() if name != "bridge"
    }
    assert others == {
        "site-systems": {"intranet"},
        "engine": {"perimeter"},
        "microsoft-update": {"internet"},
        "client": {"internet"},
    }
    assert not any("ports" in service or "network_mode" in service for service in SERVICES.values())


def test_no_service_has_unneeded_privileges() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        assert "cap_add" not in service, name


# The Containerfile


def instructions(kind: str) -> list[str]:
    text = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return re.findall(rf"^{kind} +(.*)$", text, re.MULTILINE)


def test_the_image_runs_without_root_on_a_base_that_can_be_chosen() -> None:
    assert instructions("USER") == ["10001"]
    assert instructions("FROM") == ["${BASE} AS build", "${BASE}"]
    # A name and a tag: a digest that nobody has verified would prove nothing.
    (base,) = instructions("ARG")
    assert base == "BASE=docker.io/library/debian:trixie-slim"


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Package -> its version and the number of its hashes."""
    text = (DEPLOY / name).read_text("utf-8")
    blocks = re.findall(
        r"^([\w.-]+)==(\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}.*)*)", text, re.M
    )
    return {
        canonicalize_name(package): (version, hashes.count("--hash="))
        for package, version, hashes in blocks
    }


def test_the_image_has_the_tested_versions_and_each_file_has_a_hash() -> None:
    tested = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(
                {"python_version": "3.13", "sys_platform": "linux"}
            ):
                (specifier,) = requirement.specifier
                tested[canonicalize_name(requirement.name)] = specifier.version
    packages = locked("requirements.txt")
    assert {name: version for name, (version, _) in packages.items()} == {
        name: tested[name] for name in packages
    }
    assert all(hashes for _, hashes in packages.values())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["postgresql"]
    # The wheel of psycopg-binary contains libpq.
    assert "psycopg-binary" in packages
    assert {canonicalize_name(Requirement(text).name) for text in needed} <= set(packages)
    assert [*locked("build-requirements.txt")] == ["setuptools"]
    for name in ("requirements.txt", "build-requirements.txt"):
        text = (DEPLOY / name).read_text("utf-8")
        assert "://" not in text
        assert not re.search(r"^\s*(?:-i|--index-url|--extra-index-url|-f)\b", text, re.M)


def test_pip_requires_the_hashes_and_is_in_the_first_stage_only() -> None:
    first, second = (DEPLOY / "Containerfile").read_text("utf-8").split("\nFROM ${BASE}\n")
    installs = re.findall(r"pip(?: --python \S+)? install ((?:[^&]|&(?!&))*)", first)
    assert len(installs) == 3
    assert all("--require-hashes" in text or "--no-index" in text for text in installs)
    assert "pip" not in second
    assert "curl" not in second


def test_the_copied_files_suffice_for_the_installation(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for copied in instructions("COPY"):
        if copied.startswith("--from="):
            continue
        *what, _ = copied.split()
        for path in what:
            origin, target = ROOT / path, source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, target)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        [*command, str(tmp_path / "installed"), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    installed = tmp_path / "installed" / "ibcm_bridge"
    assert (installed / "lab" / "page" / "index.html").is_file()
    assert (installed / "config" / "bridge.yaml").is_file()


# As it runs

AS_ROOT = pytest.mark.needs("root", "ip", "nft")


def address(service: str, network: str) -> str:
    return str(SERVICES[service]["networks"][network]["ipv4_address"])


@pytest.fixture
def networks() -> Iterator[None]:
    """Those of `lab up --netns`, whose addresses are the same, and the perimeter's own."""
    assert firewall.existing() == [], (
        "somebody else's, or of a run that was killed: ip netns del NAME"
    )
    try:
        firewall.build()
        for namespace, own in (
            ("internet", address("microsoft-update", "internet")),
            ("perimeter", address("engine", "perimeter")),
            ("perimeter", address("bridge", "perimeter")),
        ):
            command = f"ip -n {namespace} address add {own}/32 dev lo"
            subprocess.run(shlex.split(command), check=True)
        yield
    finally:
        firewall.remove()


class Containers:
    """The services, each in the namespace of its network."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.running: list[subprocess.Popen[str]] = []

    def there(self, words: list[str]) -> list[str]:
        """With the volume where it is here."""
        return [re.sub("^/lab/", f"{self.volume}/", word) for word in words]

    def command(self, service: str) -> list[str]:
        networks = SERVICES[service]["networks"]
        (namespace,) = networks if len(networks) == 1 else ("perimeter",)
        words = self.there(SERVICES[service]["command"])
        place = ["ip", "netns", "exec", namespace, "env", f"XDG_RUNTIME_DIR={self.volume}"]
        return [*place, sys.executable, "-m", "ibcm_bridge", *words]

    def up(self, service: str, says: str) -> None:
        one = subprocess.Popen(self.command(service), stderr=subprocess.PIPE, text=True)
        self.running.append(one)
        assert one.stderr is not None
        said = []
        for line in one.stderr:
            said.append(line)
            if says in line:
                return
        raise AssertionError(f"{service}: {''.join(said)}")

    def down(self) -> list[int]:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in self.running:
            process.communicate(timeout=40)
        return [process.returncode for process in self.running]


@AS_ROOT
@pytest.mark.usefixtures("networks")
def test_a_client_completes_its_life_cycle_in_the_services(tmp_path: Path) -> None:
    volume = tmp_path / "lab"
    volume.mkdir(mode=0o700)
    lab = Containers(volume)
    try:
        lab.up("site-systems", "the site systems listen on")
        _, *check = SERVICES["site-systems"]["healthcheck"]["test"]
        healthy = lab.there(check)
        deadline = time.monotonic() + 10
        while subprocess.run(healthy, check=False).returncode and time.monotonic() < deadline:
            time.sleep(0.05)
        assert subprocess.run(healthy, check=False).returncode == 0
        lab.up("engine", "the malware engine listens on")
        lab.up("microsoft-update", "simulated Microsoft Update listens on")
        lab.up("bridge", "listening on 192.0.2.1:443")
        client = subprocess.run(
            [*lab.command("client"), "--json"], capture_output=True, text=True, check=False
        )
    finally:
        statuses = lab.down()
    assert client.returncode == 0, client.stdout + client.stderr
    every = [json.loads(line) for line in client.stdout.splitlines()]
    assert {record["network"] for record in every} == {"internet"}
    assert "download.update.example" in {record["site_system"] for record in every}
    assert statuses == [0, 0, 0, 0]
    assert not (volume / "ibcm-bridge" / "lab").exists()
