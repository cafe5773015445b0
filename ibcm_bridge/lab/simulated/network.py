"""What a client can reach where it is: which names lead where, as by its resolver and routes."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography import x509

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import LabClient

type Host = tuple[str, int]
"""A name or an address, and a port."""

HTTPS, UPDATES, HTTP = 443, 8531, 80
"""The ports that clients of ConfigMgr use."""


class Unreachable(Exception):
    """A name that leads nowhere from here, or to where nobody listens."""


@dataclass(frozen=True)
class Network:
    """`hosts` has names and ports as a client knows them, and the addresses they stand for."""

    name: str
    on_internet: bool
    hosts: Mapping[Host, Host]
    trust: x509.Certificate
    """The authority that the client believes."""
    namespace: Namespace = HERE

    def client(self, host: Host, credential: LabCredential | None) -> LabClient:
        """A connection to a name, made by its first request. Unreachable where there is none."""
        return LabClient(
            self._address(host),
            host[0],
            trust=self.trust,
            credential=credential,
            namespace=self.namespace,
        )

    def plain(self, host: Host) -> http.client.HTTPConnection:
        """The same by HTTP, and made at once. OSError where nobody answers."""
        connection = http.client.HTTPConnection(*self._address(host), timeout=10)
        with self.namespace.inside():
            connection.connect()
        return connection

    def without(self, name: str) -> Network:
        """The same, where a name leads nowhere."""
        return replace(self, hosts={host: to for host, to in self.hosts.items() if host[0] != name})

    def _address(self, host: Host) -> Host:
        try:
            return self.hosts[host]
        except KeyError:
            raise Unreachable(f"{host[0]} leads nowhere from here") from None
