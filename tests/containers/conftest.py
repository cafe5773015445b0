"""The base image and the image, for all tests of this folder.

No registry of images is needed: debootstrap makes the base.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.podman import BASE, IMAGE, LIMITS, NETWORKS, PACKAGES, RELEASE, Podman
from tests.needs import LEFT_OUT, demand


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """podman with the base image. The tests are left out if it cannot run a container."""
    demand("root", "podman", "runc", "debootstrap")
    folder = tmp_path_factory.mktemp("containers")
    configuration = folder / "containers.conf"
    configuration.write_text(LIMITS, "utf-8")
    podman = Podman({**os.environ, **NETWORKS, "CONTAINERS_CONF": str(configuration)})
    base = folder / "base"
    bootstrap = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE, str(base))
    podman.must(*bootstrap, seconds=900)
    try:
        archive = folder / "base.tar"
        podman.must("tar", "-C", str(base), "-cf", str(archive), ".")
        podman.must("rm", "-rf", str(base))
        podman.must("podman", "import", str(archive), BASE, seconds=300)
        archive.unlink()
        trial = podman.run("podman", "run", "--rm", "--network", "none", BASE, "true")
        if trial.returncode:
            why = " ".join(trial.stderr.split())
            pytest.skip(f"{LEFT_OUT}a podman that can run a container: {why}")
        yield podman
    finally:
        podman.run("podman", "rmi", "--force", BASE)


@pytest.fixture(scope="session")
def image(podman: Podman) -> Iterator[Podman]:
    """The image. pip gets the configuration of this machine, which may name another index."""
    mounts = [path for path in ("/etc/pip.conf", "/etc/ssl/certs") if Path(path).exists()]
    volumes = [word for path in mounts for word in ("--volume", f"{path}:{path}:ro")]
    build = ("podman", "build", "--network", "host", "--isolation", "chroot", "--no-cache")
    file = ("--build-arg", f"BASE={BASE}", "--file", "deploy/Containerfile", "--tag", IMAGE)
    podman.must(*build, *volumes, *file, ".", seconds=900)
    try:
        yield podman
    finally:
        podman.run("podman", "rmi", "--force", IMAGE)
        podman.run("podman", "image", "prune", "--force")
