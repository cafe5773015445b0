"""A network of a client: the names that it can resolve and reach."""

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
"""The ports that ConfigMgr clients use."""


class Unreachable(Exception):
    """A name that cannot be resolved in this network, or no reachable site system."""


@dataclass(frozen=True)
class Network:
    """`hosts` maps the names and ports that a client knows to addresses in the lab."""

    name: str
    on_internet: bool
    hosts: Mapping[Host, Host]
    trust: x509.Certificate
    """The root CA that the client trusts."""
    namespace: Namespace = HERE
    web_proxy: Host | None = None
    """The address of an HTTP proxy that forwards TLS connections, if only it reaches the names."""

    def client(self, host: Host, credential: LabCredential | None) -> LabClient:
        """Return a client for a name; it connects on the first request. Unreachable."""
        return LabClient(
            self.web_proxy or self._address(host),
            host[0],
            trust=self.trust,
            credential=credential,
            namespace=self.namespace,
            connect_to=host if self.web_proxy else None,
        )

    def plain(self, host: Host) -> http.client.HTTPConnection:
        """Connect to a name with plain HTTP. Unreachable, or OSError."""
        connection = http.client.HTTPConnection(*self._address(host), timeout=10)
        with self.namespace.inside():
            connection.connect()
        return connection

    def without(self, name: str) -> Network:
        """Return this network without a name."""
        return replace(self, hosts={host: to for host, to in self.hosts.items() if host[0] != name})

    def _address(self, host: Host) -> Host:
        try:
            return self.hosts[host]
        except KeyError:
            raise Unreachable(f"{host[0]} cannot be resolved in this network") from None
