"""Whether a policy can be listened on here, and whether anybody can ask for what is published."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence

from ibcm_bridge.commands.check.findings import Finding, Level
from ibcm_bridge.policy.addresses import Address, address_text, is_ip_address
from ibcm_bridge.policy.publications import Listener, PlaintextListener

ListenAddresses = Callable[[Address], frozenset[str] | str]
"""The IP addresses that a listener would be bound to, or why there are none."""


def check_listeners(
    listeners: Sequence[Listener | PlaintextListener], listen_addresses: ListenAddresses
) -> Iterator[Finding]:
    """What `run` would not start with, and names that no ClientHello can have."""
    opened: list[tuple[Address, frozenset[str]]] = []
    for listener in listeners:
        at, port = address_text(listener.address), listener.address[1]
        found = listen_addresses(listener.address)
        if isinstance(found, str):
            text = f"its host cannot be found here ({found}): run would not start"
            yield Finding(Level.PROBLEM, at, text)
            continue
        for other, taken in opened:
            # Port 0 is whichever is free.
            if port and port == other[1] and _overlap(found, taken):
                text = f"it has an address and port of {address_text(other)}: run would not start"
                yield Finding(Level.PROBLEM, at, text)
        opened.append((listener.address, found))
    for listener in listeners:
        if isinstance(listener, Listener):
            yield from _check_names(listener)


def _check_names(listener: Listener) -> Iterator[Finding]:
    for name in listener.publications:
        # RFC 6066 section 3. Who asks for an address sends none, and may get it by without_sni.
        if is_ip_address(name) and name != listener.without_sni:
            text = "an address is never sent as server name, so nobody reaches this"
            where = f"{address_text(listener.address)}: {name}"
            yield Finding(Level.PROBLEM, where, text, "DNS-INTERNET-FQDN")


def _overlap(some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether an address would be bound twice; asyncio keeps IPv4 and IPv6 apart."""
    pairs = [(ipaddress.ip_address(a), ipaddress.ip_address(b)) for a in some for b in others]
    return any(
        a.version == b.version and (a == b or a.is_unspecified or b.is_unspecified)
        for a, b in pairs
    )
