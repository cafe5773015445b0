"""podman and podman-compose, with a configuration of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
RELEASE = "trixie"
BASE = "localhost/ibcm-bridge-base"
IMAGE = "localhost/ibcm-bridge"
PACKAGES = "ca-certificates,python3,python3-venv"
NETWORKS = {"INTERNET": "10.89.121", "PERIMETER": "10.89.122", "INTRANET": "10.89.123"}
"""The machine itself may have an address in 192.0.2.0/24."""

LIMITS = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""
"""podman's default limits are higher than root may set in some virtual machines."""


@dataclass(frozen=True)
class Podman:
    """podman and podman-compose, with a configuration of their own."""

    environment: Mapping[str, str]

    def run(self, *command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            cwd=ROOT,
            env=self.environment,
        )

    def must(self, *command: str, seconds: float = 120) -> str:
        done = self.run(*command, seconds=seconds)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def compose(self, *command: str, seconds: float = 300) -> str:
        whole = (sys.executable, "-m", "podman_compose", "-f", str(COMPOSE), *command)
        return self.must(*whole, seconds=seconds)

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in a new container of the image."""
        options = ("--rm", "--network", "none", "--entrypoint", command[0])
        return self.run("podman", "run", *options, IMAGE, *command[1:])
