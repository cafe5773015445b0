"""Addresses: host and port, as values and as text."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any


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
