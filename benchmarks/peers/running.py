"""Starts a peer with its configuration."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import Child
from benchmarks.peers.programs import CORE_RULE_SET, MODULES, STREAM, Peer, Way
from ibcm_bridge.lab.bridge.process import free_ports

START_SECONDS = 30.0
FOLDER = Path(__file__).parent
_END = b"-----END CERTIFICATE-----\n"
UNPRIVILEGED = "www-data"
"""Apache does not serve as root."""


@dataclass(frozen=True)
class SiteSystem:
    """What a peer connects to."""

    name: str
    """The name in its certificate."""
    address: tuple[str, int]


class RunningPeer(Child):
    """A peer that listens. Raises RuntimeError if it does not start."""

    def __init__(self, peer: Peer, directory: Path, made: Path, site_system: SiteSystem) -> None:
        """`made` has the certificates; logs and the configuration go to `directory`."""
        self.ways = peer.ways
        own = directory / peer.name
        own.mkdir()
        self.ports = dict(zip(Way, free_ports(len(Way)), strict=True))
        path = own / peer.configuration
        path.write_text(configured(peer, own, made, site_system, self.ports), "utf-8")
        output = own / "output"
        program = peer.path()
        assert program is not None
        super().__init__([program, *peer.arguments(str(path))], output)
        wait_until_listening(self, [self.ports[way] for way in peer.ways], output)


def wait_until_listening(child: Child, ports: Sequence[int], output: Path) -> None:
    """Wait until a process listens. RuntimeError with its output if it does not start."""
    deadline = time.monotonic() + START_SECONDS
    while not all(map(_is_listening, ports)):
        if child.ended or time.monotonic() > deadline:
            child.stop()
            raise RuntimeError(f"{child.command[0]} did not start: {output.read_text('utf-8')}")
        time.sleep(0.05)


def configured(
    peer: Peer, own: Path, made: Path, site_system: SiteSystem, ports: Mapping[Way, int]
) -> str:
    """The configuration of a peer, with a value for each `@name@`; KeyError if one has none.

    Writes the files that it names to `own`.
    """
    user = UNPRIVILEGED if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    _admit(own, user, group)
    values = {
        **{way.name: str(port) for way, port in ports.items()},
        **_files(made, own),
        "DIRECTORY": str(own),
        "USER": user,
        "GROUP": group,
        "MODULES": str(MODULES),
        "CRS": str(CORE_RULE_SET),
        "STREAM": str(STREAM),
        "SITE_SYSTEM": "{}:{}".format(*site_system.address),
        "SITE_SYSTEM_ADDRESS": site_system.address[0],
        "SITE_SYSTEM_PORT": str(site_system.address[1]),
        "SITE_SYSTEM_NAME": site_system.name,
    }
    written = (FOLDER / peer.configuration).read_text("utf-8")
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], written)


def _files(made: Path, own: Path) -> dict[str, str]:
    """Certificates, keys and revocation lists, in the files that the configurations name."""
    lists = own / "lists.pem"
    lists.write_bytes((made / "root.crl").read_bytes() + (made / "issuing.crl").read_bytes())
    files = {"TRUST": made / "root.pem", "LISTS": lists}
    for role, name in (("SERVER", "bridge-server"), ("CLIENT", "bridge-client")):
        chain, key, both = made / f"{name}.pem", made / f"{name}.key", own / f"{name}.both.pem"
        both.touch(mode=0o600)
        both.write_bytes(chain.read_bytes() + key.read_bytes())
        files |= {f"{role}_CHAIN": chain, f"{role}_KEY": key, f"{role}_BOTH": both}
    # Apache takes the first certificate and the key from one file, the issuers from another.
    alone = own / "bridge-client.alone.pem"
    alone.touch(mode=0o600)
    first, end, _ = (made / "bridge-client.pem").read_bytes().partition(_END)
    alone.write_bytes(first + end + (made / "bridge-client.key").read_bytes())
    files |= {"CLIENT_ALONE": alone, "ISSUERS": made / "issuing.pem"}
    return {name: str(path) for name, path in files.items()}


def _admit(own: Path, user: str, group: str) -> None:
    """Let the user of the peer's workers write to its folder."""
    if os.geteuid() == 0:
        shutil.chown(own, user, group)
        own.parent.chmod(0o711)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
