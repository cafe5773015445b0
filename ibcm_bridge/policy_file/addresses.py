"""Addresses in a policy file: host and port, alone or in a URL."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from ibcm_bridge.policy.addresses import Address
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


def host_port(url: str) -> str:
    """The `HostPort` in an HTTP or HTTPS URL, with the default port of its scheme."""
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    return authority if _HAS_PORT.search(authority) else authority + _DEFAULT_PORTS[scheme]
