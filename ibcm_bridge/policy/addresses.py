"""Addresses: host and port, as values and as text."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
"""An IP network, such as 10.0.0.0/8."""


def plain_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IP address of a host without its zone. An IPv4-mapped one is IPv4 (RFC 4291 §2.5.5.2)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_in(host: str, networks: Collection[Network]) -> bool:
    """Return whether an IP address is in one of the networks."""
    if not networks:
        return False
    address = plain_ip(host)
    return any(address in network for network in networks)


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"  # RFC 6761 section 6.3


def is_ip_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


Address = tuple[str, int]
"""Host (name or IP address, without brackets) and TCP port."""


def host_text(host: str) -> str:
    """The host as in a URL: an IPv6 address in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]" if ":" in host else host


def address_text(address: Address) -> str:
    """The address as in a policy file: 192.0.2.1:443, [2001:db8::1]:443."""
    host, port = address
    return f"{host_text(host)}:{port}"


def socket_address(name: Sequence[Any]) -> Address:
    """An address from that of `socket`, which has flow information and a scope ID for IPv6.

    The scope ID of a link-local address becomes its zone, a number (RFC 4007 §11.2).
    """
    host, port, *more = name
    scope = more[1] if len(more) == 2 else 0
    return (f"{host}%{scope}" if scope and "%" not in host else host), port
