"""Addresses in a policy file: host and port, alone or in a URL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_network

from ibcm_bridge.policy.addresses import Address, Network
from ibcm_bridge.policy_file import yaml_tree
from ibcm_bridge.policy_file.reading import Reading

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_HAS_PORT = re.compile(":[0-9]+$")


def read_address(
    reading: Reading, where: yaml_tree.Place, text: str, *, listening: bool = False
) -> Address:
    """The address in a `HostPort`. Reports an invalid port or IPv6 address."""
    host, _, port = text.rpartition(":")
    # A listener on port 0 gets a free port; no client can connect to port 0.
    if int(port) > 65_535 or (int(port) == 0 and not listening):
        reading.report(where, f"{port} is not a port; write a number from 1 to 65535")
    if host.startswith("["):
        try:
            host = str(IPv6Address(host.strip("[]")))
        except ValueError:
            reading.report(where, f"{host} is not an IPv6 address; write one such as [2001:db8::1]")
    return host, int(port)


def read_networks(
    reading: Reading, where: yaml_tree.Place, texts: Sequence[str]
) -> tuple[Network, ...]:
    """The IP networks in a list. Reports those that are not, and those that have every address."""
    networks: list[Network] = []
    for index, text in enumerate(texts):
        try:
            networks.append(network := ip_network(text))
        except ValueError:
            otherwise = "write one such as 10.0.0.0/24, with zeros after its prefix"
            reading.report((*where, index), f"{text} is not an IP network; {otherwise}")
            continue
        if network.prefixlen == 0:
            reading.report((*where, index), f"{text} has every address; write a smaller network")
    return tuple(networks)


def host_port(url: str) -> str:
    """The `HostPort` in an HTTP or HTTPS URL, with the default port of its scheme."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    return authority if _HAS_PORT.search(authority) else authority + _DEFAULT_PORTS[scheme]
