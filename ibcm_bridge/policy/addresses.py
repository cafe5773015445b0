"""Addresses: host and port, and what an address is."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether nothing leaves this machine on the way to this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # RFC 6761 section 6.3


def is_ip_address(host: str) -> bool:
    """Whether this is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


Address = tuple[str, int]
"""Host (name or IP address) and TCP port."""


def shown(address: Address) -> str:
    """As it stands in a policy file: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
