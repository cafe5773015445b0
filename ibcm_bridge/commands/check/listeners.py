"""Checks that the bridge can bind a policy's listen addresses, and that clients can reach names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.addresses import Address, address_text, is_ip_address
from ibcm_bridge.policy.publications import Listener, PlaintextListener

ListenAddresses = Callable[[Address], frozenset[str] | str]
"""The IP addresses that a listener would bind, or why there are none."""


def check_listeners(
    listeners: Sequence[Listener | PlaintextListener], listen_addresses: ListenAddresses
) -> Iterator[Finding]:
    """Listeners that would prevent a start, and names that no ClientHello can contain."""
    opened: list[tuple[Address, frozenset[str]]] = []
    for listener in listeners:
        at, port = address_text(listener.address), listener.address[1]
        found = listen_addresses(listener.address)
        if isinstance(found, str):
            text = f"cannot resolve the listen address ({found}); `run` would fail to start"
            yield Finding(Level.PROBLEM, at, text)
            continue
        for other, taken in opened:
            # Port 0 is any free port.
            if port and port == other[1] and _overlap(found, taken):
                text = f"same address and port as {address_text(other)}; `run` would fail to start"
                yield Finding(Level.PROBLEM, at, text)
        opened.append((listener.address, found))
    for listener in listeners:
        if isinstance(listener, Listener):
            yield from _check_names(listener)


def _check_names(listener: Listener) -> Iterator[Finding]:
    for name in listener.publications:
        # RFC 6066 section 3. For an address clients send no server name; without_sni serves those.
        if is_ip_address(name) and name != listener.without_sni:
            text = "clients never send an IP address as server name; use a DNS name or without_sni"
            where = f"{address_text(listener.address)}: {name}"
            yield Finding(Level.PROBLEM, where, text, "DNS-INTERNET-FQDN")


def _overlap(some: frozenset[str], others: frozenset[str]) -> bool:
    """Return whether an address would be bound twice. asyncio binds IPv6 with IPV6_V6ONLY."""
    pairs = [(ipaddress.ip_address(a), ipaddress.ip_address(b)) for a in some for b in others]
    return any(
        a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)
        for a, b in pairs
    )
