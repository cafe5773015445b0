"""Two bridges, HAProxy and PostgreSQL in containers: both bridges get a new image under load.

The containers share the network of this machine, on loopback. Their root is read-only, and they
have no capability.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest

from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.containers.podman import BASE, IMAGE, ROOT, Podman
from tests.needs import demand
from tests.repository.system_under_load import SystemUnderLoad, enforcing, running
from tests.repository.two_bridges import NAMES, TwoBridges

SERVICES = "localhost/ibcm-bridge-services"
NEXT = f"{IMAGE}:next"
LABEL = "ibcm-bridge-rolling-upgrade"
USER = 10001
"""That of the image."""

TEMPORARY = "/tmp"
"""The only folder of a container that can be written."""

_START_POSTGRESQL = """
cd /usr/lib/postgresql/*/bin
./initdb --no-sync --auth=trust --username=postgres --encoding=UTF8 --locale=C -D {data} >&2
exec ./postgres -D {data} -c listen_addresses= -c unix_socket_directories={socket}
"""


def container(podman: Podman, image: str, *options: str) -> tuple[str, ...]:
    """The beginning of a command: what follows runs in a new container, in the foreground."""
    configuration = podman.environment["CONTAINERS_CONF"]
    return (
        *("env", f"CONTAINERS_CONF={configuration}", "podman", "run", "--rm", "--label", LABEL),
        *("--network", "host", "--read-only", "--tmpfs", TEMPORARY, "--cap-drop", "all"),
        *("--security-opt", "no-new-privileges", *options, image),
    )


def mounted(folder: Path) -> tuple[str, ...]:
    """The options that make a folder available at the same path."""
    return "--volume", f"{folder}:{folder}"


@pytest.fixture(scope="module")
def services(image: Podman) -> Iterator[Podman]:
    """The image of the bridge, a second name of it, and an image of HAProxy and PostgreSQL."""
    demand("haproxy")
    file = "tests/containers/services.Containerfile"
    build = ("podman", "build", "--network", "host", "--isolation", "chroot", "--no-cache")
    arguments = ("--build-arg", f"BASE={BASE}", "--file", file, "--tag", SERVICES)
    image.must(*build, *arguments, str(ROOT / "tests" / "containers"), seconds=600)
    image.must("podman", "tag", IMAGE, NEXT)
    try:
        yield image
    finally:
        left = image.run("podman", "ps", "--quiet", "--filter", f"label={LABEL}").stdout.split()
        if left:
            image.run("podman", "rm", "--force", *left)
        image.run("podman", "rmi", "--force", SERVICES, NEXT)


class Postgresql:
    """A server in a container. Its socket is in a folder of this machine."""

    def __init__(self, podman: Podman, folder: Path) -> None:
        self.socket = folder
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        start = _START_POSTGRESQL.format(data=f"{TEMPORARY}/data", socket=folder)
        command = container(podman, SERVICES, "--user", "postgres", *mounted(folder))
        self._process = subprocess.Popen([*command, "sh", "-euc", start])

    def __enter__(self) -> Self:
        end = time.monotonic() + 120
        while True:
            try:
                with self.connect("postgres") as connection:
                    connection.execute("CREATE DATABASE state")
                return self
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """Connect as the administrator."""
        options = {"host": str(self.socket), "user": "postgres", "dbname": database}
        return psycopg.connect(**options, autocommit=True)


@pytest.fixture
def system(services: Podman, tmp_path: Path) -> Iterator[SystemUnderLoad]:
    """All parts in containers, with the first image."""
    pki = LabPki.make(now=datetime.now(UTC))
    with Postgresql(services, tmp_path / "socket") as server, SiteSystems(pki) as site:
        state = f"postgresql://postgres@/state?host={server.socket}"
        two = enforcing(TwoBridges(tmp_path, pki, site, state))
        for path in (two.files, *two.files.parent.joinpath("kit").rglob("*"), *two.files.iterdir()):
            os.chown(path, USER, USER)
        two.haproxy = container(services, SERVICES, "--user", str(USER), *mounted(two.files))
        # Process 1 of a container gets only signals that it handles. The master handles SIGTERM.
        two.haproxy = (*two.haproxy, "haproxy", "-W")
        set_image(services, two, IMAGE)
        with running(two, server) as system:
            yield system


def set_image(podman: Podman, two: TwoBridges, image: str) -> None:
    """Let the bridges that start from now on have this image."""
    folders = [two.files, two.files.parent / "kit", two.files.parent / "socket"]
    volumes = [word for folder in folders for word in mounted(folder)]
    for bridge in two.bridges.values():
        bridge.program = container(podman, image, *volumes)


def images(podman: Podman) -> list[str]:
    """Those of the running containers."""
    listed = podman.must(
        *("podman", "ps", "--filter", f"label={LABEL}", "--format", "{{.Image}}"),
    )
    return sorted(listed.split())


def test_the_containers_are_replaced_and_no_client_notices(
    system: SystemUnderLoad, services: Podman
) -> None:
    first = f"{IMAGE}:latest"
    assert images(services).count(first) == len(NAMES)
    set_image(services, system.two, NEXT)
    with system.clients.running():
        for name in NAMES:
            system.replace_bridge(name)
    assert images(services).count(NEXT) == len(NAMES)
    assert first not in images(services)
    assert system.clients.failures == []
    system.check()
