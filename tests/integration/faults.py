"""A bridge that the tests put into a fault: a full disk, another time, too little of something."""

from __future__ import annotations

import contextlib
import errno
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibcm_bridge.lab.bridge.process import RunningBridge, free_port
from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.authorities import LabPki
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.pki.files import shipped_policy
from ibcm_bridge.lab.protocol.client import ConnectionEnded, HandshakeRefused, LabClient
from ibcm_bridge.lab.site_systems.published import BRIDGED
from ibcm_bridge.lab.site_systems.site_systems import SiteSystems
from tests.integration.reading import until

SOON = 60.0
MP_LIST = "/SMS_MP/.sms_aut?MPLIST"


@dataclass(frozen=True)
class Prefixed(Namespace):
    """A process that begins with another command, in the current namespace of the network."""

    prefix: tuple[str, ...] = ()

    @property
    def command(self) -> tuple[str, ...]:
        return self.prefix


class FaultyBridge(RunningBridge):
    """A bridge with metrics, which a prefix such as `env` starts."""

    def __init__(
        self,
        directory: Path,
        pki: LabPki,
        site: SiteSystems,
        *,
        prefix: tuple[str, ...] = (),
        options: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self.operations = free_port()
        operations = {"operations": {"listen": f"127.0.0.1:{self.operations}"}}
        policy = yaml.safe_load(shipped_policy()) | operations | settings
        super().__init__(
            directory,
            pki,
            site,
            policy=yaml.safe_dump(policy),
            namespace=Prefixed(prefix=prefix) if prefix else HERE,
            options=options,
        )
        self.pki = pki

    def client(self, credential: LabCredential, name: str = BRIDGED) -> LabClient:
        return LabClient(
            self.address, name, trust=self.pki.root, credential=credential, timeout=SOON
        )

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a probe or the metrics."""
        try:
            url = f"http://127.0.0.1:{self.operations}{path}"
            with urllib.request.urlopen(url, timeout=SOON) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def serves(self, credential: LabCredential) -> bool:
        """Whether a new connection gets a list of management points."""
        with self.client(credential) as client:
            return gets_a_list(client)

    def wait_until_it_serves(self, credential: LabCredential) -> None:
        until(lambda: self.serves(credential), "a response", SOON)


def gets_a_list(client: LabClient) -> bool:
    """Whether a client, perhaps with an open connection, gets a list of management points."""
    try:
        return client.request("GET", MP_LIST).status == 200
    except (OSError, ConnectionEnded, HandshakeRefused):
        return False


def _write_without_end(file: RawIOBase, piece: bytes) -> None:
    while file.write(piece):
        pass


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill the disk of a folder meanwhile."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 1):
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                _write_without_end(file, bytes(size))
    try:
        yield
    finally:
        ballast.unlink()
