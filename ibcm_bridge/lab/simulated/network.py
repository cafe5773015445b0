"""A network of a client: the names that it can resolve and reach."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass, replace

from cryptography import x509

from ibcm_bridge.lab.namespaces import HERE, Namespace
from ibcm_bridge.lab.pki.certificates import LabCredential
from ibcm_bridge.lab.protocol.client import LabClient
from ibcm_bridge.lab.simulated.failure import Failure, Unreachable
from ibcm_bridge.lab.simulated.name_lookup import NoSuchName, resolve

type Host = tuple[str, int]
"""A name or an address, and a port."""

HTTPS, UPDATES, HTTP = 443, 8531, 80
"""The ports that ConfigMgr clients use."""


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

    resolver: Host | None = None
    """The address of a DNS resolver. Without one, the names of `hosts` need no resolution."""

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

    def direct(self) -> Network:
        """Return this network as one that does not use the web proxy sees it."""
        return replace(self, web_proxy=None)

    def without(self, name: str) -> Network:
        """Return this network without a name."""
        return replace(self, hosts={host: to for host, to in self.hosts.items() if host[0] != name})

    def resolve(self, name: str) -> str:
        """Return the address of a name. Unreachable, or OSError if the resolver is silent."""
        if self.resolver is not None:
            try:
                return resolve(name, self.resolver, self.namespace)
            except NoSuchName as why:
                raise Unreachable(str(why), Failure.NAME_NOT_FOUND) from None
        addresses = (address for (host, _), (address, _) in self.hosts.items() if host == name)
        if (found := next(addresses, None)) is None:
            text = f"{name} cannot be resolved in this network"
            raise Unreachable(text, Failure.NAME_NOT_FOUND)
        return found

    def _address(self, host: Host) -> Host:
        address = self.resolve(host[0])
        # DNS has no ports; those of the lab are other than those of ConfigMgr.
        if (to := self.hosts.get(host)) is None:
            text = f"{host[0]} does not listen on port {host[1]}"
            raise Unreachable(text, Failure.PORT_NOT_PUBLISHED)
        return (address if self.resolver else to[0]), to[1]
